"""The preset ``general``: layers of every option on one array."""

from layer_cases import check_case, compiled, depthwise_case, flattened_case, input_case

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
