"""Operators of QONNX files that are layers: convolutions, dense layers, pools, flattening."""

import numpy as np
import pytest
from onnx_builder import (
    QUANT_DOMAIN,
    Builder,
    after_step,
    assert_refused,
    before_step,
    executed,
    first_conv,
)

from bamac.ir import reference

# --- Convolutions, padding and dense layers


def test_transposed_weights_a_pad_node_and_odd_names(tmp_path):
    b = Builder()
    b.quant()
    b.node("Pad", b.constant([0, 0, 2, 0, 0, 0, 1, 2], np.int64), b.constant(0.0))
    b.conv(2, 1, pads=[0, 0, 0, 0], strides=[2, 2], name="same")
    b.step()
    b.node("Identity")
    b.node("ReduceMax", axes=[-1, -2], keepdims=1)
    b.node("Flatten", axis=1)
    moved = b.node("Transpose", source=b.weights((3, 2)), perm=[1, 0])
    b.node("MatMul", moved, name="same")
    b.node("Add", b.constant([1.0, 1.0, 1.0]))
    network = b.load(tmp_path)
    assert [layer.name for layer in network.layers] == ["conv1", "dense1"]
    assert network.convs[0].padding == (2, 1, 0, 2)
    assert network.convs[0].strides == (2, 2)
    frames = np.random.default_rng(3).integers(-128, 128, (7, 6))
    np.testing.assert_array_equal(reference.run(network, frames).scores,
                                  executed(b.model(), frames)[b.tensor][0])


@pytest.mark.parametrize("auto, padding", [("SAME_UPPER", (0, 1, 0, 1)),
                                           ("SAME_LOWER", (1, 0, 1, 0)), ("VALID", (0, 0, 0, 0))])
def test_automatic_padding(auto, padding, tmp_path):
    b = Builder(8, 6)
    b.quant()
    b.node("Conv", b.weights((2, 1, 3, 3)), auto_pad=auto, strides=[2, 2])
    b.step()
    network = b.head(2).load(tmp_path)
    assert network.convs[0].padding == padding
    frames = np.random.default_rng(3).integers(-128, 128, (8, 6))
    np.testing.assert_array_equal(reference.run(network, frames).scores,
                                  executed(b.model(), frames)[b.tensor][0])


def _unquantised():
    b = Builder()
    b.conv(2, 1)
    b.step()
    return b.head(2)


def _wrong_channels():
    b = Builder()
    b.quant()
    b.conv(2, 2, name="c")
    b.step()
    return b.head(2)


def _real_weights(value=0.3):
    b = Builder()
    b.quant()
    b.node("Conv", b.constant(np.full((2, 1, 3, 3), value)), name="c")
    b.step()
    return b.head(2)


def _weights_of(shape, scale=1.0):
    b = Builder()
    b.quant()
    b.node("Conv", b.weights(shape, scale), name="c")
    b.step()
    return b.head(2)


def _bipolar():
    b = Builder()
    b.quant()
    b.conv(2, 1)
    b.node("BipolarQuant", b.constant(1.0), domain=QUANT_DOMAIN, name="bp")
    b.conv(2, 2, name="c")
    b.step()
    return b.head(2)


def _wrong_inputs():
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("MatMul", b.weights((3, 1)), name="d")
    return b


def _gemm_alpha():
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((2, 1)), alpha=0.5, name="d")
    return b


