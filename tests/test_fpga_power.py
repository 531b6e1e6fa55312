"""Energy from toggles, against sums by hand; and the mapped netlist in simulation."""

import pytest

from bamac.fpga import FpgaError, activity, gates, power

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


def _cell(kind, inputs, outputs):
    return {"type": kind, "parameters": {}, "attributes": {},
            "connections": {pin: [bit] for pin, bit in {**inputs, **outputs}.items()},
            "port_directions": {**dict.fromkeys(inputs, "input"),
                                **dict.fromkeys(outputs, "output")}}


NETLIST = {"ports": {}, "cells": {
    "lut": _cell("LUT4", {"A": 2, "B": 3}, {"Z": 4}),           # 4 goes to ff alone, in its slice
    "ff": _cell("TRELLIS_FF", {"CLK": 1, "DI": 4}, {"Q": 2}),   # 2 goes to lut and ram
    "ram": _cell("DP16KD", {"CLKA": 1, "ADA0": 2, "CEA": 5, "CEB": "1"}, {"DOA0": 3})}}
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
    cell = _cell("DP16KD", {"CLKA": 1, "CLKB": 1, "RSTA": "0", "RSTB": "0"}, {"DOA0": 3})
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
