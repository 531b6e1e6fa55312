"""The mapped netlist: whose cells they are, their energy, and bounds of what presets cost."""

import pytest

from bamac.fpga import FpgaError, activity, gates, power, resources
from bamac.fpga.flow import implement, implement_verilog
from bamac.fpga.names import Hierarchy, Owners
from bamac_hw.boards import BOARDS
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, verilog_text

# --- Which module a cell belongs to, and what it counts

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


# --- Energy from toggles, and the mapped netlist in simulation

SAIF = """(SAIFILE
(DURATION 40000)
(INSTANCE top
  (NET
    (n7 (T0 30000) (T1 10000) (TZ 0) (TX 0) (TB 0) (TC 5))
    (clk (T0 20000) (T1 20000) (TZ 0) (TX 0) (TB 0) (TC 8))
    (n12 (T0 0) (T1 40000) (TZ 0) (TX 0) (TB 0) (TC 0))
  )
))
"""


def _wired(kind, inputs, outputs):
    return {"type": kind, "parameters": {}, "attributes": {},
            "connections": {pin: [bit] for pin, bit in {**inputs, **outputs}.items()},
            "port_directions": {**dict.fromkeys(inputs, "input"),
                                **dict.fromkeys(outputs, "output")}}


NETLIST = {"ports": {}, "cells": {
    "lut": _wired("LUT4", {"A": 2, "B": 3}, {"Z": 4}),           # 4 goes to ff alone, in its slice
    "ff": _wired("TRELLIS_FF", {"CLK": 1, "DI": 4}, {"Q": 2}),   # 2 goes to lut and ram
    "ram": _wired("DP16KD", {"CLKA": 1, "ADA0": 2, "CEA": 5, "CEB": "1"}, {"DOA0": 3})}}
OWNERS = {"lut": "lanes (logic)", "ff": "lanes.acc", "ram": "weights.memory"}
INSTANCES = {"lanes", "weights"}


def test_saif_gives_toggles_and_shares_of_time():
    counted = activity.read_saif(SAIF)
    assert dict(counted) == {7: (5, 0.25), 12: (0, 1.0)} and counted.cycles == 4
    with pytest.raises(FpgaError, match="must hold nets named nN"):
        activity.read_saif("(SAIFILE)")


def test_counts_survive_a_file(tmp_path):
    counted = activity.read_saif(SAIF)
    activity.save(counted, tmp_path / "t.json")
    again = activity.load(tmp_path / "t.json")
    assert dict(again) == dict(counted) and again.cycles == counted.cycles


def test_energy_by_hand():
    counted = activity.NetActivity({2: (100, 0.5), 3: (40, 0.5), 4: (60, 0.5), 5: (10, 0.25)}, 1000)
    result = power.estimate_energy(NETLIST, OWNERS, INSTANCES, counted)
    half = 0.5 * 1.1**2 * 1e-15 * 1e6  # a fF that toggles, in uJ
    lanes, weights = result["modules"]["lanes"], result["modules"]["weights"]
    # Net 2: two routed sinks of 110 + 24 fF. Net 4: 5 fF, with a quarter more for glitches
    assert lanes["nets"]["middle"] == pytest.approx(half * (100 * 2 * 134 + 60 * 5 * 1.25))
    assert lanes["nets"]["low"] == pytest.approx(half * (100 * 2 * 68 + 60 * 2))
    assert lanes["clock"]["middle"] == pytest.approx(1000 * 8e-15 * 1.1**2 * 1e6)
    assert weights["nets"]["middle"] == pytest.approx(half * 40 * 134)
    # Port A in a quarter of the cycles, port B in all
    assert weights["memories"]["high"] == pytest.approx(1250 * 18.0e-12 * 1e6)
    assert result["modules"]["(ports)"]["nets"]["middle"] == pytest.approx(half * 10 * 134)
    assert result["total_uj"]["middle"] == pytest.approx(sum(
        row[part]["middle"] for row in result["modules"].values() for part in power.PARTS))
    assert result["total_uj"]["low"] < result["total_uj"]["middle"] < result["total_uj"]["high"]
    assert (result["toggles"], result["nets"], result["kind"]) == (210, 4, "estimate")


