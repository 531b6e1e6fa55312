"""Arithmetic of QONNX files: scales, biases, batch norms and quantisers."""

import numpy as np
import pytest
from onnx import numpy_helper
from onnx_builder import (
    QUANT_DOMAIN,
    Builder,
    after_step,
    assert_refused,
    before_step,
    executed,
    hidden_of,
    input_of,
    step_of,
)

from bamac.ir import reference

# --- Scales, biases and batch norms between a layer and its quantiser


@pytest.mark.parametrize("seed", range(20))
def test_real_scales_biases_and_batch_norms_equal_qonnx(seed, tmp_path):
    """Bits of a float graph, by its own executor, against the integer network made of it."""
    rng = np.random.default_rng(seed)
    b = Builder(11, 9, seed)
    pool_first = seed % 2 == 0
    b.quant(0.0173)
    b.conv(5, 1, scale=rng.uniform(1e-3, 2e-2, (5, 1, 1, 1)), bias=rng.normal(0, 0.5, 5))
    if pool_first:
        b.pool()
        b.batch_norm(rng.uniform(0.2, 2, 5), rng.normal(0, 1, 5), rng.normal(0, 1, 5),
                     rng.uniform(0.1, 3, 5))
        b.step(0.37)
    else:
        # A negative gain is folded into the weights
        b.batch_norm(rng.normal(0, 1, 5), rng.normal(0, 1, 5), rng.normal(0, 1, 5),
                     rng.uniform(0.1, 3, 5))
        b.step(0.37)
        b.pool()
    first = b.tensor
    b.conv(4, 5, kernel=(5, 3), scale=rng.uniform(-2e-2, 2e-2, (4, 1, 1, 1)))
    b.node("Mul", b.constant(rng.normal(0, 1, (1, 4, 1, 1))))
    b.node("Add", b.constant(rng.normal(0, 0.3, (4, 1, 1))))
    b.node("Sub", b.constant(0.01))
    b.node("Div", b.constant(1.7))
    b.step(mode=("CEIL", "ROUND", "FLOOR", "HALF_UP", "HALF_DOWN", "UP", "DOWN")[seed % 7])
    second = b.tensor
    b.node("GlobalAveragePool")
    b.node("Flatten", axis=1)
    b.node("MatMul", b.weights((4, 3), 0.004))
    network = b.load(tmp_path)
    frames = rng.integers(-128, 128, (11, 9))
    values = executed(b.model(), frames, np.float32(0.0173))
    trace = reference.run(network, frames)
    layers = list(trace.layers.values())
    ours = layers[0].pooled
    np.testing.assert_array_equal(ours, np.rint(values[first][0] / np.float32(0.37)), f"{seed}")
    np.testing.assert_array_equal(layers[1].bits, values[second][0], f"seed {seed}")
    np.testing.assert_allclose(trace.scores, values[b.tensor][0], rtol=1e-4, atol=1e-6)
    assert network.convs[-1].global_pool == "sum"


def test_batch_norm_by_hand(tmp_path):
    b = Builder()
    b.quant()
    b.conv(2, 1)
    # Standard deviation sqrt(0.75 + 0.25) = 1: (acc - 3) * 2 - 10 > 0, acc > 8
    b.batch_norm([2, 2], [-10, -9], [3, 3], [0.75, 0.75], epsilon=0.25)
    b.step()
    assert b.head(2).load(tmp_path).convs[0].thresholds.tolist() == [9, 8]


def _scaled_input():
    b = Builder()
    b.node("Mul", b.constant(0.1), name="mean")
    b.quant()
    b.conv(2, 1)
    b.step()
    return b.head(2)


def _reciprocal(b):
    sums = b.tensor
    b.node("Div", sums, source=b.constant(1.0), name="div")
    b.tensor = b.nodes[-1].output[0]


def _input_then_relu(quantised=False):
    b = Builder()
    if quantised:
        b.quant()
    b.node("Relu", name="r")
    b.conv(2, 1)
    b.step()
    return b.head(2)


