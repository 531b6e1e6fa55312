"""A board in simulation: its complete top in Verilator, its serial port a pseudo-terminal.

The Verilog is that of the bitstream; only the PLL's primitive has a model of its own, which passes
the clock on. What is simulated is the design's clock, so that a rate which the board has at its
doubled clock is the same number of cycles here.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bamac_hw.boards import Board

from .build import BuildError, Library, gateware_digest, text_digest
from .toolchain import default_build_dir, find_toolchain

__all__ = ["BoardBuild", "BoardProcess", "build_board", "pll_model", "running_board"]

_SOURCES = Path(__file__).parent
_OPTIONS = ("--cc", "--exe", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing",
            "-Wno-fatal", "--prefix", "Vboard", "--Mdir", "model")


@dataclass(frozen=True)
class BoardBuild:
    """A simulator of a board.

    Parameters
    ----------
    executable : Path
    board : Board
    cycles : int
        Clock cycles of one bit of the serial port.
    """

    executable: Path
    board: Board
    cycles: int


def build_board(board, geometry, *, baud=None, build_dir=None):
    """Build the simulator of a board, or find it in the cache.

    Parameters
    ----------
    board : Board
    geometry : Geometry
    baud : int, optional
        Of the serial port; default: the board's. A quarter of the clock is the most.
    build_dir : path, optional
        The cache; ``$BAMAC_BUILD_DIR`` or a folder of the user's cache.

    Raises
    ------
    BoardError, ToolError, BuildError
        If the baud rate cannot be made, a tool is missing, or the build fails.
    """
    cycles = board.cycles_per_bit(baud)
    toolchain = find_toolchain()
    clock = next(pin.port for pin in board.pins() if pin.clock_hz)
    cache = Path(build_dir) if build_dir is not None else default_build_dir()
    cache.mkdir(parents=True, exist_ok=True)
    cache = cache.resolve()
    verilog = _verilog(board, geometry, cycles, baud, cache)
    sources = [_SOURCES / name for name in ("ehxplll.v", "board_main.cpp")]
    parts = [verilog, *(path.read_text(encoding="utf-8") for path in sources), _OPTIONS,
             toolchain.identity, toolchain.environment["MAKEFLAGS"]]
    key = text_digest(*parts)
    folder = cache / f"board-{key}"
    if not folder.is_dir():
        # Beside its place, and renamed into it when it is complete
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
        try:
            partial.chmod(0o755)
            (partial / "board.v").write_text(verilog, encoding="utf-8")
            _run([str(toolchain.verilator), *_OPTIONS, "--top-module", board.module,
                  "-CFLAGS", f"-DCLOCK={clock}", "board.v", *map(str, sources)],
                 toolchain, partial, folder)
            library = Library(cache, toolchain, _OPTIONS)
            # -o: these objects are there already, whatever their dates say
            there = [arg for name in library.lend(partial / "model") for arg in ("-o", name)]
            _run(["make", "-C", "model", "-f", "Vboard.mk", *there, "Vboard"], toolchain, partial,
                 folder)
            library.keep(partial / "model")
            (partial / "model" / "Vboard").rename(partial / "board")
            shutil.rmtree(partial / "model")
            try:
                partial.rename(folder)
            except OSError:  # another build was faster
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return BoardBuild(folder / "board", board, cycles)


def pll_model():
    """Verilog of what takes the place of the PLL."""
    return (_SOURCES / "ehxplll.v").read_text(encoding="utf-8")


def _verilog(board, geometry, cycles, baud, cache):
    """Text of the Verilog; kept, because generating it takes seconds."""
    key = text_digest(board.name, geometry.digest(), cycles, gateware_digest())
    path = cache / f"{key}.v"
    if not path.is_file():
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(board.verilog(geometry, baud=baud), encoding="utf-8")
        partial.replace(path)
    return path.read_text(encoding="utf-8")


def _run(command, toolchain, folder, place):
    log = folder / "build.log"
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(command, cwd=folder, env=toolchain.env(), stdout=file,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        kept = place.with_suffix(".log")
        shutil.copyfile(log, kept)
        raise BuildError(f"The simulator could not be built; see {kept}")


class BoardProcess:
    """A running simulation.

    Parameters
    ----------
    process : Popen
    port : str
        Name of the pseudo-terminal.
    """

    def __init__(self, process, port):
        self._process, self.port = process, port
        self.cycles = None

    def wait(self):
        """Wait until it ends by itself."""
        self._process.wait()

    def stop(self):
        """Stop it, and return how many cycles were simulated."""
        self._process.terminate()
        text = self._process.communicate(timeout=30)[0]
        self.cycles = int(text.split()[0]) if text.strip() else None
        return self.cycles


@contextmanager
def running_board(built):
    """Run a board; yields a :class:`BoardProcess`, which is stopped at the end.

    Parameters
    ----------
    built : BoardBuild
    """
    with subprocess.Popen([str(built.executable), str(built.cycles)], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().strip()
        if not port:
            process.wait()
            raise BuildError(f"The board's simulation did not start (exit code "
                             f"{process.returncode})")
        board = BoardProcess(process, port)
        try:
            yield board
        finally:
            if process.poll() is None:
                board.stop()
