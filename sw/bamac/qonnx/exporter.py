"""Write an integer network as a QONNX file.

Every tensor of the file holds integers (or integers and a half, before a step), so the float32
arithmetic of any ONNX executor is exact, and the file *is* the integer network in a form that other
tools read: weights through 8-bit ``Quant``, activations through 1-bit ``Quant``. A network whose
accumulators could leave float32's exact range is refused.

A bit is ``acc >= T``. For an integer accumulator that is ``acc + (0.5 - T) > 0``, and qonnx's
``Quant`` of one bit, unsigned, rounding mode CEIL, is exactly ``x > 0``. Maps of 8-bit values, and
their global sum, go through an unsigned ``Quant`` of 8 bits, rounding mode FLOOR.
"""

from __future__ import annotations

import json

import numpy as np

from bamac import files
from bamac.ir.network import VALUE_MAX, Conv2d, GraphError

__all__ = ["METADATA_KEY", "OUTPUT_NAMES", "export", "model"]

METADATA_KEY = "bamac.network"
METADATA_SCHEMA = 1
OPSET = 13
IR_VERSION = 8  # what ONNX 1.13 wrote: readers of the last years take it
QONNX_DOMAIN = "qonnx.custom_op.general"
# The tensor of each layer that holds what the reference calls by these names
OUTPUT_NAMES = {"bits": "{}/bits", "outputs": "{}/outputs", "vector": "vector", "raw": "raw",
                "scores": "scores"}

_INTEGERS = 1 << 24  # float32 holds every integer below this magnitude,
_HALVES = 1 << 23  # and every integer and a half below this one


def _check_range(name, magnitude, limit, what):
    if magnitude >= limit:
        raise GraphError(f"{name}: {what} must stay below 2^{limit.bit_length() - 1} for float32 "
                         f"to be exact, not reach {magnitude}")


def _check_exact(network):
    spec = network.input
    magnitude = max(-spec.min, spec.max)
    vector_bits = iter(network.vector_bits())
    _, rows, cols = network.map_shapes()[-1]
    for layer in network.layers:
        weights = np.abs(layer.weights.reshape(layer.out_channels, -1))
        if isinstance(layer, Conv2d):
            reach = weights.sum(axis=1) * magnitude
            if layer.emits_int8:
                reach = reach + np.abs(layer.bias)
                magnitude = VALUE_MAX
            else:
                _check_range(layer.name, int(np.abs(layer.thresholds).max()), _HALVES,
                             "thresholds")
                magnitude = 1
            _check_range(layer.name, int(reach.max()), _INTEGERS, "accumulators")
            if layer.global_pool == "sum":
                _check_range(layer.name, rows * cols * magnitude, _INTEGERS, "the global sum")
        else:
            top = (1 << next(vector_bits)) - 1
            reach = int((weights.sum(axis=1) * top + np.abs(layer.bias)).max())
            limit = _HALVES if layer.emit == "bit" else _INTEGERS
            _check_range(layer.name, reach, limit, "accumulators")
    for what in ("score_scale", "score_offset"):
        value = getattr(network, what)
        with np.errstate(over="ignore"):
            as_float32 = abs(float(np.float32(value)))
        if not np.isfinite(as_float32) or (value != 0 and as_float32 == 0) \
                or (what == "score_scale" and value == 0):
            raise GraphError(f"{network.name}: {what} must be a float32 number, not {value!r}")