ARITHMETIC_REFUSALS = {
    "scaling before the quantiser": (_scaled_input,
        "Mul node mean: the input must be quantised first; scaling of features belongs to the "
        "front end"),
    "negative gain after a pool": (
        before_step(lambda b: (b.pool(), b.batch_norm([1, -1], [0, 0], [0, 0], [1, 1],
                                                      epsilon=0.0, name="bn"))),
        "BatchNormalization node bn: gain after a max pool must be positive, not -1 in channel 1: "
        "pool after the step, or clamp the gain"),
    "negative variance": (
        before_step(lambda b: b.batch_norm([1, 1], [0, 0], [0, 0], [1, -1], name="bn")),
        "BatchNormalization node bn: variance + epsilon must be positive"),
    "batch norm size": (
        before_step(lambda b: b.batch_norm([1] * 3, [0, 0], [0, 0], [1, 1], name="bn")),
        "BatchNormalization node bn: scale must be one per channel (2), not 3"),
    "batch norm after the step": (
        after_step(lambda b: b.batch_norm([1, 1], [0, 0], [0, 0], [1, 1], name="bn")),
        "BatchNormalization node bn: batch norm must stand between a layer and its quantiser"),
    "addition of a map": (
        before_step(lambda b: b.node("Add", b.constant(np.ones((1, 2, 7, 6))), name="add")),
        "Add node add: operand must be one number, or one per channel (2), not of shape "
        "(1, 2, 7, 6)"),
    "division by the activations": (before_step(_reciprocal),
        "Div node div: the activations must be the dividend"),
    "ReLU before the quantiser": (_input_then_relu,
        "Relu node r: the input must be quantised first"),
    "ReLU on the input": (lambda: _input_then_relu(quantised=True),
        "Relu node r: must not follow the signed input"),
    "ReLU on bits with an offset": (
        after_step(lambda b: (b.node("Sub", b.constant(0.5)), b.node("Relu", name="r"))),
        "Relu node r: must stand before the quantiser"),
    "division by 0": (before_step(lambda b: b.node("Div", b.constant(0.0), name="div")),
        "Div node div: divisor must not be 0"),
    "gain per channel after the step": (
        after_step(lambda b: b.node("Mul", b.constant([[[1.0]], [[2.0]]]), name="mul")),
        "Mul node mul: activations that are quantised already can only be changed by one number "
        "for all channels"),
    "offset after ReLU": (
        before_step(lambda b: (b.node("Relu"), b.node("Sub", b.constant(1.0), name="sub"))),
        "Sub node sub: only a positive factor may stand between ReLU and the quantiser"),
}


@pytest.mark.parametrize("what", ARITHMETIC_REFUSALS)
def test_refusal_of_arithmetic(what, tmp_path):
    assert_refused(*ARITHMETIC_REFUSALS[what], tmp_path)


# --- Quantisers of activations: thresholds, shifts and roundings


def test_brevitas_form_of_a_bit_is_taken(tmp_path):
    """A bipolar quantiser of scale 0.5 and an addition of 0.5."""
    b = Builder()
    b.quant()
    b.conv(3, 1, bias=[0.5, -3.0, 0.0])
    b.node("BipolarQuant", b.constant(0.5), domain=QUANT_DOMAIN)
    b.node("Add", b.constant(0.5))
    bits = b.tensor
    b.head(3)
    network = b.load(tmp_path)
    frames = np.random.default_rng(1).integers(-128, 128, (7, 6))
    frames[2:5, 2:5] = 0  # accumulators of 0 with a bias of 0: the step is inclusive
    values = executed(b.model(), frames)
    trace = reference.run(network, frames)
    np.testing.assert_array_equal(trace.layers[network.convs[0].name].bits, values[bits][0])
    np.testing.assert_array_equal(trace.scores, values[b.tensor][0])
    assert network.convs[0].thresholds.tolist() == [0, 3, 0]


