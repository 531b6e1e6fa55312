"""Stand-alone Verilog of the accelerator."""

import os
import re
from pathlib import Path

from amaranth.back import verilog

from .accelerator import Accelerator
from .geometry import Geometry
from .program import Program, ProgramError

__all__ = ["TOP", "WAIVERS", "verilog_text", "without_init", "write_verilog"]

TOP = "bamac_accelerator"

# What ``verilator -Wall`` says about machine-written Verilog, and why it is no fault here.
WAIVERS = {
    "DECLFILENAME": "all modules are in one file",
    "CASEINCOMPLETE": "signals are given their value before the case that may change it",
    "PROCASSINIT": "registers have an initial value and a synchronous reset to it",
    "UNUSEDSIGNAL": "fields of structures that one block needs and another does not",
    "WIDTHEXPAND": "operands of different widths are extended as Verilog defines it",
    "WIDTHTRUNC": "a vector is tested for zero with '!', or one bit is selected with '>>'",
}


def verilog_text(geometry: Geometry, program: Program | None = None, *, trace: bool = False,
                 accumulators: bool = False, family: str | None = None) -> str:
    """Verilog-2001 of one module ``bamac_accelerator`` and its submodules.

    The text depends on the arguments alone: no path, time or machine is in it. ``family``
    is :class:`Accelerator`'s.

    Raises
    ------
    ProgramError
        If ``program`` was compiled for another geometry.
    """
    if program is not None and program.geometry.digest() != geometry.digest():
        raise ProgramError(
            f"Program is for geometry {program.geometry.name}, not for {geometry.name}")
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    design = Accelerator(geometry, program=program, trace=trace, accumulators=accumulators,
                         family=family)
    body = verilog.convert(design, name=TOP, emit_src=False, strip_internal_attrs=True)
    if program is None:
        body = without_init(body, "store")
    return _header(geometry, program) + body


def without_init(body: str, memory: str) -> str:
    """Leave the initial zeros of a memory away: iCE40's SPRAM cannot have any.

    The weight store is loaded before it is read, so that its first contents do not matter.
    """
    start = re.compile(rf"^  initial begin\n    {memory}\[0\] = ", re.M).search(body)
    end = body.index("  end\n", start.start()) + len("  end\n")
    return body[:start.start()] + body[end:]


def _header(geometry, program):
    sizes = ", ".join(f"{name} {value}" for name, value in geometry.to_dict().items())
    content = f"program {program.manifest['network']['name']}" if program else "no program"
    lines = ["// BAMAC accelerator", f"// geometry: {sizes}", f"// memories hold {content}"]
    for rule, reason in WAIVERS.items():
        lines += [f"// {reason}:", f"/* verilator lint_off {rule} */"]
    return "\n".join(lines) + "\n"


def write_verilog(geometry: Geometry, path: str | Path, program: Program | None = None, *,
                  trace: bool = False, accumulators: bool = False,
                  family: str | None = None) -> Path:
    """Write :func:`verilog_text` to ``path``; an interrupted call leaves no partial file."""
    path = Path(path)
    text = verilog_text(geometry, program, trace=trace, accumulators=accumulators, family=family)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path
