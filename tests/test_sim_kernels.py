"""Kernels of up to 15 and strides of each axis: values, cycles and accesses."""

from dataclasses import replace

import pytest
from layer_cases import check_case, compiled, flattened_case, input_case

from bamac.compiler import CompileError, compile_network
from bamac_hw.geometry import Geometry, GeometryError
from bamac_sim.simulate import Job, simulate_many

BOTH = {"kernel_most": 15, "axis_strides": True}
GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("dense", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=2048, map_head=True, **BOTH),
        Geometry("tall", tile_rows=4, tile_cols=2, channels=4, acc_bits=24, weight_rows=32768,
                 input_words=1024, line_words=2048, **BOTH),
        Geometry("wide", tile_rows=1, tile_cols=4, channels=8, acc_bits=24, weight_rows=16384,
                 input_words=1024, line_words=2048, walk="event", **BOTH),
        Geometry("streams", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=2048, walk="event", streams=2, **BOTH),
        Geometry("pair", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=2048, lane="pair", **BOTH),
        Geometry("int8", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=16384, lane="int8", **BOTH),
        Geometry("kernels", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=2048, walk="event", kernel_most=15),
        Geometry("strides", channels=8, acc_bits=24, weight_rows=16384, input_words=1024,
                 line_words=2048, axis_strides=True),
    )
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_layers_to_the_bit_and_cycle(geometry):
    tile = geometry.tile_rows, geometry.tile_cols
    cases = [input_case(100 + seed, channels=1 + seed % 2, bits=3, clips=1 + seed % 2, tile=tile,
                        int8=geometry.int8_maps, kernel_most=geometry.kernel_most,
                        axis_strides=geometry.axis_strides, padding_most=14)
             for seed in range(10)]
    if geometry.map_head:
        cases += [flattened_case(300 + seed, convs=1, hidden=(5,), tile=tile, size_most=15)
                  for seed in range(3)]
    programs = compiled(cases, geometry)
    kernels = [row["kernel"] for program in programs for row in program.layers]
    assert (max(map(max, kernels)) > 7) == (geometry.kernel_most == 15)
    assert any(isinstance(row["stride"], list) for program in programs
               for row in program.layers) == geometry.axis_strides
    results = simulate_many([Job(program, case.frames)
                             for case, program in zip(cases, programs, strict=True)])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 20


def test_kernels_that_are_too_large_are_refused_and_the_way_out_works():
    def large(case):
        return [conv.kernel for conv in case.network.convs if max(conv.kernel) > 7]

    case = next(case for case in (input_case(seed, channels=1, kernel_most=15, padding_most=14)
                                  for seed in range(100, 130)) if len(large(case)) == 1)
    assert compile_network(case.network, GEOMETRIES["kernels"])
    (rows, cols), = large(case)
    with pytest.raises(CompileError, match=f"kernel must be at most 7 x 7 on array kernels, not "
                                           f"{rows} x {cols}; use an array with kernel_most = 15, "
                                           "such as general$"):
        compile_network(case.network, replace(GEOMETRIES["kernels"], kernel_most=7))


def test_strides_that_differ_are_refused_and_the_way_out_works():
    case = next(case for case in (input_case(seed, channels=1, axis_strides=True)
                                  for seed in range(20))
                if case.network.layers[1].strides == (1, 2))
    assert compile_network(case.network, GEOMETRIES["strides"]).layers[1]["stride"] == [1, 2]
    with pytest.raises(CompileError, match="^conv1: stride must be 1 or 2, the same in both "
                                           "directions, on array strides, not 1 x 2; use an array "
                                           "with axis_strides = true, such as general$"):
        compile_network(case.network, replace(GEOMETRIES["strides"], axis_strides=False))


def test_a_flattened_map_beyond_7_x_7_needs_larger_kernels():
    case = flattened_case(301, convs=1, hidden=(), size_most=15)
    with pytest.raises(CompileError, match="are at most 7 x 7; pool more in front of it, or use "
                                           "an array with kernel_most = 15, such as general$"):
        compile_network(case.network, replace(GEOMETRIES["dense"], kernel_most=7))


def test_the_options_are_checked():
    with pytest.raises(GeometryError, match="^kernel_most must be one of 7, 15, not 9$"):
        Geometry("bad", kernel_most=9)
    with pytest.raises(GeometryError, match="^axis_strides must be true or false, not 'no'$"):
        Geometry("bad", axis_strides="no")
    digests = {Geometry("a", **options).digest() for options in (
        {}, {"kernel_most": 15}, {"axis_strides": True}, BOTH)}
    assert len(digests) == 4