LAYER_REFUSALS = {
    "no quantiser at the input": (_unquantised,
        "Conv node Conv_1: the input must be quantised first: integers of a Quant node at the "
        "graph's start, bits after another convolution"),
    "group": (first_conv(group=2, name="c"), "Conv node c: group must be 1, not 2"),
    "dilation": (first_conv(dilations=[2, 1], name="c"),
        "Conv node c: dilation must be 1, not [2, 1]"),
    "stride 3": (first_conv(strides=[3, 3], name="c"),
        "Conv node c: stride must be 1 or 2, the same in both directions, not [3, 3]"),
    "two strides": (first_conv(strides=[1, 2], name="c"),
        "Conv node c: stride must be 1 or 2, the same in both directions, not [1, 2]"),
    "kernel 9": (first_conv(kernel=(9, 3), name="c"),
        "Conv node c: kernel must be at most 7 x 7, not 9 x 3"),
    "padding": (first_conv(pads=[3, 1, 1, 1], name="c"),
        "Conv node c: padding must be smaller than the kernel 3 x 3, not (3, 1, 1, 1) "
        "(top, bottom, left, right)"),
    "kernel larger than the map": (first_conv(kernel=(7, 7), pads=[0] * 4, name="c"),
        "Conv node c: kernel 7 x 7 must fit the map of 7 x 6"),
    "input channels": (_wrong_channels,
        "Conv node c: weight must be for 1 input channels, not 2"),
    "real weights": (_real_weights,
        "Conv node c: weight must come from a Quant node or be integers"),
    "weight -128": (lambda: _real_weights(-128.0),
        "Conv node c: weight must be in -127..127, not -128..-128: use the narrow range"),
    "weight of two axes": (lambda: _weights_of((2, 9)),
        "Conv node c: weight must have 4 dimensions, not 2"),
    "scales within a channel": (lambda: _weights_of((2, 1, 3, 3), np.arange(1, 4.0)),
        "Conv node c: scale of the weights must be one number, or one per output channel"),
    "empty weight": (lambda: _weights_of((2, 0, 3, 3)),
        "Conv node c: weight must not be empty, not of shape (2, 0, 3, 3)"),
    "bias of another size": (first_conv(bias=[1.0, 2.0, 3.0], name="c"),
        "Conv node c: bias must be one per output channel (2), not 3"),
    "kernel_shape": (first_conv(kernel_shape=[3, 1], name="c"),
        "Conv node c: kernel_shape must be the weights' 3 x 3"),
    "unknown padding": (first_conv(auto_pad="SAME", name="c"),
        "Conv node c: auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not 'SAME'"),
    "pads of one axis": (first_conv(pads=[1, 1], name="c"),
        "Conv node c: pads must be four sizes, not [1, 1]"),
    "convolution behind the pool": (
        after_step(lambda b: (b.node("GlobalMaxPool"), b.conv(2, 2, kernel=(1, 1), name="c"))),
        "Conv node c: convolutions must come before the global pool"),
    "reflected padding": (
        after_step(lambda b: b.node("Pad", b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
                                    mode="reflect", name="pad")),
        "Pad node pad: mode must be 'constant', not 'reflect'"),
    "padding of a vector": (
        after_step(lambda b: (b.node("GlobalMaxPool"), b.node("Flatten", axis=1),
                              b.node("Pad", b.constant([0] * 8, np.int64), name="pad"))),
        "Pad node pad: padding must be of a map"),
    "dense on sums": (
        after_step(lambda b: (b.head(2), b.node("MatMul", b.weights((1, 1)), name="d")),
                   finish=False),
        "MatMul node d: a dense layer's inputs must be integers: quantise the layer before it"),
    "dense on a map": (after_step(lambda b: b.node("MatMul", b.weights((6, 1)), name="d")),
        "MatMul node d: a dense layer must follow a global pool (max, sum or average) and a "
        "Flatten: maps of a fixed size cannot be streamed"),
    "bipolar activations": (_bipolar,
        "Conv node c: activations must be 0 and 1 (or an input with zero point 0) where zeros are "
        "padded, not offset by -1"),
    "padding with ones": (
        after_step(lambda b: b.node("Pad", b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
                                    b.constant(1.0), name="pad")),
        "Pad node pad: padding must be of rows and columns, with zeros"),
    "dense inputs": (_wrong_inputs,
        "MatMul node d: weight must be for 2 inputs, not 3"),
    "Gemm with alpha": (_gemm_alpha,
        "Gemm node d: transA must be 0, alpha and beta 1"),
}


@pytest.mark.parametrize("what", LAYER_REFUSALS)
def test_refusal_of_a_layer(what, tmp_path):
    assert_refused(*LAYER_REFUSALS[what], tmp_path)


# --- Max pools and global pools


def test_two_pools_become_one(tmp_path):
    b = Builder(15, 14)
    b.quant()
    b.conv(2, 1)
    b.pool(2, 3)
    b.step()
    b.pool(3, 2)
    network = b.head(2).load(tmp_path)
    assert network.convs[0].pool == (6, 6)
    frames = np.random.default_rng(3).integers(-128, 128, (15, 14))
    np.testing.assert_array_equal(reference.run(network, frames).scores,
                                  executed(b.model(), frames)[b.tensor][0])


def _pooled_input():
    b = Builder()
    b.quant()
    b.pool(name="p")
    b.conv(2, 1)
    b.step()
    return b.head(2)


