"""Stand-alone Verilog of the accelerator."""

import os
from pathlib import Path

from amaranth.back import verilog

from .accelerator import Accelerator
from .geometry import Geometry
from .program import Program, ProgramError

__all__ = ["TOP", "verilog_text", "write_verilog"]

TOP = "bamac_accelerator"


def verilog_text(geometry: Geometry, program: Program | None = None, *, trace=False,
                 accumulators=False):
    """Verilog-2001 of one module ``bamac_accelerator`` and its submodules.

    The text depends on the arguments alone: no path, time or machine is in it.

    Raises
    ------
    ProgramError
        If ``program`` was compiled for another geometry.
    """
    if program is not None and program.geometry.digest() != geometry.digest():
        raise ProgramError(
            f"Program is for geometry {program.geometry.name}, not for {geometry.name}")
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    design = Accelerator(geometry, program=program, trace=trace, accumulators=accumulators)
    return verilog.convert(design, name=TOP, emit_src=False, strip_internal_attrs=True)


def write_verilog(geometry: Geometry, path, program: Program | None = None, *, trace=False,
                  accumulators=False):
    """Write :func:`verilog_text` to ``path``; an interrupted call leaves no partial file."""
    path = Path(path)
    text = verilog_text(geometry, program, trace=trace, accumulators=accumulators)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path
