"""The preset ``general``, and arrays with many options: layers of every kind on one array."""

import numpy as np
import pytest
from layer_cases import check_case, compiled, depthwise_case, flattened_case, input_case

from bamac.compiler import CompileError, compile_network
from bamac.ir.network import GraphError
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many


def test_layers_of_every_option_to_the_bit_and_cycle():
    geometry = Geometry.preset("general")
    options = {"kernel_most": 15, "axis_strides": True}
    cases = [input_case(900 + seed, channels=(3, 6, 1)[seed], bits=8 - 2 * seed, outputs_most=40,
                        padding_most=14, pruned=0.4, **options) for seed in range(3)]
    cases += [depthwise_case(900, channels=48, pruned=0.5, kernel_most=9, axis_strides=True),
              depthwise_case(901, channels=33, kernel_most=5),
              input_case(903, channels=2, signed=False, bits=8, zero_point=128),
              flattened_case(900, convs=1, hidden=(40,), size_most=15),
              flattened_case(901, convs=2, hidden=()),
              flattened_case(902, convs=0, hidden=(64, 20), emit="bit"),
              flattened_case(903, convs=0, hidden=())]
    programs = compiled(cases, geometry)
    rows = [row for program in programs for row in program.layers]
    assert any(row["depthwise"] for row in rows) and any(row["mask_rows"] for row in rows)
    assert max(max(row["kernel"]) for row in rows) > 7
    results = simulate_many([Job(program, case.frames)
                             for case, program in zip(cases, programs, strict=True)])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 0


COMMON = {"acc_bits": 24, "weight_rows": 16384, "input_words": 2048, "line_words": 4096,
          "map_head": True, "kernel_most": 15, "axis_strides": True, "depthwise": True}
EVERYTHING = {
    geometry.name: geometry for geometry in (
        Geometry("event", channels=8, walk="event", zero_rows=True, zero_points=True,
                 interleaved=True, **COMMON),
        Geometry("dense", tile_cols=4, channels=8, interleaved=True, **COMMON),
        Geometry("streams", channels=4, walk="event", streams=2, zero_points=True, **COMMON),
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("geometry", EVERYTHING.values(), ids=EVERYTHING)
def test_hundreds_of_random_networks(geometry):
    tile = geometry.tile_rows, geometry.tile_cols
    cases = []
    for seed in range(120):
        rng = np.random.default_rng([9, seed])
        signed, bits = bool(rng.integers(2)), int(rng.integers(2, 9))
        low = -(1 << bits - 1) if signed else 0
        kind = seed % 3
        try:
            if kind == 0:
                case = input_case(
                    seed, channels=int(rng.integers(1, 7)), signed=signed, bits=bits, tile=tile,
                    kernel_most=int(rng.choice([3, 7, 15])), axis_strides=True, padding_most=14,
                    pruned=float(rng.choice([0, 0.3, 0.8])), outputs_most=30,
                    zero_point=int(rng.integers(low, low + (1 << bits))))
            elif kind == 1:
                case = depthwise_case(
                    seed, channels=int(rng.integers(2, 30)), tile=tile, axis_strides=True,
                    kernel_most=int(rng.choice([3, 5, 9])), pruned=float(rng.choice([0, 0.6])))
            else:
                case = flattened_case(
                    seed, convs=int(rng.integers(3)), hidden=[(), (7,), (20, 9)][seed // 3 % 3],
                    tile=tile, emit=("bit", "unsigned")[seed % 2], size_most=15)
            cases.append((case, compile_network(case.network, geometry)))
        except (CompileError, GraphError) as error:
            # A map that is too small for what was drawn, or sums beyond the accumulators
            assert "too small" in str(error) or "accumulators" in str(error), str(error)
    assert len(cases) > 90
    results = simulate_many([Job(program, case.frames, monitors=number % 20 == 0)
                             for number, (case, program) in enumerate(cases)])
    for (case, program), result in zip(cases, results, strict=True):
        assert check_case(case, program, result) > 0
        if result.monitors:
            for counted, seen in zip(result.counters, result.monitors, strict=True):
                assert {name: counted[name] for name in seen} == seen, case.network.name
