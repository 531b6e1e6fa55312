import time

import numpy as np
import pytest
import torch

from bamac.ir import bounds, random_networks, reference
from bamac.ir.engine import exact_dtype
from bamac.ir.network import Conv2d, Dense, GraphError, InputSpec, IntegerNetwork


def naive_conv(conv, activations):
    """The definition, one product at a time in Python's own integers."""
    top, bottom, before, after = conv.padding
    padded = np.pad(activations, ((0, 0), (top, bottom), (before, after))).tolist()
    down, right = conv.strides
    rows, cols = conv.conv_shape(*activations.shape[1:])
    weights = conv.weights.tolist()
    acc = np.zeros((conv.out_channels, rows, cols), np.int64)
    for o in range(conv.out_channels):
        for y in range(rows):
            for x in range(cols):
                acc[o, y, x] = sum(
                    weights[o][c][i][j] * padded[c][y * down + i][x * right + j]
                    for c in range(conv.in_channels)
                    for i in range(conv.kernel[0]) for j in range(conv.kernel[1]))
    return acc


def naive_run(network, frames):
    values = frames[None].astype(int)
    for conv in network.convs:
        acc = naive_conv(conv, values)
        bits = np.array([[[int(a >= t) for a in row] for row in plane]
                         for plane, t in zip(acc.tolist(), conv.thresholds.tolist(),
                                             strict=True)])
        rows, cols = conv.pooled_shape(*values.shape[1:])
        ph, pw = conv.pool
        values = np.array([[[bits[c, y * ph:(y + 1) * ph, x * pw:(x + 1) * pw].max()
                             for x in range(cols)] for y in range(rows)]
                           for c in range(conv.out_channels)])
        yield conv.name, bits
    vector = values.max(axis=(1, 2)) if conv.global_pool == "max" else values.sum(axis=(1, 2))
    for dense in network.denses:
        sums = [sum(w * v for w, v in zip(row, vector.tolist(), strict=True)) + b
                for row, b in zip(dense.weights.tolist(), dense.bias.tolist(), strict=True)]
        if dense.emit == "bit":
            sums = [int(s >= 0) for s in sums]
        elif dense.emit == "unsigned":
            # Floor division, also of negative sums, then the clamp
            sums = [min(max(s // 2 ** dense.shift, 0), 2 ** dense.bits - 1) for s in sums]
        vector = np.array(sums)
        yield dense.name, vector


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_definition_on_random_networks(seed):
    case = random_networks.random_case(seed, channels=(1, 2, 3, 5, 9), max_rows=12, max_cols=12)
    trace = reference.run(case.network, case.frames[0])
    compared = []
    for name, expected in naive_run(case.network, case.frames[0]):
        layer = trace.layers[name]
        actual = layer.bits if hasattr(layer, "bits") else layer.outputs
        np.testing.assert_array_equal(actual, expected, err_msg=f"seed {seed}, layer {name}")
        compared.append(name)
    assert compared == [layer.name for layer in case.network.layers] == list(trace.layers)


def test_equals_the_definition_on_corners():
    for case in random_networks.corner_cases():
        trace = reference.run(case.network, case.frames[0])
        for name, expected in naive_run(case.network, case.frames[0]):
            layer = trace.layers[name]
            actual = layer.bits if hasattr(layer, "bits") else layer.outputs
            np.testing.assert_array_equal(actual, expected, err_msg=f"{case.name}, layer {name}")


def hand_network(global_pool="sum"):
    weights = np.array([[[[1, 0], [0, -2]]], [[[-1, -1], [3, 0]]]])
    conv = Conv2d("conv", weights, np.array([1, 4]), global_pool=global_pool)
    hidden = Dense("hidden", np.array([[3, -1], [-2, 1]]), np.array([2, 0]), "unsigned", 2, 1)
    return IntegerNetwork("hand", InputSpec(2, 4, 4, True),
                          (conv, hidden, Dense("score", np.array([[5, 7]]), np.array([-3]))),
                          score_scale=0.5, score_offset=1.0)


def test_hand_computed():
    frames = np.array([[1, 2, 3, -8], [4, 0, -1, 7]], np.int8)
    trace = reference.run(hand_network(), frames, keep_acc=True)
    # Channel 0: a - 2 d for the windows [1 2; 4 0], [2 3; 0 -1], [3 -8; -1 7]
    # Channel 1: -a - b + 3 c
    conv = trace.layers["conv"]
    assert conv.acc.tolist() == [[[1, 4, -11]], [[9, -5, 2]]]
    assert conv.bits.tolist() == [[[1, 1, 0]], [[1, 0, 0]]]
    assert conv.bits.dtype == np.uint8
    assert conv.vector.tolist() == trace.vector.tolist() == [2, 1]
    # 3 * 2 - 1 + 2 = 7, 7 >> 1 = 3; -2 * 2 + 1 = -3, below 0
    assert trace.layers["hidden"].acc.tolist() == [7, -3]
    assert trace.layers["hidden"].outputs.tolist() == [3, 0]
    assert trace.outputs.tolist() == [5 * 3 - 3]
    assert trace.scores.tolist() == [7.0]
    assert trace.outputs.dtype == np.int64


def test_accumulator_equal_to_the_threshold_gives_one():
    frames = np.array([[1, 2, 3, -8], [4, 0, -1, 7]])
    assert reference.run(hand_network(), frames).layers["conv"].bits[0, 0, 0] == 1


def test_global_max_is_an_or():
    frames = np.array([[1, 2, 3, -8], [4, 0, -1, 7]])
    assert reference.run(hand_network("max"), frames).vector.tolist() == [1, 1]


def test_pool_drops_what_does_not_fill_a_window():
    bits = np.zeros((1, 3, 5), np.uint8)
    bits[0, 2, 4] = bits[0, 0, 1] = 1
    assert reference.max_pool(bits, (2, 2)).tolist() == [[[1, 0]]]


def test_accumulators_are_kept_only_when_asked():
    frames = np.zeros((2, 4), int)
    assert reference.run(hand_network(), frames).layers["conv"].acc is None


@pytest.mark.parametrize("magnitude", [1 << 24, (1 << 24) + 1, (1 << 53) - 1])
def test_engine_holds_what_it_is_taken_for(magnitude):
    assert int(exact_dtype("x", magnitude)(magnitude)) == magnitude


def test_sums_beyond_float32_are_exact():
    # 700 channels of 7 x 7 at +-127 on bits reach 4.4 million; on the 8-bit input only one channel
    # exists, so only the bound of an artificial input range is beyond 2^24
    rng = np.random.default_rng(5)
    conv = Conv2d("wide", rng.integers(-127, 128, (2, 40, 7, 7)), np.zeros(2, int))
    activations = rng.integers(0, 1 << 16, (40, 8, 9))
    acc = reference.conv_accumulators(conv, activations, (1 << 16) - 1)
    np.testing.assert_array_equal(acc, naive_conv(conv, activations))
    assert np.abs(acc).max() > 1 << 24


@pytest.mark.parametrize("frames, message", [
    (np.zeros((2, 4)), "Frames must be integers, not float64"),
    (np.zeros((2, 4), bool), "Frames must be integers, not bool"),
    (np.zeros((4, 2), int), "Frames must be 2 x 4, not 4 x 2"),
    (np.zeros((1, 2, 4), int), "Frames must be 2 x 4, not 1 x 2 x 4"),
    (np.int64(3), "Frames must be 2 x 4, not a scalar"),
    (np.full((2, 4), 8), "Frames must be in -8..7, not 8..8"),
    (np.full((2, 4), -9), "Frames must be in -8..7, not -9..-9"),
    (np.full((2, 4), 200, np.uint8), "Frames must be in -8..7, not 200..200"),
])
def test_unusable_frames_are_refused(frames, message):
    with pytest.raises(GraphError) as error:
        reference.run(hand_network(), frames)
    assert str(error.value) == message


def test_paper_network_is_fast():
    case = random_networks.paper_network()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        reference.run(case.network, case.frames[0])
        times.append(time.perf_counter() - start)
    assert min(times) < 1


@pytest.mark.parametrize("acc_bits", [14, 17, 20])
def test_random_networks_fit_their_accumulators(acc_bits):
    limit = 1 << (acc_bits - 1)
    for seed in range(20):
        case = random_networks.random_case(seed, acc_bits=acc_bits)
        bits = [case.network.input.bits] + [1] * (len(case.network.convs) - 1)
        bits += case.network.vector_bits()
        for index, (layer, n) in enumerate(zip(case.network.layers, bits, strict=True)):
            smallest = case.network.input.min if index == 0 else 0
            low, high = bounds.accumulator_range(layer, smallest, smallest + (1 << n) - 1)
            assert -limit <= low.min() and high.max() < limit, (seed, layer.name)


def test_random_networks_are_reproducible_and_balanced():
    same = [random_networks.random_case(3).network.digest() for _ in range(2)]
    assert same[0] == same[1] != random_networks.random_case(4).network.digest()
    ones = []
    for seed in range(30):
        case = random_networks.random_case(seed)
        trace = reference.run(case.network, case.frames[0])
        ones += [layer.bits.mean() for layer in trace.layers.values() if hasattr(layer, "bits")]
    assert 0.2 < np.mean(ones) < 0.7


@pytest.mark.parametrize("seed", range(12))
def test_groups_dilation_and_strides_are_those_of_pytorch(seed):
    rng = np.random.default_rng(seed)
    groups, reads, kernel = int(rng.choice([1, 2, 3])), int(rng.choice([1, 2, 17])), (3, 2)
    stride, dilation = rng.integers(1, 4, 2).tolist(), rng.integers(1, 4, 2).tolist()
    weights = rng.integers(-127, 128, (2 * groups, reads, *kernel))
    conv = Conv2d("conv", weights, np.zeros(2 * groups, int), stride, (1, 1, 1, 1),
                  groups=groups, dilation=dilation)
    values = rng.integers(-128, 128, (reads * groups, 13, 11))
    wanted = torch.nn.functional.conv2d(
        torch.from_numpy(values).double(), torch.from_numpy(weights).double(), None, stride,
        (1, 1), dilation, groups).numpy()
    np.testing.assert_array_equal(reference.conv_accumulators(conv, values, 128), wanted)


def test_levels_are_the_thresholds_reached():
    conv = Conv2d("conv", np.ones((2, 1, 1, 1), int), np.array([[-1, 2, 2], [0, 3, 9]]),
                  low=-3, step=2, pool=(1, 2), global_pool="sum")
    frames = np.array([[-2, -1, 1, 2, 5, 9]])
    maps = np.array([[[-3, -1, -1, 3, 3, 3]], [[-3, -3, -1, -1, 1, 3]]])
    network = IntegerNetwork("net", InputSpec(1, 6), [conv, Dense(
        "dense", np.array([[1, 2], [3, 4]]), np.array([5, 0]), "levels",
        thresholds=np.array([[12, 18], [0, 31]]), low=-1), Dense(
            "last", np.array([[1, 0], [0, 1]]), np.array([0, 7]))], (2.0, 0.5), (1.0, 0.0))
    assert [before.low for _, before in network.steps()] == [-128, -9, -1]
    assert [before.high for _, before in network.steps()] == [127, 9, 1]
    trace = reference.run(network, frames)
    assert trace.layers["conv"].bits.tolist() == maps.tolist()
    # Maxima of neighbours -1, 3, 3 and -3, -1, 3
    assert trace.vector.tolist() == [5, -1]
    assert trace.layers["dense"].acc.tolist() == [5 - 2 + 5, 15 - 4]
    assert trace.layers["dense"].outputs.tolist() == [-1, 0]
    assert trace.outputs.tolist() == [-1, 7] and trace.scores.tolist() == [-1.0, 3.5]


def test_dense_layers_read_maps_channel_after_channel():
    rng = np.random.default_rng(1)
    frames, weights = rng.integers(-8, 8, (3, 2, 5)), rng.integers(-9, 9, (4, 30))
    network = IntegerNetwork("net", InputSpec(2, 5, 4, channels=3, zero_point=-2),
                             [Dense("dense", weights, np.arange(4))])
    wanted = torch.nn.functional.linear(torch.from_numpy(frames).flatten() + 2,
                                        torch.from_numpy(weights)).numpy() + np.arange(4)
    np.testing.assert_array_equal(reference.run(network, frames).outputs, wanted)


def test_several_inputs_are_read_one_behind_the_other():
    """A sum of two branches is a convolution over both."""
    rng = np.random.default_rng(2)
    first = Conv2d("first", rng.integers(-3, 4, (2, 1, 3, 3)), np.zeros(2, int),
                   padding=(1, 1, 1, 1))
    both = Conv2d("both", np.array([[[[2]], [[1]], [[-1]]]]), np.array([1]), global_pool="sum")
    network = IntegerNetwork("net", InputSpec(6, 5), [
        first, both, Dense("last", np.array([[1]]), np.array([0]))],
        inputs={"both": ("first", "frames")})
    frames = rng.integers(-2, 3, (6, 5))
    bits = reference.run(network, frames).layers["first"].bits.astype(int)
    wanted = 2 * bits[0] + bits[1] - frames >= 1
    trace = reference.run(network, frames)
    np.testing.assert_array_equal(trace.layers["both"].bits[0], wanted)
    assert trace.outputs.tolist() == [int(wanted.sum())]
