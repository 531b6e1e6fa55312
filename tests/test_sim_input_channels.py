"""Inputs of several channels, on the gateware as it is: values, cycles and accesses."""

import numpy as np
import pytest
from layer_cases import check_case, compiled, input_case

from bamac.compiler import CompileError, compile_network
from bamac_hw.abi.frames import row_beats, stream_rows
from bamac_hw.geometry import Geometry, GeometryError
from bamac_sim.simulate import Job, simulate_many

GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("dense", channels=8, acc_bits=24, weight_rows=8192, line_words=2048),
        Geometry("one_pixel", tile_rows=1, tile_cols=1, channels=4, weight_rows=8192,
                 input_words=4096, line_words=8192),
        Geometry("event", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 walk="event"),
        Geometry("streams", tile_cols=4, channels=8, weight_rows=8192, line_words=2048,
                 input_words=512, walk="event", streams=2),
        Geometry("zero", tile_rows=1, channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 walk="event", zero_points=True),
        Geometry("camera", tile_cols=4, channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 interleaved=True),
        Geometry("camera_event", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 walk="event", interleaved=True),
        Geometry("pair", channels=8, acc_bits=24, weight_rows=8192, input_words=512,
                 line_words=2048, lane="pair"),
        Geometry("int8", channels=8, acc_bits=24, weight_rows=8192, input_words=512,
                 line_words=8192, lane="int8"),
    )
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_random_inputs_to_the_bit_and_cycle(geometry):
    tile = geometry.tile_rows, geometry.tile_cols
    sizes = [(3, 8), (2, 4), (6, 2), (1, 5), (5, 4), (3, 4), (16, 3), (3, 8)]
    cases = [input_case(seed, channels=channels, signed=bool(seed % 2), bits=bits, tile=tile,
                        int8=geometry.int8_maps)
             for seed, (channels, bits) in enumerate(sizes)]
    cases += [input_case(80 + bits, channels=2, bits=bits, tile=tile, int8=geometry.int8_maps,
                         narrow=True) for bits in (2, 5)]
    if geometry.zero_points or not geometry.traits.stores_signs:
        cases += [input_case(20 + zero_point, channels=2, signed=zero_point < 0, bits=4, tile=tile,
                             int8=geometry.int8_maps, zero_point=zero_point)
                  for zero_point in (-8, -3, 5, 15)]
        cases += [input_case(60, channels=1, signed=signed, bits=8, tile=tile,
                             int8=geometry.int8_maps, zero_point=zero_point)
                  for signed, zero_point in ((True, 127), (True, -128), (False, 255), (False, 1))]
    programs = compiled(cases, geometry)
    results = simulate_many([Job(program, case.frames)
                             for case, program in zip(cases, programs, strict=True)])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 50


def test_a_row_goes_by_column_groups_then_channels():
    # Value 100 c + 10 r + x of channel c, row r, column x; tiles of 2 columns.
    frames = (100 * np.arange(3)[:, None, None] + 10 * np.arange(2)[:, None] + np.arange(5))[None]
    assert stream_rows(frames, 2)[0].tolist() == [
        [0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 203, 4, 0, 104, 0, 204],
        [10, 11, 110, 111, 210, 211, 12, 13, 112, 113, 212, 213, 14, 0, 114, 0, 214]]
    assert row_beats(3, 5, 2) == 17


def test_an_interleaved_row_goes_by_columns_then_channels():
    frames = (100 * np.arange(3)[:, None, None] + 10 * np.arange(2)[:, None] + np.arange(4))[None]
    assert stream_rows(frames, 2, interleaved=True)[0].tolist() == [
        [0, 100, 200, 1, 101, 201, 2, 102, 202, 3, 103, 203],
        [10, 110, 210, 11, 111, 211, 12, 112, 212, 13, 113, 213]]
    assert row_beats(3, 4, 2, interleaved=True) == 12


@pytest.mark.parametrize("tile_cols", [1, 2, 4])
def test_a_row_of_one_channel_is_sent_as_it_is(tile_cols):
    frames = np.random.default_rng(1).integers(-8, 8, (2, 3, 7))
    np.testing.assert_array_equal(stream_rows(frames, tile_cols), frames)
    assert row_beats(1, 7, tile_cols) == 7


def test_the_program_tells_the_shape(tmp_path):
    case = input_case(3, channels=3)
    program = compile_network(case.network, GEOMETRIES["dense"])
    spec = case.network.input
    assert program.frame_shape == (3, spec.rows, spec.cols)
    assert program.stream(case.frames).shape == (2, spec.rows, program.row_beats)
    with pytest.raises(ValueError, match=f"^Frames must be 3 x {spec.rows} x {spec.cols}, or "):
        Job(program, case.frames[:, 0])
    del program.manifest["network"]["channels"]     # of a program from before there were several
    assert program.frame_shape == (spec.rows, spec.cols)


def test_a_zero_point_is_refused_where_magnitudes_are_stored():
    case = input_case(1, channels=1, signed=False, zero_point=5)
    with pytest.raises(CompileError, match="^input-1: array event stores an input value's "
                                           "magnitude, so the input's zero point must be 0, not 5; "
                                           "use an array with zero_points = true, such as "
                                           "general, or one with the dense walk, such as small$"):
        compile_network(case.network, GEOMETRIES["event"])
    assert compile_network(case.network, Geometry.preset("small"))
    assert compile_network(case.network, Geometry.preset("general"))
    with pytest.raises(GeometryError, match="^walk must be event for zero_points, not 'dense': the "
                                            "dense walk takes inputs with a zero point anyway$"):
        Geometry("bad", zero_points=True)


def test_one_clip_needs_no_axis():
    case = input_case(4, channels=2)
    program = compile_network(case.network, GEOMETRIES["dense"])
    np.testing.assert_array_equal(Job(program, case.frames[0]).frames, case.frames[:1])


def test_too_many_channels_for_the_input_buffer_are_refused():
    case = input_case(0, channels=64)
    geometry = Geometry("dense", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                        input_words=64)
    with pytest.raises(CompileError, match="words per bank of the input buffer do not fit array "
                                           "dense, which has 64"):
        compile_network(case.network, geometry)
