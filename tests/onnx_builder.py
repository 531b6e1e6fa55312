"""Builds chains of ONNX nodes as other tools write them, for the importer's tests."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bamac.ir.network import GraphError
from bamac.qonnx import importer as qonnx_import

QUANT_DOMAIN = "qonnx.custom_op.general"
SUPPORTED = [
    "Add", "AveragePool", "BatchNormalization", "BipolarQuant", "Conv", "Div", "Dropout",
    "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "IntQuant", "MatMul",
    "MaxPool", "Mul", "Pad", "Quant", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape",
    "Squeeze", "Sub"]
"""The operators that an error lists, by hand."""


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


def assert_refused(build, message, tmp_path):
    """The file of ``build()`` must be refused with its path and exactly ``message``."""
    with pytest.raises(GraphError) as error:
        build().load(tmp_path)
    assert str(error.value) == f"{tmp_path / 'foreign.onnx'}: {message}", str(error.value)