def test_what_is_of_no_instance_is_of_the_top():
    counted = activity.NetActivity({2: (100, 0.5), 5: (0, 0.0)}, 1000)
    result = power.estimate_energy(NETLIST, {"ff": "field.of_a_record"}, INSTANCES, counted)
    assert result["modules"]["(top)"]["nets"]["middle"] > 0 and "field" not in result["modules"]


def test_clock_nets_cost_nothing_as_nets():
    counted = activity.NetActivity({1: (2000, 0.5), 5: (0, 0.0)}, 1000)
    result = power.estimate_energy(NETLIST, OWNERS, INSTANCES, counted)
    assert sum(row["nets"]["high"] for row in result["modules"].values()) == 0


@pytest.mark.parametrize("changes, complaint", [
    ({"REGMODE_A": "OUTREG"}, "must have REGMODE_A NOREG to be simulated, not OUTREG"),
    ({"WRITEMODE_B": "WRITETHROUGH"}, "WRITEMODE_B NORMAL or READBEFOREWRITE")])
def test_what_the_memory_model_does_not_do_is_refused(changes, complaint):
    cell = _wired("DP16KD", {"CLKA": 1, "CLKB": 1, "RSTA": "0", "RSTB": "0"}, {"DOA0": 3})
    cell["parameters"] = changes
    with pytest.raises(FpgaError, match=complaint):
        gates.simulation_verilog({"ports": {}, "cells": {"ram": cell}}, "top")


@pytest.mark.slow
def test_a_mapped_netlist_scores_like_the_reference():
    from bamac.compiler import compile_network
    from bamac.fpga import implement
    from bamac.ir import reference
    from bamac.ir.random_networks import random_case
    from bamac.perf.cycles import predict
    from bamac_hw.geometry import Geometry

    geometry = Geometry("quad", channels=4, weight_rows=1024, line_words=512)
    case = random_case(1, acc_bits=geometry.acc_bits, pools=((1, 1), (2, 2), (2, 1), (1, 2)))
    program = compile_network(case.network, geometry)
    mapped = implement(geometry, "ecp5-25k", program=program, place=False)
    frames = case.frames[:1]
    expected = (reference.run(case.network, frames[0]).outputs,
                predict(program, case.network, frames)["cycles"])
    counted = activity.count_toggles(mapped["netlist"], program, frames, expected)
    assert expected[1] <= counted.cycles < 2 * expected[1] + 10_000
    assert sum(toggles for toggles, _ in counted.values()) > 10 * expected[1]
    with pytest.raises(FpgaError, match="must give outputs"):
        activity.count_toggles(mapped["netlist"], program, frames, (expected[0] + 1, expected[1]))


# --- Upper bounds of what the presets cost


@pytest.mark.slow
def test_small_after_mapping():
    """Without place and route, and without a program: the memories' contents cost nothing."""
    result = implement_verilog(verilog_text(Geometry.preset("small"), family="ecp5"), TOP,
                               "ecp5-25k", place=False)
    total = result["resources"]
    assert total["lut"] <= 5760  # 45 per lane
    assert total["bram"] <= 47 and total["dsp"] == 0
    # One LUT for each accumulator's chain beside the 20 of its sum.
    assert result["modules"]["lanes"]["lut"] <= 128 * 21 + 10


@pytest.mark.slow
@pytest.mark.parametrize("board", [None, "icebreaker"])
def test_tiny_on_its_device(board):
    """Placed and routed; with nine cells of ten nextpnr would find no legal placement."""
    result = implement(Geometry.preset("tiny"), None if board else "ice40-up5k",
                       board=BOARDS[board] if board else None)
    used = result["seeds"][0]["used"]
    assert used["lut"] <= 4690 and used["spram"] == 4
    assert result["fmax_mhz"]["lowest"] >= 18  # half as fast again as the board's clock
