"""Weight rows of zeros that the event-driven walk leaves out: values, cycles and accesses."""

from dataclasses import replace

import numpy as np
import pytest
from layer_cases import check_case, compiled, input_case

from bamac.compiler import compile_network
from bamac.perf.cycles import bounds, predict
from bamac_hw.accelerator import Accelerator
from bamac_hw.geometry import Geometry, GeometryError
from bamac_sim.simulate import Job, simulate_many

SIZES = {"acc_bits": 24, "input_words": 1024, "line_words": 4096, "walk": "event",
         "zero_rows": True}
GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("square", channels=8, weight_rows=8192, **SIZES),
        Geometry("wide", tile_rows=1, tile_cols=4, channels=4, weight_rows=16384, map_head=True,
                 **SIZES),
        Geometry("deep", channels=32, weight_rows=4096, kernel_most=15, axis_strides=True, **SIZES),
    )
}


def cases_of(geometry, seeds):
    tile = geometry.tile_rows, geometry.tile_cols
    return [input_case(500 + seed, channels=1 + seed % 3, bits=4, tile=tile,
                       kernel_most=5 + 4 * (geometry.kernel_most == 15), outputs_most=30,
                       axis_strides=geometry.axis_strides, pruned=(0.5, 0.9, 0.2)[seed % 3])
            for seed in seeds]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_layers_to_the_bit_and_cycle(geometry):
    cases = cases_of(geometry, range(9))
    programs = compiled(cases, geometry)
    masked = [row for program in programs for row in program.layers if row["mask_rows"]]
    assert {row["source"] for row in masked} == {"input", "line"}
    assert any(row["passes"] > 1 for row in masked) or geometry.channels == 32
    results = simulate_many([Job(program, case.frames, monitors=number == 1)
                             for number, (case, program) in enumerate(
                                 zip(cases, programs, strict=True))])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 20
    seen = results[1]
    for counted, monitored in zip(seen.counters, seen.monitors, strict=True):
        assert {name: counted[name] for name in monitored} == monitored


def test_rows_of_zeros_cost_no_cycle_that_computes():
    case, = cases_of(GEOMETRIES["square"], [4])
    with_it, without = (compile_network(case.network, replace(
        GEOMETRIES["square"], zero_rows=zero_rows)) for zero_rows in (True, False))
    fewer, all_rows = (predict(program, case.network, case.frames)
                       for program in (with_it, without))
    for index in (0, 1):    # nine tenths of the rows are zeros
        fewest, most = (found["layers"][index]["cycles_compute"] for found in (fewer, all_rows))
        assert 0 < fewest < most / 3
    limits = bounds(with_it, clips=len(case.frames))
    assert limits["best"]["cycles"] <= fewer["cycles"] <= limits["worst"]["cycles"]
    assert limits["worst"]["cycles"] < bounds(without, clips=2)["worst"]["cycles"]


def test_masks_are_left_out_where_they_save_nothing_or_have_no_room():
    dense_weights = input_case(3, channels=1)
    for conv in dense_weights.network.convs:
        weights = conv.weights.copy()
        weights[weights == 0] = 1
        object.__setattr__(conv, "weights", weights)
    program = compile_network(dense_weights.network, GEOMETRIES["square"])
    assert [row["mask_rows"] for row in program.layers] == [0, 0, 0]

    case, = cases_of(GEOMETRIES["square"], [4])
    rows = len(compile_network(case.network, replace(GEOMETRIES["square"],
                                                     zero_rows=False)).weights)
    small = replace(GEOMETRIES["square"], weight_rows=rows)
    program = compile_network(case.network, small)
    assert len(program.weights) == rows
    assert [row["mask_rows"] for row in program.layers] == [0, 0, 0]


def test_masks_by_hand():
    """Of a kernel of 1 x 3 on 10 channels of a map, in words of 8, some pairs have no weights."""
    case = next(case for case in (input_case(seed, channels=1, outputs_most=10)
                                  for seed in range(100)) if len(case.network.layers[0].weights)
                == 10)
    first, second, head = case.network.layers
    weights = np.ones((3, 10, 1, 3), int)
    weights[:, [0, 9], 0, 1] = 0
    weights[:, :8, 0, 2] = 0
    second = replace(second, weights=weights, thresholds=np.zeros(3, int), stride=1,
                     padding=(0, 0, 1, 1), pool=(1, 1))
    network = replace(case.network, layers=(first, second, replace(
        head, weights=head.weights[:, :1].repeat(3, axis=1))))
    program = compile_network(network, GEOMETRIES["square"])
    row = program.layers[1]
    assert (row["mask_rows"], row["words"]) == (1, 2)
    mask = program.weights[row["weight_base"] - 1].view(np.uint8)
    assert mask.tolist() == [0xFF, 0b11, 0xFE, 0b01, 0x00, 0b11, 0, 0]


@pytest.mark.parametrize("values, message", [
    ({"walk": "dense"}, "walk must be event for zero_rows, not 'dense': the dense walk takes every "
                        "weight row"),
    ({"walk": "event", "streams": 2}, "streams must be 1 for zero_rows, not 2: the second port of "
                                      "the weight store reads the masks"),
    ({"walk": "event", "zero_rows": 1}, "zero_rows must be true or false, not 1"),
])
def test_the_option_needs(values, message):
    with pytest.raises(GeometryError) as error:
        Geometry("bad", **{"zero_rows": True, **values})
    assert str(error.value) == message


def test_ice40_has_no_port_for_masks():
    with pytest.raises(GeometryError, match="^zero_rows must be false on iCE40"):
        Accelerator(GEOMETRIES["square"], family="ice40")
