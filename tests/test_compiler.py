"""The compiler: images against hand-made ones, placements, and refusals."""

import numpy as np
import pytest

from bamac.compiler import CompileError, compile_network
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.ir.random_networks import p808_network, paper_network
from bamac_hw.geometry import Geometry

QUAD = Geometry("quad", channels=4, weight_rows=64, line_words=64, input_words=64)


def small_network(weights=((3,), (-2,)), thresholds=(1, -4), pool=(1, 1), bits=8, rows=4):
    conv = Conv2d("conv", np.array(weights).reshape(len(weights), 1, 1, 1), np.array(thresholds),
                  pool=pool, global_pool="max")
    dense = Dense("score", np.array([[5, -7][:len(weights)]]), np.array([9]))
    return IntegerNetwork("net", InputSpec(rows, 4, bits), (conv, dense))


def test_weight_rows_by_hand():
    program = compile_network(small_network(), QUAD)
    # Start values -(T + 128 sum(w)): -(1 + 384) and -(-4 - 256), three bytes each, then the tap.
    # Lanes without a channel start at -1.
    expected = np.array([
        [-385 & 0xFF, 260 & 0xFF, 255, 255], [(-385 >> 8) & 0xFF, 1, 255, 255],
        [255, 0, 255, 255], [3, 254, 0, 0],
        # Dense: the bias 9, then one row per input.
        [9, 255, 255, 255], [0, 255, 255, 255], [0, 255, 255, 255],
        [5, 0, 0, 0], [249, 0, 0, 0],
    ], np.uint8)
    np.testing.assert_array_equal(program.weights.view(np.uint8), expected)


def test_thresholds_out_of_reach_are_moved_and_keep_their_meaning():
    program = compile_network(small_network(thresholds=(10**9, -10**9)), QUAD)
    starts = program.weights[:3].view(np.uint8).astype(int)
    value = starts[0] + (starts[1] << 8) + (starts[2] << 16)
    value = np.where(value >= 1 << 23, value - (1 << 24), value)
    # 3 v reaches 381, so never is a threshold of 382; -2 v reaches -254, so always is -254.
    assert value[0] == -(382 + 384) and value[1] == 254 + 256


def test_pools_that_do_not_divide_the_tile_are_refused():
    with pytest.raises(CompileError) as error:
        compile_network(small_network(pool=(1, 3)), QUAD)
    assert str(error.value) == (
        "conv: pool over 3 columns does not divide the tile of 2 columns of array quad; pool by 1, "
        "2 or 4 up to the tile's size")


def test_sums_that_leave_the_accumulator_are_refused():
    dense = Dense("score", np.full((1, 2), 1), np.array([1 << 19]))
    network = IntegerNetwork("net", InputSpec(4, 4), (small_network().convs[0], dense))
    with pytest.raises(CompileError, match="^score: sums reach 524288..524290 and need 21-bit "
                                           "accumulators, array quad has 20; use smaller"):
        compile_network(network, QUAD)


def test_a_network_too_large_names_the_preset_that_fits():
    case = paper_network()
    with pytest.raises(CompileError, match="weight rows of 4 bytes do not fit array quad, which "
                                           "has 64; preset tiny fits$"):
        compile_network(case.network, QUAD)


@pytest.mark.parametrize("preset", ["tiny", "small", "large"])
def test_paper_and_p808_shapes_fit_every_preset(preset):
    for case in (paper_network(), p808_network()):
        program = compile_network(case.network, Geometry.preset(preset))
        assert program.manifest["memory"]["activation_bytes"] <= 4000


def test_rings_of_the_papers_network():
    program = compile_network(paper_network().network, Geometry.preset("small"))
    # Kernel 3 and two rows at once see four rows; the input has two more for frames to come.
    assert [row["ring"]["rows"] for row in program.layers if "ring" in row] == [6, 4, 4, 4]
    # 6 x 120 values; 4 rows of 60, 30 and 16 (15, even) words of 32 bits.
    assert [row["ring"]["bytes"] for row in program.layers if "ring" in row] == [
        720, 4 * 60 * 4, 4 * 30 * 4, 4 * 16 * 4]


def test_rows_that_nobody_looks_at_are_not_computed():
    convs = (Conv2d("a", np.ones((1, 1, 1, 1), int), [1]),
             Conv2d("b", np.ones((1, 1, 1, 1), int), [1], stride=2, global_pool="max"))
    network = IntegerNetwork("net", InputSpec(8, 4),
                             (*convs, Dense("score", np.ones((1, 1), int), [0])))
    program = compile_network(network, QUAD)
    # Rows 0, 2, 4 and 6 are read, so row 7 of the first layer is not needed.
    assert [row["tiled_rows"] for row in program.layers[:2]] == [7, 4]


def test_the_same_network_gives_the_same_program():
    one, two = (compile_network(paper_network().network, Geometry.preset("small"))
                for _ in range(2))
    assert one.manifest == two.manifest
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.descriptors, two.descriptors)
