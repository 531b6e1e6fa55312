"""Bounds and counts against products that are enumerated, and maps that are computed."""

from itertools import product

import numpy as np
import pytest

from bamac.compiler.images import accumulator_bounds
from bamac.compiler.walks import walks
from bamac.ir import reference
from bamac.ir.bounds import (
    accumulator_range,
    conv_shape,
    largest_sum,
    largest_sums,
    memory_count,
    reach,
)
from bamac.ir.network import Conv2d, Dense
from bamac.ir.random_networks import paper_network, random_case
from bamac_hw.geometry import Geometry


@pytest.mark.parametrize("low, high", [(-3, 2), (0, 1), (0, 5)])
def test_reach_is_the_extreme_of_all_inputs(low, high):
    weights = np.array([[3, -2, 0], [-1, -4, -5], [7, 1, 2]])
    sums = np.array([[sum(w * x for w, x in zip(row, inputs, strict=True)) for row in weights]
                     for inputs in product(range(low, high + 1), repeat=3)])
    least, most = reach(weights, low, high)
    np.testing.assert_array_equal(least, sums.min(axis=0))
    np.testing.assert_array_equal(most, sums.max(axis=0))
    assert largest_sum(weights, max(-low, high)) >= np.abs(sums).max()


def test_largest_sum_by_hand():
    weights = np.array([[[[1, -2]]], [[[3, 4]]]])
    assert largest_sum(weights, 10) == 70
    assert largest_sums(weights, 10).tolist() == [30, 70]


def test_accumulators_start_at_the_threshold_and_make_up_for_the_offset():
    conv = Conv2d("conv", np.array([3, -2]).reshape(1, 1, 1, 2), np.array([10]))
    # Unsigned, 2 bits: from -10, up by 9 and down by 6. Signed: 2 (3 - 2) less at the start.
    assert [int(v[0]) for v in accumulator_range(conv, 0, 3)] == [-16, -1]
    assert [int(v[0]) for v in accumulator_range(conv, -2, 1)] == [-18, -3]


@pytest.mark.parametrize("kernel, stride, padding", [
    ((3, 3), 1, (1, 1, 1, 1)), ((2, 4), 2, (0, 1, 3, 0)),
    ((3, 2), (1, 3), (0, 1, 1, 0)), ((1, 1), 2, (0, 0, 0, 0))])
def test_conv_shape_is_that_of_the_computed_map(kernel, stride, padding):
    conv = Conv2d("conv", np.ones((1, 1, *kernel), int), np.zeros(1, int), stride, padding)
    maps = reference.conv_accumulators(conv, np.ones((1, 11, 8), int), 1)
    assert conv_shape(11, 8, kernel, stride, padding) == maps.shape[1:]


@pytest.mark.parametrize("int8_maps", [False, True])
def test_memory_count_counts_what_the_reference_computes(int8_maps):
    """Among the seeds are strides of 2, which shrink the maps."""
    strides = set()
    for seed in range(6):
        case = random_case(seed, acc_bits=24, int8_maps=int8_maps)
        trace = reference.run(case.network, case.frames[0])
        values = sum(trace.layers[conv.name].bits.size for conv in case.network.convs)
        parameters = sum(layer.weights.size + layer.weights.shape[0]
                         for layer in case.network.layers)
        stored = values if int8_maps else -(-values // 8)
        assert case.network.memory_count() == {"fp32": 4 * (parameters + values),
                                               "binary": parameters + stored}
        strides |= {conv.strides for conv in case.network.convs}
    assert strides == {(1, 1), (2, 2)}


def test_memory_count_of_the_papers_network():
    count = paper_network().network.memory_count()
    assert (count["fp32"], count["binary"]) == (5_316_868, 206_137)
    assert memory_count(10, 9) == {"fp32": 76, "binary": 12}


@pytest.mark.parametrize("array", ["small", "small_event", "small_pair", "small_int8"])
def test_bounds_of_the_array_hold_the_accumulators_of_the_reference(array):
    geometry = Geometry.preset(array)
    case = random_case(5, acc_bits=20, int8_maps=geometry.int8_maps,
                       pools=((1, 1), (2, 2)), windows=2)
    for window in case.frames:
        trace = reference.run(case.network, window, keep_acc=True)
        for walk, layer in zip(walks(case.network, geometry), case.network.layers, strict=True):
            low, high = accumulator_bounds(walk)
            sums = trace.layers[layer.name].acc
            if isinstance(layer, Dense):
                sums = sums - layer.bias if geometry.int8_maps else sums
            elif not geometry.int8_maps:
                sums = sums - layer.thresholds[:, None, None]
            assert low <= sums.min() and sums.max() <= high, layer.name