def _pool_with_indices(b):
    b.pool(name="p")
    b.nodes[-1].output.append("indices")


POOL_REFUSALS = {
    "overlapping pool": (after_step(lambda b: b.pool(3, 3, strides=[2, 2], name="p")),
        "MaxPool node p: stride must equal the pool's size [3, 3], not [2, 2]: windows must not "
        "overlap or leave gaps"),
    "pool of one axis": (after_step(lambda b: b.pool(kernel_shape=[2], strides=[2], name="p")),
        "MaxPool node p: kernel_shape must be two sizes, not [2]"),
    "indices of a pool": (after_step(_pool_with_indices),
        "MaxPool node p: indices cannot be given out"),
    "pool of negative bits": (
        after_step(lambda b: (b.node("Mul", b.constant(-2.0)), b.pool(name="p"))),
        "MaxPool node p: activations must have a positive scale before a max pool, not -2"),
    "padded pool": (after_step(lambda b: b.pool(pads=[1, 0, 0, 0], name="p")),
        "MaxPool node p: padding and dilation of a pool are not supported"),
    "pool in ceil mode": (after_step(lambda b: b.pool(ceil_mode=1, name="p")),
        "MaxPool node p: ceil_mode must be 0 where the pool does not divide the map"),
    "pool larger than the map": (after_step(lambda b: b.pool(8, 1, name="p")),
        "MaxPool node p: pool 8 x 1 must fit the map of 7 x 6"),
    "pool of the input": (_pooled_input,
        "MaxPool node p: a pool must follow a convolution"),
    "sum before the step": (
        before_step(lambda b: b.node("ReduceSum", b.constant([2, 3], np.int64), name="s")),
        "ReduceSum node s: a global sum or average must follow the Quant of the map"),
    "sum of channels": (
        after_step(lambda b: b.node("ReduceSum", b.constant([1], np.int64), name="s")),
        "ReduceSum node s: axes must be rows and columns, [2, 3], not [1]"),
    "two global pools": (after_step(lambda b: b.node("GlobalMaxPool")),
        "GlobalMaxPool node GlobalMaxPool_5: the map is pooled globally already"),
    "average pool of a part": (
        after_step(lambda b: b.node("AveragePool", kernel_shape=[2, 2], name="a")),
        "AveragePool node a: average pool must be over the whole map"),
}


@pytest.mark.parametrize("what", POOL_REFUSALS)
def test_refusal_of_a_pool(what, tmp_path):
    assert_refused(*POOL_REFUSALS[what], tmp_path)


# --- Flattening a pooled map


@pytest.mark.parametrize("op, parameter, attributes", [
    ("Flatten", None, {}), ("Flatten", None, {"axis": -3}),
    ("Reshape", [1, 2], {}), ("Reshape", [0, -1], {}), ("Reshape", [-1, 2], {}),
    ("Squeeze", [2, 3], {}), ("Squeeze", [-1, -2], {})])
def test_a_pooled_map_becomes_a_vector(op, parameter, attributes, tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    constants = [] if parameter is None else [b.constant(parameter, np.int64)]
    b.node(op, *constants, **attributes)
    b.node("Dropout")
    b.node("Identity")
    b.node("MatMul", b.weights((2, 1)))
    assert b.load(tmp_path).denses[0].in_channels == 2


def pooled_then(op, *parameters, **attributes):
    def change(b):
        b.node("GlobalMaxPool")
        b.node(op, *(b.constant(value, np.int64) for value in parameters), name="s", **attributes)
    return after_step(change, finish=False)


def flatten_map(b):
    b.node("Flatten", axis=1, name="flat")


SHAPE_REFUSALS = {
    "no global pool": (after_step(flatten_map, finish=False),
        "Flatten node flat: a map must be pooled globally (max, sum or average) before it is "
        "flattened"),
    "another axis": (pooled_then("Flatten", axis=2),
        "Flatten node s: shape must become 1 x 2, not None"),
    "another shape": (pooled_then("Reshape", [2, 0]),
        "Reshape node s: shape must become 1 x 2, not [2, 2]"),
    "one axis": (pooled_then("Squeeze", [3]),
        "Squeeze node s: shape must become 1 x 2, not None"),
}


@pytest.mark.parametrize("what", SHAPE_REFUSALS)
def test_refusal_of_a_shape(what, tmp_path):
    assert_refused(*SHAPE_REFUSALS[what], tmp_path)
