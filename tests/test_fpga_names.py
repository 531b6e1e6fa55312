"""Which module a cell of a mapped netlist belongs to, and what it counts."""

import pytest

from bamac.fpga import resources
from bamac.fpga.names import Hierarchy, Owners

# The form in which our Verilog is written: two modules, one inside the other.
VERILOG = """
module top(clk, d, q);
  input clk;
  wire clk;
  input [1:0] d;
  wire [1:0] d;
  output q;
  wire q;
  \\top.inner  inner (
    .clk(clk),
    .d(d),
    .q(q)
  );
endmodule

module \\top.inner (clk, d, q);
  input clk;
  input [1:0] d;
  output q;
  reg kept = 1'h0;
endmodule
"""


def cell(kind, **ports):
    """A cell with output ``q`` and inputs under any other name."""
    return {"type": kind, "connections": {name: [bit] for name, bit in ports.items()},
            "port_directions": {name: "output" if name == "q" else "input" for name in ports}}


def netlist():
    """A register of the inner module behind one LUT, and a memory of it; bits 10 to 13."""
    cells = {
        "q_TRELLIS_FF_Q": cell("TRELLIS_FF", d=12, q=13),
        "q_TRELLIS_FF_Q_DI_LUT4_Z": cell("LUT4", a=10, b=11, q=12),
        "inner.store.0.1": cell("DP16KD", a=10, q=14),
        "d_pad": cell("LUT4", a=9, q=10),
    }
    names = {"d": {"bits": [10, 11]}, "q": {"bits": [13]}, "q_TRELLIS_FF_Q_DI": {"bits": [12]}}
    flat = {"d": {"bits": [1, 2]}, "inner.d": {"bits": [1, 2]}, "q": {"bits": [5]},
            "inner.q": {"bits": [5]}, "inner.kept": {"bits": [5]}, "inner.$3": {"bits": [4]}}
    return {"cells": cells, "netnames": names}, flat


@pytest.fixture
def owners():
    mapped, flat = netlist()
    return Owners(Hierarchy(VERILOG, "top"), flat, mapped)


def test_hierarchy_finds_instances_and_inputs():
    hierarchy = Hierarchy(VERILOG, "top")
    assert hierarchy.modules == {"": "top", "inner": "top.inner"}
    assert hierarchy.split("inner.kept.field") == ("inner", "kept.field")
    assert hierarchy.split("outer.kept") == ("", "outer.kept")
    assert hierarchy.drives("inner.q") and not hierarchy.drives("inner.d")
    assert not hierarchy.drives("inner.d.field")


def test_a_register_belongs_to_the_module_that_drives_it(owners):
    assert owners.net("q_TRELLIS_FF_Q") == "inner.kept"
    assert owners.module("q_TRELLIS_FF_Q") == "inner"


def test_unnamed_logic_belongs_to_what_it_drives(owners):
    lut = "q_TRELLIS_FF_Q_DI_LUT4_Z"
    assert owners.net(lut) is None
    assert owners.module(lut) == "inner"
    assert owners.label(lut) == "inner (logic)"


def test_a_lut_of_an_ice40_is_named_after_the_register_in_its_cell():
    mapped, flat = netlist()
    cells = mapped["cells"]
    cells["q_TRELLIS_FF_Q"]["type"], cells["q_TRELLIS_FF_Q_DI_LUT4_Z"]["type"] = "SB_DFF", "SB_LUT4"
    found = Owners(Hierarchy(VERILOG, "top"), flat, mapped)
    assert found.label("q_TRELLIS_FF_Q_DI_LUT4_Z") == "inner.kept"
    cells["also"] = cell("SB_LUT4", a=12, q=15)  # then the LUT has a cell of its own
    found = Owners(Hierarchy(VERILOG, "top"), flat, mapped)
    assert found.label("q_TRELLIS_FF_Q_DI_LUT4_Z") == "(top) (logic)"


def test_a_memory_keeps_its_name(owners):
    assert owners.module("inner.store.0.1") == "inner"
    assert owners.label("inner.store.0.1") == "inner.store"


def test_resources_add_up_over_modules(owners):
    modules = resources.by_module(netlist()[0]["cells"], owners)
    assert modules == {"inner": {"lut": 1, "ff": 1, "bram": 1}, "": {"lut": 1}} or modules == {
        "inner": {"lut": 2, "ff": 1, "bram": 1}}
    total = resources.total(modules)
    assert total == {"lut": 2, "carry": 0, "ff": 1, "bram": 1, "spram": 0, "lutram": 0, "dsp": 0}


@pytest.mark.parametrize("kind, counts", [
    ("LUT4", {"lut": 1}), ("LUT6", {"lut": 1}), ("CCU2C", {"lut": 2, "carry": 1}),
    ("SB_CARRY", {"carry": 1}), ("SB_DFFESR", {"ff": 1}), ("FDRE", {"ff": 1}),
    ("TRELLIS_DPR16X4", {"lut": 4, "lutram": 1}), ("SB_SPRAM256KA", {"spram": 1}),
    ("SB_RAM40_4K", {"bram": 1}), ("RAMB36E1", {"bram": 2}), ("PFUMX", {}), ("$scopeinfo", {}),
])
def test_what_a_cell_takes(kind, counts):
    assert resources.cost(kind) == counts