class _Writer:
    """Collects nodes and constants; constants of one value are shared."""

    def __init__(self):
        from onnx import helper

        self._helper = helper
        self.nodes, self.constants, self.values = [], {}, []

    def constant(self, name, value, dtype=np.float32):
        self.constants.setdefault(name, np.asarray(value, dtype))
        return name

    def node(self, op, inputs, output, shape, name=None, **attributes):
        domain = QONNX_DOMAIN if op == "Quant" else ""
        self.nodes.append(self._helper.make_node(op, inputs, [output], name=name or output,
                                                 domain=domain, **attributes))
        self.values.append((output, tuple(int(size) for size in shape)))
        return output

    def quant(self, tensor, output, shape, bits, signed, scale=1, rounding="ROUND", narrow=0):
        inputs = [tensor, self.constant(f"const/{scale}", scale), self.constant("const/0", 0),
                  self.constant(f"const/{bits}", bits)]
        return self.node("Quant", inputs, output, shape, signed=int(signed), narrow=narrow,
                         rounding_mode=rounding)

    def weights(self, layer, array):
        raw = self.constant(f"{layer.name}/weights", array)
        return self.quant(raw, f"{layer.name}/weights_q", array.shape, 8, True, narrow=1)

    def unsigned(self, tensor, output, shape, bits, shift, floor):
        """``clamp(tensor >> shift)`` to unsigned integers; ``floor`` names what is in between."""
        if shift == 0:
            return self.quant(tensor, output, shape, bits, False, rounding="FLOOR")
        # Quant keeps the magnitude of what it rounds; a power of two takes it back to integers
        scaled = self.quant(tensor, floor, shape, bits, False, 1 << shift, "FLOOR")
        return self.node("Mul", [scaled, self.constant(f"const/2^-{shift}", 2.0 ** -shift)],
                         output, shape)

    def step(self, tensor, name, shape):
        return self.quant(tensor, OUTPUT_NAMES["bits"].format(name), shape, 1, False,
                          rounding="CEIL")


