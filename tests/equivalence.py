"""Proof by Yosys that gateware built from ECP5's cells does what its expression does."""

import os

from amaranth.back import verilog

from bamac.fpga import tools

# All registers, which have the same names on both sides, are compared in every cycle.
SCRIPT = """
read_verilog -overwrite +/ecp5/cells_sim.v
read_verilog cells.v
hierarchy -top cells
proc
flatten
opt_clean
read_verilog expression.v
proc
opt_clean
equiv_make expression cells both
hierarchy -top both
equiv_simple
equiv_induct
equiv_status -assert
"""


def prove(folder, build, damage=None):
    """Prove ``build("ecp5")`` equal to ``build(None)``, over all inputs and states.

    ``damage`` is a replacement in the Verilog of the former. Raises FpgaError if they differ.
    """
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    for name, family in (("expression", None), ("cells", "ecp5")):
        text = verilog.convert(build(family), name=name, emit_src=False, strip_internal_attrs=True)
        if damage and family:
            assert damage[0] in text
            text = text.replace(*damage)
        # Nets without a name must not be taken for those of the other side.
        (folder / f"{name}.v").write_text(text.replace("\\$", f"\\{name}_"))
    (folder / "prove.ys").write_text(SCRIPT)
    yosys = tools.find("yosys")
    arguments = ["prove.ys"] if "pyosys" in yosys.version else ["-s", "prove.ys"]
    lines = yosys.run(arguments, folder, folder / "log.txt")
    assert any("Equivalence successfully proven" in line for line in lines)
