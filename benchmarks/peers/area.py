"""LUTs of a whole accelerator on ECP5 without DSP, by the same Yosys commands for all designs."""

import json
from collections import Counter

from bamac.fpga import tools

__all__ = ["SCRIPT", "luts"]

SCRIPT = "read_verilog design.v\nsynth_ecp5 -nodsp -top {top}\nwrite_json netlist.json\n"


def luts(verilog, top, folder):
    """The cells after mapping.

    Returns
    -------
    dict
        ``lut4`` (LUT4 and two for each CCU2C), ``carry`` (CCU2C), ``ff``, ``block_rams``,
        ``lutram`` (TRELLIS_DPR16X4, each the size of four LUT4, not in ``lut4``), ``dsp``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "design.v").write_text(verilog, encoding="utf-8")
    (folder / "synth.ys").write_text(SCRIPT.format(top=top), encoding="utf-8")
    tool = tools.find("yosys")
    arguments = ["synth.ys"] if "pyosys" in tool.version else ["-s", "synth.ys"]
    tool.run(arguments, folder, folder / "yosys.log")
    modules = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))["modules"]
    cells = Counter(cell["type"] for cell in modules[top]["cells"].values())
    return {"lut4": cells["LUT4"] + 2 * cells["CCU2C"], "carry": cells["CCU2C"],
            "ff": cells["TRELLIS_FF"], "block_rams": cells["DP16KD"] + cells["PDPW16KD"],
            "lutram": cells["TRELLIS_DPR16X4"], "dsp": cells["MULT18X18D"]}
