from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bamac.ir import random_networks, reference
from bamac.ir.network import FrontEnd, GraphError, IntegerNetwork
from bamac.qonnx import affine
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import oracle as qonnx_oracle

QUANT_DOMAIN = "qonnx.custom_op.general"
SUPPORTED = [
    "Add", "AveragePool", "BatchNormalization", "BipolarQuant", "Conv", "Div", "Dropout",
    "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "IntQuant", "MatMul",
    "MaxPool", "Mul", "Pad", "Quant", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape",
    "Squeeze", "Sub"]


class Builder:
    """A chain of ONNX nodes, as other tools write them."""

    def __init__(self, rows=7, cols=6, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers = [], []
        self.tensor, self.input_shape, self.inputs = "x", (1, 1, rows, cols), ["x"]

    def constant(self, value, dtype=np.float32):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op, *inputs, name=None, source=None, domain="", **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [source or self.tensor, *inputs], [output],
                                           name=name or f"{op}_{len(self.nodes)}", domain=domain,
                                           **attributes))
        if source is None:
            self.tensor = output
        return output

    def quant(self, scale=1.0, bits=8, signed=1, narrow=0, mode="ROUND", zero=0.0, source=None,
              name=None):
        return self.node("Quant", self.constant(scale), self.constant(zero), self.constant(bits),
                         domain=QUANT_DOMAIN, signed=signed, narrow=narrow, rounding_mode=mode,
                         source=source, name=name)

    def weights(self, shape, scale=1.0, bits=8):
        ints = self.rng.integers(-127, 128, shape)
        raw = self.constant(ints * np.asarray(scale, np.float32))
        return self.quant(scale, bits, 1, 1, source=raw)

    def conv(self, channels, inputs, kernel=(3, 3), scale=1.0, bias=None, **attributes):
        pads = [kernel[0] // 2, kernel[1] // 2] * 2
        attributes = {"kernel_shape": kernel, "pads": pads} | attributes
        extra = [self.weights((channels, inputs, *kernel), scale)]
        if bias is not None:
            extra.append(self.constant(bias))
        return self.node("Conv", *extra, **attributes)

    def step(self, scale=1.0, mode="CEIL"):
        return self.quant(scale, 1, 0, 0, mode)

    def batch_norm(self, gamma, beta, mean, variance, **attributes):
        return self.node("BatchNormalization", *(self.constant(v) for v in
                                                 (gamma, beta, mean, variance)), **attributes)

    def pool(self, rows=2, cols=2, **attributes):
        attributes = {"kernel_shape": [rows, cols], "strides": [rows, cols]} | attributes
        return self.node("MaxPool", **attributes)

    def head(self, channels, outputs=1, scale=1.0):
        """Global max, flatten and one dense layer."""
        self.node("GlobalMaxPool")
        self.node("Flatten", axis=1)
        self.node("Gemm", self.weights((outputs, channels), scale),
                  self.constant(np.zeros(outputs)), transB=1)
        return self

    def start(self, channels=2):
        """A quantised input and one convolution with its step."""
        self.quant()
        self.conv(channels, 1)
        self.step()
        return self

    def model(self, outputs=None):
        graph = helper.make_graph(
            self.nodes, "foreign",
            [helper.make_tensor_value_info(i, TensorProto.FLOAT, self.input_shape)
             for i in self.inputs],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["n", "m"])
             for o in outputs or [self.tensor]], initializer=self.initializers)
        return helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", 13), helper.make_opsetid(QUANT_DOMAIN, 1),
            helper.make_opsetid("my.ops", 1)])

    def load(self, tmp_path, **options):
        path = tmp_path / "foreign.onnx"
        onnx.save(self.model(**options), path)
        return qonnx_import.load(path)


