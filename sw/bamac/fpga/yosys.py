"""Synthesis: from Verilog to a mapped netlist and its resources per module."""

import json

from . import carry, resources, tools
from .names import Hierarchy, Owners

__all__ = ["SCRIPTS", "script", "synthesise"]

# ABC9 knows the timing of LUTs and carries, and makes smaller what is not among the slowest.
# How slow these may be it has to be told, in ps with the delay of routing that it assumes, far
# less than the real one; otherwise it makes everything as fast as it can.
# The eight cells of an iCE40 tile share a clock enable: one of few flip-flops leaves most of a tile
# to logic without a register, and nextpnr finds no legal placement. Some of its releases stop at
# cells that tell of the hierarchy.
SCRIPTS = {
    "ecp5": "scratchpad -set abc9.D 4000\nsynth_ecp5 -top {top}\ntechmap -map carry.v\n"
            "opt_lut_ins -tech lattice\nclean",
    "ice40": "scratchpad -set abc9.D 30000\nsynth_ice40 -device u -spram -abc9 "
             "-dffe_min_ce_use 4 -top {top}\ndelete t:$scopeinfo",
    "xc7": "synth_xilinx -family xc7 -flatten -top {top}",
}


def script(target, top):
    """The commands, without those that name files."""
    return SCRIPTS[target.family].format(top=top)


def synthesise(verilog, top, target, folder, stage=None):
    """Map ``verilog`` for ``target``; writes ``netlist.json`` and ``resources.json``.

    Returns
    -------
    dict
        ``modules``: kinds per instance path; ``total``; ``tool``: its version.
    """
    tool = tools.find("yosys")
    (folder / "design.v").write_text(verilog, encoding="utf-8")
    (folder / "carry.v").write_text(carry.CHAIN_START, encoding="utf-8")
    # All names of a net are known only before the netlist is optimised.
    (folder / "synth.ys").write_text(
        f"read_verilog design.v\nhierarchy -top {top}\nproc\nflatten\nwrite_json flat.json\n"
        f"{script(target, top)}\nwrite_json netlist.json\n", encoding="utf-8")
    arguments = ["synth.ys"] if "pyosys" in tool.version else ["-s", "synth.ys"]
    tool.run(arguments, folder, folder / "yosys.log", stage)
    design, flat = (json.loads((folder / name).read_text(encoding="utf-8"))
                    for name in ("netlist.json", "flat.json"))
    netlist, flat = (each["modules"][top] for each in (design, flat))
    (folder / "flat.json").unlink()
    if target.family == "ecp5":
        carry.drop_unread_carries(netlist)
        (folder / "netlist.json").write_text(json.dumps(design), encoding="utf-8")
    owners = Owners(Hierarchy(verilog, top), flat["netnames"], netlist)
    modules = resources.by_module(netlist["cells"], owners)
    owned = {name: owners.label(name) for name, cell in netlist["cells"].items()
             if resources.cost(cell["type"])}
    result = {"modules": modules, "total": resources.total(modules), "tool": tool.version}
    (folder / "resources.json").write_text(json.dumps(result), encoding="utf-8")
    (folder / "owners.json").write_text(json.dumps(owned), encoding="utf-8")
    return result