@pytest.mark.parametrize("mode, thresholds", [
    # acc * 1 + bias against a scale of 4: x > 0, x > 2, x >= 2, x >= 4
    ("CEIL", [1, 0, -4]), ("UP", [1, 0, -4]), ("ROUND", [3, 2, -2]), ("HALF_EVEN", [3, 2, -2]),
    ("HALF_DOWN", [3, 2, -2]), ("HALF_UP", [2, 2, -3]), ("FLOOR", [4, 4, -1]),
    ("DOWN", [4, 4, -1])])
def test_thresholds_by_hand(mode, thresholds, tmp_path):
    b = Builder()
    b.quant()
    b.conv(3, 1, bias=[0.0, 0.25, 5.0])
    b.step(4.0, mode)
    network = b.head(3).load(tmp_path)
    assert network.convs[0].thresholds.tolist() == thresholds


def test_negative_and_zero_gains_by_hand(tmp_path):
    b = Builder()
    b.quant()
    b.conv(3, 1)
    b.batch_norm([-1, 0, 0], [10, 0.5, -0.5], [0, 7, 7], [1, 1, 1], epsilon=0.0)
    b.step()
    raw = numpy_helper.to_array(b.initializers[3])
    conv = b.head(3).load(tmp_path).convs[0]
    # -acc + 10 > 0 is acc' > -10 with acc' = -acc
    np.testing.assert_array_equal(conv.weights[0], -raw[0].astype(int))
    # A gain of 0 leaves a constant: 0.5 is on, -0.5 off
    assert not conv.weights[1:].any()
    assert conv.thresholds.tolist() == [-9, 0, 1]


@pytest.mark.parametrize("mode, bias", [("FLOOR", [5, 5, -6]), ("DOWN", [5, 5, -6]),
                                        ("HALF_UP", [7, 7, -4]), ("CEIL", [8, 9, -3]),
                                        ("UP", [8, 9, -3]), ("HALF_DOWN", [6, 7, -5])])
def test_hidden_dense_by_hand_and_against_qonnx(mode, bias, tmp_path):
    b = Builder().start(5)
    b.node("ReduceSum", b.constant([2, 3], np.int64), keepdims=0)
    b.node("Gemm", b.weights((3, 5), 0.5), b.constant([2.5, 2.75, -3.0]), transB=1)
    b.node("Relu")
    b.quant(2.0, 5, 0, 0, mode)
    hidden = b.tensor
    b.node("MatMul", b.weights((3, 1), 0.25))
    network = b.load(tmp_path)
    dense = network.denses[0]
    assert (dense.emit, dense.bits, dense.shift) == ("unsigned", 5, 2)
    assert dense.bias.tolist() == bias
    for seed in range(8):
        frames = np.random.default_rng(seed).integers(-128, 128, (7, 6))
        values = executed(b.model(), frames)
        trace = reference.run(network, frames)
        np.testing.assert_array_equal(trace.layers[dense.name].outputs, values[hidden][0] / 2)
        np.testing.assert_array_equal(trace.scores, values[b.tensor][0])