def _conv(writer, layer, tensor, shape):
    rows, cols = layer.conv_shape(*shape[1:])
    shape = (1, layer.out_channels, rows, cols)
    top, bottom, left, right = layer.padding
    weights = writer.weights(layer, layer.weights)
    tensor = writer.node("Conv", [tensor, weights], f"{layer.name}/acc", shape, layer.name,
                         kernel_shape=[int(k) for k in layer.kernel],
                         strides=[layer.stride, layer.stride], pads=[top, left, bottom, right],
                         dilations=[1, 1], group=1)
    if layer.emits_int8:
        bias = writer.constant(f"{layer.name}/bias", layer.bias.reshape(1, -1, 1, 1))
        tensor = writer.node("Add", [tensor, bias], f"{layer.name}/biased", shape)
        tensor = writer.unsigned(tensor, OUTPUT_NAMES["bits"].format(layer.name), shape, 8,
                                 layer.shift, f"{layer.name}/floor")
    else:
        offset = writer.constant(f"{layer.name}/offset",
                                 0.5 - layer.thresholds.reshape(1, -1, 1, 1))
        tensor = writer.node("Add", [tensor, offset], f"{layer.name}/above", shape)
        tensor = writer.step(tensor, layer.name, shape)
    if layer.pool != (1, 1):
        shape = (1, layer.out_channels, rows // layer.pool[0], cols // layer.pool[1])
        tensor = writer.node("MaxPool", [tensor], f"{layer.name}/pooled", shape,
                             kernel_shape=list(layer.pool), strides=list(layer.pool))
    if layer.global_pool is not None:
        pooled = (1, layer.out_channels, 1, 1)
        if layer.global_pool == "max":
            tensor = writer.node("ReduceMax", [tensor], f"{layer.name}/global", pooled,
                                 axes=[2, 3], keepdims=1)
        else:
            axes = writer.constant("const/axes", [2, 3], np.int64)
            tensor = writer.node("ReduceSum", [tensor, axes], f"{layer.name}/global", pooled,
                                 keepdims=1)
            if layer.emits_int8:
                tensor = writer.unsigned(tensor, f"{layer.name}/global_q", pooled, 8,
                                         layer.pool_shift, f"{layer.name}/global_floor")
        tensor = writer.node("Flatten", [tensor], OUTPUT_NAMES["vector"],
                             (1, layer.out_channels), axis=1)
    return tensor, (layer.out_channels, *shape[2:])


def _dense(writer, layer, tensor):
    shape = (1, layer.out_channels)
    weights = writer.weights(layer, layer.weights.T)
    tensor = writer.node("MatMul", [tensor, weights], f"{layer.name}/sum", shape, layer.name)
    if layer.emit == "bit":
        bias = writer.constant(f"{layer.name}/offset", layer.bias + 0.5)
        tensor = writer.node("Add", [tensor, bias], f"{layer.name}/above", shape)
        return writer.quant(tensor, OUTPUT_NAMES["outputs"].format(layer.name), shape, 1, False,
                            rounding="CEIL")
    bias = writer.constant(f"{layer.name}/bias", layer.bias)
    if layer.emit == "raw":
        return writer.node("Add", [tensor, bias], OUTPUT_NAMES["raw"], shape)
    tensor = writer.node("Add", [tensor, bias], f"{layer.name}/acc", shape)
    return writer.unsigned(tensor, OUTPUT_NAMES["outputs"].format(layer.name), shape, layer.bits,
                           layer.shift, f"{layer.name}/floor")


def _metadata(network):
    front_end = network.front_end
    return json.dumps({
        "schema": METADATA_SCHEMA,
        "name": network.name,
        # Of a layer that does not emit unsigned integers, bits and shift say nothing; they are
        # carried so that a network read back equals the one written in every field.
        "layers": [{"name": layer.name} if isinstance(layer, Conv2d) else
                   {"name": layer.name, "bits": layer.bits, "shift": layer.shift}
                   for layer in network.layers],
        "score_scale": network.score_scale,
        "score_offset": network.score_offset,
        "front_end": {"kind": front_end.kind, "offset": front_end.offset,
                      "steps": front_end.steps},
    }, sort_keys=True)


def model(network):
    """The ``onnx.ModelProto`` of ``network``.

    Input ``frames`` (1, 1, rows, cols) float32 holding integers, output ``scores`` (1, outputs).
    Tensors are named after the layers: ``NAME/bits``, ``NAME/outputs``, ``vector`` (the result of
    the global pool), ``raw`` (the integer scores).

    Raises
    ------
    GraphError
        If an accumulator of a layer could reach 2^24, where float32 stops being exact.
    """
    from onnx import TensorProto, helper, numpy_helper

    _check_exact(network)
    spec = network.input
    writer = _Writer()
    shape = (1, 1, spec.rows, spec.cols)
    tensor = writer.quant("frames", "frames_q", shape, spec.bits, spec.signed)
    map_shape = shape[1:]
    for layer in network.layers:
        if isinstance(layer, Conv2d):
            tensor, map_shape = _conv(writer, layer, tensor, map_shape)
        else:
            tensor = _dense(writer, layer, tensor)
    outputs = (1, network.denses[-1].out_channels)
    scale = writer.constant("score_scale", network.score_scale)
    tensor = writer.node("Mul", [tensor, scale], "scaled", outputs)
    offset = writer.constant("score_offset", network.score_offset)
    tensor = writer.node("Add", [tensor, offset], OUTPUT_NAMES["scores"], outputs)

    def info(name, size):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, size)

    graph = helper.make_graph(
        writer.nodes, network.name, [info("frames", shape)], [info(tensor, outputs)],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(array), name)
                     for name, array in writer.constants.items()],
        value_info=[info(*value) for value in writer.values if value[0] != tensor])
    proto = helper.make_model(graph, producer_name="bamac", ir_version=IR_VERSION, opset_imports=[
        helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX_DOMAIN, 1)])
    helper.set_model_props(proto, {METADATA_KEY: _metadata(network)})
    return proto


def export(network, path):
    """Write ``network`` to ``path`` as QONNX; the same network always gives the same bytes.

    Raises
    ------
    GraphError
        If an accumulator of a layer could reach 2^24, where float32 stops being exact.
    """
    files.write_bytes(path, model(network).SerializeToString(deterministic=True))
