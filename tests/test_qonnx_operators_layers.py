"""Convolutions, padding and dense layers read from files of other tools."""

import numpy as np
import pytest
from onnx_builder import QUANT_DOMAIN, Builder, after_step, assert_refused, executed, first_conv

from bamac.ir import reference


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


REFUSALS = {
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


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
