"""Dense layers that read a whole map, or the input: values, cycles and accesses."""

from dataclasses import replace

import pytest
from layer_cases import check_case, compiled, flattened_case

from bamac.compiler import CompileError, compile_network
from bamac_hw.geometry import Geometry, GeometryError
from bamac_sim.simulate import Job, simulate_many

GEOMETRIES = {
    geometry.name: geometry for geometry in (
        Geometry("dense", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 map_head=True),
        Geometry("wide", tile_rows=1, tile_cols=4, channels=4, weight_rows=16384, line_words=4096,
                 acc_bits=24, map_head=True),
        Geometry("event", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 walk="event", map_head=True),
        Geometry("streams", channels=8, acc_bits=24, weight_rows=8192, line_words=2048,
                 walk="event", streams=2, map_head=True),
        Geometry("pair", channels=8, acc_bits=24, weight_rows=8192, input_words=512,
                 line_words=2048, lane="pair", map_head=True),
        Geometry("int8", channels=8, acc_bits=24, weight_rows=8192, input_words=512,
                 line_words=8192, lane="int8"),
    )
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_flattened_maps_to_the_bit_and_cycle(geometry):
    tile = geometry.tile_rows, geometry.tile_cols
    # (convolutions, hidden layers): scores of a map, hidden layers on it, and on the input alone.
    shapes = [(1, ()), (2, (11,)), (1, (5, 9)), (2, ()), (1, (20,))]
    emits = ["unsigned", "bit"] if not geometry.int8_maps else ["unsigned"]
    shapes += [(0, ()), (0, (13,))]
    cases = [flattened_case(10 * seed, convs=convs, hidden=hidden, tile=tile, emit=emit,
                            int8=geometry.int8_maps)
             for seed, (convs, hidden) in enumerate(shapes) for emit in emits]
    programs = compiled(cases, geometry)
    results = simulate_many([Job(program, case.frames)
                             for case, program in zip(cases, programs, strict=True)])
    for case, program, result in zip(cases, programs, results, strict=True):
        assert check_case(case, program, result) > 0


def test_an_array_without_the_option_refuses_and_a_way_out_works():
    case = flattened_case(0, convs=0, hidden=())
    geometry = replace(GEOMETRIES["dense"], map_head=False)
    with pytest.raises(CompileError, match="^scores: it reads a map, and array dense reads out "
                                           "dense layers of vectors alone; use an array with "
                                           "map_head = true, such as general, or a global pool in "
                                           "front of it$"):
        compile_network(case.network, geometry)
    assert compile_network(case.network, GEOMETRIES["dense"]).layers[-1]["source"] == "input"


def test_the_option_is_in_the_digest_only_where_it_is_on():
    with_it, without = Geometry("a", map_head=True), Geometry("a")
    assert with_it.digest() != without.digest()
    assert Geometry.from_dict({"name": "b"}).digest() == without.digest()
    with pytest.raises(GeometryError, match="^map_head must be true or false, not 1$"):
        Geometry("a", map_head=1)
