"""Carry chains of ECP5 without their ends: proved equal to what Yosys made, and smaller."""

import json

import pytest

from bamac.fpga import tools
from bamac.fpga.carry import CHAIN_START, drop_unread_carries

DESIGN = """
module chains(input [8:0] a, b, input [5:0] c, d, output [9:0] sum, output [6:0] difference,
              output [8:0] next, output less, output [5:0] negative);
  assign sum = a + b;
  assign difference = c - d;
  assign next = a + 9'd1;
  assign less = a < b;
  assign negative = -c;
endmodule
"""
SCRIPT = """
read_verilog design.v
synth_ecp5 -top chains
design -save before
techmap -map carry.v
opt_lut_ins -tech lattice
clean
write_json netlist.json
techmap -map +/ecp5/cells_sim.v
design -stash after
design -load before
techmap -map +/ecp5/cells_sim.v
design -stash before
design -copy-from before -as gold chains
design -copy-from after -as gate chains
miter -equiv -flatten -make_outputs gold gate miter
sat -verify -prove trigger 0 -set-def-inputs miter
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    """The mapped module, after Yosys has proved them equal to its own mapping."""
    folder = tmp_path_factory.mktemp("carry")
    for name, text in (("design.v", DESIGN), ("carry.v", CHAIN_START), ("synth.ys", SCRIPT)):
        (folder / name).write_text(text)
    yosys = tools.find("yosys")
    log = yosys.run(["synth.ys"] if "pyosys" in yosys.version else ["-s", "synth.ys"], folder,
                    folder / "log")
    assert any("SAT proof finished - no model found: SUCCESS!" in line for line in log)
    return json.loads((folder / "netlist.json").read_text())["modules"]["chains"]


def chain_cells(netlist):
    return [cell["connections"] for cell in netlist["cells"].values() if cell["type"] == "CCU2C"]


def test_no_chain_takes_a_carry_from_outside(netlist):
    made = {bit for pins in chain_cells(netlist) for bit in pins["COUT"]}
    starts = [pins["CIN"][0] for pins in chain_cells(netlist) if pins["CIN"][0] not in made]
    assert len(starts) >= 5 and set(starts) == {"x"}


def test_only_carries_that_are_read_leave_a_chain(netlist):
    ends = {bit for cell in netlist["cells"].values() for port, bits in cell["connections"].items()
            if cell["port_directions"][port] == "input" for bit in bits}
    unread = [pins["COUT"][0] for pins in chain_cells(netlist) if pins["COUT"][0] not in ends]
    assert drop_unread_carries(netlist) == len(unread) > 0
    left = [pins["COUT"][0] for pins in chain_cells(netlist)]
    assert left.count("x") == len(unread) and set(left) - {"x"} <= ends