def executed(model, frames, scale=1.0):
    """Every tensor of the model, by qonnx's own executor."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    wrapped = ModelWrapper(model).transform(InferShapes())
    values = frames[None, None].astype(np.float32) * np.float32(scale)
    return execute_onnx(wrapped, {"x": values}, return_full_exec_context=True)


# --- what we wrote ourselves


@pytest.mark.parametrize("seed", range(40))
def test_round_trip_of_random_networks(seed, tmp_path):
    network = random_networks.random_case(seed).network
    qonnx_export.export(network, tmp_path / "net.onnx")
    loaded = qonnx_import.load(tmp_path / "net.onnx")
    assert loaded.digest() == network.digest()
    assert loaded.name == network.name


def test_round_trip_of_corners_and_the_papers_shape(tmp_path):
    for case in [*random_networks.corner_cases(), random_networks.paper_network()]:
        qonnx_export.export(case.network, tmp_path / "net.onnx")
        assert qonnx_import.load(tmp_path / "net.onnx").digest() == case.network.digest(), case.name


@pytest.mark.parametrize("scale, offset", [
    (1.0, 3.0), (1.0, 0.1), (0.1, 0.0), (-0.3, 7.25), (2.0, -1e-9), (1 / 3, 1e6)])
def test_round_trip_keeps_score_and_front_end(scale, offset, tmp_path):
    base = random_networks.random_case(2).network
    network = IntegerNetwork("any name", base.input, base.layers, scale, offset,
                             FrontEnd("pesq-mel", -3.3, 8.1))
    qonnx_export.export(network, tmp_path / "net.onnx")
    loaded = qonnx_import.load(tmp_path / "net.onnx")
    assert loaded.digest() == network.digest()
    assert (loaded.score_scale, loaded.score_offset) == (scale, offset)
    assert loaded.front_end == network.front_end


# --- what others write


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


def test_batch_norm_by_hand(tmp_path):
    b = Builder()
    b.quant()
    b.conv(2, 1)
    # Standard deviation sqrt(0.75 + 0.25) = 1: (acc - 3) * 2 - 10 > 0, acc > 8
    b.batch_norm([2, 2], [-10, -9], [3, 3], [0.75, 0.75], epsilon=0.25)
    b.step()
    assert b.head(2).load(tmp_path).convs[0].thresholds.tolist() == [9, 8]


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


def test_two_outputs_with_quantised_bias(tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Squeeze", b.constant([2, 3], np.int64))
    weights = b.weights((2, 2), 0.1)
    bias = b.quant(0.1, 32, source=b.constant([0.7, -1.2]))
    b.node("Gemm", weights, bias, transB=1)
    network = b.load(tmp_path)
    assert network.denses[-1].bias.tolist() == [7, -12]
    assert network.score_scale == np.float32(0.1)
    assert abs(network.score_offset) < 1e-6


def test_score_of_a_real_bias_is_kept(tmp_path):
    b = Builder().start(2)
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((1, 2), 0.25), b.constant([3.3]), transB=1)
    network = b.load(tmp_path)
    total = network.denses[-1].bias[0] * network.score_scale + network.score_offset
    assert network.denses[-1].bias.tolist() == [13]
    assert total == float(np.float32(3.3))


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
    assert network.convs[0].stride == 2
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


@pytest.mark.parametrize("value", [Fraction(9, 4), Fraction(2), Fraction(1, 3), Fraction(0)])
def test_square_root(value):
    root = affine.square_root(value)
    assert abs(root * root - value) <= Fraction(1, 1 << 250)
    assert root == Fraction(3, 2) if value == Fraction(9, 4) else True


# --- what is refused


def before_step(change):
    """A builder of a network with ``change(b)`` between its convolution and the step."""
    def build():
        b = Builder()
        b.quant()
        b.conv(2, 1)
        change(b)
        b.step()
        return b.head(2)
    return build


def after_step(change, finish=True):
    def build():
        b = Builder().start(2)
        change(b)
        return b.head(2) if finish else b
    return build


def first_conv(**attributes):
    def build():
        b = Builder()
        b.quant()
        b.conv(2, 1, **attributes)
        b.step()
        return b.head(2)
    return build


def step_of(**options):
    def build():
        b = Builder()
        b.quant()
        b.conv(2, 1)
        b.quant(**({"bits": 1, "signed": 0, "mode": "CEIL", "name": "step"} | options))
        return b.head(2)
    return build


def input_of(**options):
    def build():
        b = Builder()
        b.quant(**({"name": "inp"} | options))
        b.conv(2, 1)
        b.step()
        return b.head(2)
    return build


def hidden_of(scale=2.0, bits=4, mode="FLOOR", weight_scale=0.5, bias=0.0, **options):
    def build():
        b = Builder().start(2)
        b.node("GlobalMaxPool")
        b.node("Flatten", axis=1)
        b.node("Gemm", b.weights((3, 2), weight_scale), b.constant([bias] * 3), transB=1)
        b.quant(scale, bits, 0, mode=mode, name="hidden", **options)
        b.node("MatMul", b.weights((3, 1)))
        return b
    return build


def two_biases(b):
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((2, 2), 0.1), b.constant([0.0, 0.04]), transB=1, name="score")


def two_scales(b):
    b.node("GlobalMaxPool")
    b.node("Flatten", axis=1)
    b.node("Gemm", b.weights((2, 2), [[0.1], [0.2]]), transB=1, name="score")


def flatten_map(b):
    b.node("Flatten", axis=1, name="flat")


def residual(b):
    b.node("Add", "t2", name="sum")


def branch(b):
    left = b.tensor
    b.node("Relu", name="left")
    b.nodes.append(helper.make_node("Relu", [left], ["right_out"], name="right"))


def final(op, **options):
    def change(b):
        b.head(2)
        b.node(op, name="end", **options)
    return change


REFUSALS = {
    "unsupported operation": (before_step(lambda b: b.node("Sigmoid", name="gate")),
        "Sigmoid node gate: operation is not supported; use "
        + ", ".join(SUPPORTED)),
    "residual": (before_step(residual),
        "Tensor 't2' is read by sum twice: graph must be one chain, without branches"),
    "branch": (before_step(branch),
        "Tensor 't2' is read by left and right: graph must be one chain, without branches"),
    "no quantiser at the input": (lambda: _unquantised(),
        "Conv node Conv_1: the input must be quantised first: integers of a Quant node at the "
        "graph's start, bits after another convolution"),
    "scaling before the quantiser": (lambda: _scaled_input(),
        "Mul node mean: the input must be quantised first; scaling of features belongs to the "
        "front end"),
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
    "input channels": (lambda: _wrong_channels(),
        "Conv node c: weight must be for 1 input channels, not 2"),
    "real weights": (lambda: _real_weights(),
        "Conv node c: weight must come from a Quant node or be integers"),
    "weight -128": (lambda: _real_weights(-128.0),
        "Conv node c: weight must be in -127..127, not -128..-128: use the narrow range"),
    "weight zero point": (lambda: _weight_zero_point(),
        "Quant node w: zero point must be 0, not 1: quantise symmetrically"),
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
    "division by 0": (before_step(lambda b: b.node("Div", b.constant(0.0), name="div")),
        "Div node div: divisor must not be 0"),
    "gain per channel after the step": (
        after_step(lambda b: b.node("Mul", b.constant([[[1.0]], [[2.0]]]), name="mul")),
        "Mul node mul: activations that are quantised already can only be changed by one number "
        "for all channels"),
    "bipolar activations": (lambda: _bipolar(),
        "Conv node c: activations must be 0 and 1 (or an input with zero point 0) where zeros are "
        "padded, not offset by -1"),
    "ReLU before a bipolar quantiser": (lambda: _bipolar(relu=True),
        "BipolarQuant node bp: after ReLU a bipolar quantiser is constant: remove the ReLU"),
    "offset after ReLU": (
        before_step(lambda b: (b.node("Relu"), b.node("Sub", b.constant(1.0), name="sub"))),
        "Sub node sub: only a positive factor may stand between ReLU and the quantiser"),
    "overlapping pool": (after_step(lambda b: b.pool(3, 3, strides=[2, 2], name="p")),
        "MaxPool node p: stride must equal the pool's size [3, 3], not [2, 2]: windows must not "
        "overlap or leave gaps"),
    "padded pool": (after_step(lambda b: b.pool(pads=[1, 0, 0, 0], name="p")),
        "MaxPool node p: padding and dilation of a pool are not supported"),
    "pool in ceil mode": (after_step(lambda b: b.pool(ceil_mode=1, name="p")),
        "MaxPool node p: ceil_mode must be 0 where the pool does not divide the map"),
    "pool larger than the map": (after_step(lambda b: b.pool(8, 1, name="p")),
        "MaxPool node p: pool 8 x 1 must fit the map of 7 x 6"),
    "pool of the input": (lambda: _pooled_input(),
        "MaxPool node p: a pool must follow a convolution"),
    "sum before the step": (
        before_step(lambda b: b.node("ReduceSum", b.constant([2, 3], np.int64), name="s")),
        "ReduceSum node s: a global sum or average must follow the Quant of the map"),
    "sum of channels": (
        after_step(lambda b: b.node("ReduceSum", b.constant([1], np.int64), name="s")),
        "ReduceSum node s: axes must be rows and columns, [2, 3], not [1]"),
    "two global pools": (after_step(lambda b: b.node("GlobalMaxPool")),
        "GlobalMaxPool node GlobalMaxPool_5: the map is pooled globally already"),
    "no global pool": (after_step(flatten_map, finish=False),
        "Flatten node flat: a map must be pooled globally (max, sum or average) before it is "
        "flattened"),
    "average pool of a part": (
        after_step(lambda b: b.node("AveragePool", kernel_shape=[2, 2], name="a")),
        "AveragePool node a: average pool must be over the whole map"),
    "padding without a convolution": (
        after_step(lambda b: b.node("Pad", b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))),
        "GlobalMaxPool node GlobalMaxPool_5: a convolution must directly follow the padding"),
    "padding with ones": (
        after_step(lambda b: b.node("Pad", b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
                                    b.constant(1.0), name="pad")),
        "Pad node pad: padding must be of rows and columns, with zeros"),
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
    "biases between steps": (after_step(two_biases, finish=False),
        "score: biases must differ by whole steps of the scale 0.100000001: quantise the bias to "
        "the accumulator's scale"),
    "scales of the scores": (after_step(two_scales, finish=False),
        "score: scale of the scores must be one number other than 0, the same for all outputs"),
    "quantised scores": (
        after_step(lambda b: (b.head(2), b.quant(8.0, 4, 0, mode="FLOOR")), finish=False),
        "Output 't8' must be the unquantised result of a dense layer"),
    "ReLU on the scores": (after_step(final("Relu"), finish=False),
        "Relu node end: scores must be the last dense layer's plain result"),
    "sigmoid on the scores": (after_step(final("Sigmoid"), finish=False),
        "Sigmoid node end: operation is not supported; use "
        + ", ".join(SUPPORTED)),
    "dense inputs": (lambda: _wrong_inputs(),
        "MatMul node d: weight must be for 2 inputs, not 3"),
    "Gemm with alpha": (lambda: _gemm_alpha(),
        "Gemm node d: transA must be 0, alpha and beta 1"),
    "operation of another domain": (
        before_step(lambda b: b.node("Relu", domain="my.ops", name="r")),
        "Relu node r: operation is not supported; use " + ", ".join(SUPPORTED)),
}


def _unquantised():
    b = Builder()
    b.conv(2, 1)
    b.step()
    return b.head(2)


def _scaled_input():
    b = Builder()
    b.node("Mul", b.constant(0.1), name="mean")
    b.quant()
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


def _weight_zero_point():
    b = Builder()
    b.quant()
    weights = b.quant(zero=1.0, source=b.constant(np.ones((2, 1, 3, 3))), name="w")
    b.node("Conv", weights, name="c")
    b.step()
    return b.head(2)


def _bipolar(relu=False):
    b = Builder()
    b.quant()
    b.conv(2, 1)
    if relu:
        b.node("Relu")
    b.node("BipolarQuant", b.constant(1.0), domain=QUANT_DOMAIN, name="bp")
    b.conv(2, 2, name="c")
    b.step()
    return b.head(2)


def _pooled_input():
    b = Builder()
    b.quant()
    b.pool(name="p")
    b.conv(2, 1)
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


@pytest.mark.parametrize("what", REFUSALS)
def test_refusal(what, tmp_path):
    build, message = REFUSALS[what]
    with pytest.raises(GraphError) as error:
        build().load(tmp_path)
    assert str(error.value) == f"{tmp_path / 'foreign.onnx'}: {message}"


def test_two_inputs_are_refused(tmp_path):
    b = Builder().start(2).head(2)
    b.inputs.append("y")
    with pytest.raises(GraphError) as error:
        b.load(tmp_path)
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Graph must have one input, not 2: "
                                "['x', 'y']")


def test_two_outputs_are_refused(tmp_path):
    b = Builder().start(2).head(2)
    with pytest.raises(GraphError) as error:
        b.load(tmp_path, outputs=["t3", b.tensor])
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Graph must have one output, not 2: "
                                f"['t3', '{b.tensor}']")


@pytest.mark.parametrize("shape, shown", [
    ((1, 2, 7, 6), "1 x 2 x 7 x 6"), ((1, 7, 6), "1 x 7 x 6"), ((4, 1, 7, 6), "4 x 1 x 7 x 6"),
    ((1, 1, "time", 6), "1 x 1 x ? x 6")])
def test_input_shapes_are_refused(shape, shown, tmp_path):
    b = Builder().start(2).head(2)
    b.input_shape = shape
    with pytest.raises(GraphError) as error:
        b.load(tmp_path)
    assert str(error.value) == (f"{tmp_path / 'foreign.onnx'}: Input 'x' must be 1 x 1 x rows x "
                                f"cols of fixed size, not {shown}")


def test_free_batch_size_is_one_window(tmp_path):
    b = Builder().start(2).head(2)
    b.input_shape = ("batch", 1, 7, 6)
    assert (b.load(tmp_path).input.rows, b.load(tmp_path).input.cols) == (7, 6)


@pytest.mark.parametrize("content, reason", [
    (b"", "it holds no graph"), (b"hello, I am a text file\n", "Error parsing message"),
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", "Error parsing message")])
def test_foreign_files_are_refused(content, reason, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError) as error:
        qonnx_import.load(path)
    assert str(error.value).startswith(f"{path}: not an ONNX model, or damaged ({reason}")


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        qonnx_import.load(tmp_path / "none.onnx")


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(7).network, path)
    content = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for i in range(400):
        damaged = bytearray(content)
        if i % 3 == 0:
            damaged = damaged[:rng.integers(len(damaged))]
        for _ in range(i % 3):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            qonnx_import.load(path)
        except GraphError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            refused += 1
    assert refused > 250


def test_a_checker_without_words_refuses_too(tmp_path, monkeypatch):
    def refuse(model):
        raise onnx.checker.ValidationError("")

    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(7).network, path)
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(GraphError, match=r"net.onnx: not an ONNX model, or damaged \(Validation"):
        qonnx_import.load(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    qonnx_export.export(random_networks.random_case(2).network, path)
    content = path.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:size])
        with pytest.raises(GraphError):
            qonnx_import.load(path)


def test_oracle_refuses_frames_out_of_range(tmp_path):
    case = random_networks.random_case(2)
    qonnx_export.export(case.network, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match="^Frames must be in "):
        qonnx_oracle.run(case.network, tmp_path / "net.onnx",
                         np.full(case.frames[0].shape, 1000))
