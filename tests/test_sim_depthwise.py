"""Depthwise convolutions, whose lanes take their own channel's bit: values, cycles and accesses."""

from dataclasses import replace

import pytest
from layer_cases import check_case, compiled, depthwise_case, input_case

from bamac.compiler import compile_network
from bamac.perf.cycles import bounds, predict
from bamac_hw.geometry import Geometry, GeometryError
from bamac_sim.simulate import Job, simulate_many

SIZES = {"acc_bits": 24, "weight_rows": 8192, "line_words": 4096, "depthwise": True}
GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("dense", channels=8, **SIZES),
        Geometry("tall", tile_rows=4, tile_cols=1, channels=4, **SIZES, kernel_most=15,
                 axis_strides=True),
        Geometry("event", channels=8, **SIZES, walk="event"),
        Geometry("wide", tile_rows=1, tile_cols=4, channels=16, **SIZES, walk="event",
                 zero_rows=True, axis_strides=True),
        Geometry("streams", channels=8, **SIZES, walk="event", streams=2),
    )
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_layers_to_the_bit_and_cycle(geometry):
    tile = geometry.tile_rows, geometry.tile_cols
    cases = [depthwise_case(seed, channels=channels, tile=tile,
                            kernel_most=min(9, geometry.kernel_most),
                            axis_strides=geometry.axis_strides,
                            pruned=0.6 if geometry.zero_rows else 0.0)
             for seed, channels in enumerate((8, 3, 20, 33, 16, 7))]
    cases.append(input_case(1, channels=2, tile=tile))  # layers that are none stay as they are
    programs = compiled(cases, geometry)
    found = [row for program in programs for row in program.layers if row["depthwise"]]
    assert len(found) == 12 and any(row["passes"] > 1 for row in found)
    assert any(row["mask_rows"] for row in found) == geometry.zero_rows
    results = simulate_many([Job(program, case.frames, monitors=number == 3)
                             for number, (case, program) in enumerate(
                                 zip(cases, programs, strict=True))])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 20
    for counted, monitored in zip(results[3].counters, results[3].monitors, strict=True):
        assert {name: counted[name] for name in monitored} == monitored


def test_a_tap_is_one_cycle_and_one_weight_row():
    case = depthwise_case(0, channels=20)
    program = compile_network(case.network, GEOMETRIES["dense"])
    for row in program.layers:
        if row["depthwise"]:
            taps = row["kernel"][0] * row["kernel"][1]
            assert row["steps"] == taps
            assert row["weight_rows"] == 3 * (3 + taps)     # passes; start values
    event = compile_network(case.network, GEOMETRIES["event"])
    limits = bounds(event, clips=2)
    cycles = predict(event, case.network, case.frames)["cycles"]
    assert limits["best"]["cycles"] <= cycles <= limits["worst"]["cycles"]


@pytest.mark.parametrize("values, message", [
    ({"lane": "pair"}, "lane must be gated for depthwise, not 'pair'"),
    ({"lane": "int8"}, "lane must be gated for depthwise, not 'int8'"),
    ({"depthwise": "yes"}, "depthwise must be true or false, not 'yes'"),
])
def test_the_option_needs(values, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", **{"depthwise": True, **values})
    assert str(error.value) == message


def test_the_digest_tells_it():
    assert replace(GEOMETRIES["dense"], depthwise=False).digest() != GEOMETRIES["dense"].digest()