def test_half_even_is_taken_where_nothing_is_rounded(tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Reshape", b.constant([0, -1], np.int64))
    b.node("Gemm", b.weights((3, 2), 0.5), b.constant([0.5, 1.0, 1.5]), transB=1)
    b.quant(0.5, 8, 0, 0)
    b.node("MatMul", b.weights((3, 1)))
    dense = b.load(tmp_path).denses[0]
    assert (dense.shift, dense.bias.tolist()) == (0, [1, 2, 3])


def _bipolar_after_relu():
    b = Builder()
    b.quant()
    b.conv(2, 1)
    b.node("Relu")
    b.node("BipolarQuant", b.constant(1.0), domain=QUANT_DOMAIN, name="bp")
    b.conv(2, 2)
    b.step()
    return b.head(2)


def _bipolar_input():
    b = Builder()
    b.node("BipolarQuant", b.constant(1.0), domain=QUANT_DOMAIN, name="bp")
    b.conv(2, 1)
    b.step()
    return b.head(2)


QUANTISER_REFUSALS = {
    "input zero point": (input_of(zero=3.0),
        "Quant node inp: zero point must be 0, not 3: quantise symmetrically"),
    "narrow input": (input_of(narrow=1),
        "Quant node inp: narrow range must be off for the input, whose lowest value hardware "
        "takes"),
    "wide input": (input_of(bits=9), "Input bits must be in 2..8, not 9"),
    "scale 0": (input_of(scale=0.0), "Quant node inp: scale must not be 0"),
    "negative scale": (input_of(scale=-0.5),
        "Quant node inp: scale of activations must be positive, not -0.5"),
    "bit width 2.5": (input_of(bits=2.5),
        "Quant node inp: bit width must be one integer in 1..32, not 2.5"),
    "4-bit activations": (step_of(bits=4),
        "Quant node step: activations of a convolution must be 1 bit, or 8, not 4"),
    "signed activations": (step_of(bits=1, signed=1),
        "Quant node step: activations must be unsigned: 1 or 8 bits after a convolution, 1 to 16 "
        "bits after a dense layer"),
    "narrow activations": (step_of(narrow=1),
        "Quant node step: narrow range must be off for unsigned activations"),
    "unknown rounding": (step_of(mode="STOCHASTIC"),
        "Quant node step: rounding mode must be one that qonnx defines, not 'STOCHASTIC'"),
    "scale per channel": (step_of(scale=np.array([1, 2]).reshape(1, 2, 1, 1)),
        "Quant node step: scale of activations must be one number, not one per channel"),
    "quantised twice": (after_step(lambda b: b.quant(bits=1, signed=0, name="again")),
        "Quant node again: activations are quantised twice"),
    "ReLU before a bipolar quantiser": (_bipolar_after_relu,
        "BipolarQuant node bp: after ReLU a bipolar quantiser is constant: remove the ReLU"),
    "unsigned narrow input": (input_of(signed=0, narrow=1),
        "Quant node inp: narrow range must be off for unsigned activations"),
    "bipolar input": (_bipolar_input,
        "BipolarQuant node bp: a bipolar quantiser must follow a convolution or a dense layer"),
    "bipolar scale": (
        before_step(lambda b: b.node("BipolarQuant", b.constant(-1.0), domain=QUANT_DOMAIN,
                                     name="bp")),
        "BipolarQuant node bp: scale of activations must be one positive number"),
    "threshold beyond 62 bits": (
        before_step(lambda b: b.node("Add", b.constant(-2.0 ** 62))),
        "Quant node Quant_4: threshold or bias must fit 62 bits, not 4611686018427387905"),
    "hidden scale": (hidden_of(scale=1.5),
        "Quant node hidden: scale must be the accumulator's scale times a power of two (1 to "
        "2^31), not times 3: restrict the scales of this layer's weights and activations to "
        "powers of two"),
    "hidden scale below the accumulator's": (hidden_of(scale=0.25),
        "Quant node hidden: scale must be the accumulator's scale times a power of two (1 to "
        "2^31), not times 0.5: restrict the scales of this layer's weights and activations to "
        "powers of two"),
    "hidden scales": (hidden_of(weight_scale=[[0.5], [1.0], [0.5]]),
        "Quant node hidden: scale of the weights must be the same for all outputs of a layer "
        "that does not emit bits"),
    "hidden rounding": (hidden_of(mode="ROUND"),
        "Quant node hidden: rounding mode must be FLOOR or HALF_UP, which a shift computes, not "
        "'ROUND'"),
    "hidden width": (hidden_of(bits=17),
        "Quant node hidden: activations of a dense layer must be 1 to 16 bits, not 17"),
}


@pytest.mark.parametrize("what", QUANTISER_REFUSALS)
def test_refusal_of_a_quantiser(what, tmp_path):
    assert_refused(*QUANTISER_REFUSALS[what], tmp_path)
