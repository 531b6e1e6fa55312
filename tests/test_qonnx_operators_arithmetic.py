"""Scales, biases and batch norms between a layer and its quantiser."""

import numpy as np
import pytest
from onnx_builder import Builder, after_step, assert_refused, before_step, executed

from bamac.ir import reference


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


REFUSALS = {
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


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    assert_refused(*REFUSALS[what], tmp_path)
