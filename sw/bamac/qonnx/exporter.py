"""Write an integer network as a QONNX file.

Every tensor of the file holds integers (or integers and a half, before a step), so the float32
arithmetic of any ONNX executor is exact, and the file *is* the integer network in a form that other
tools read: weights through 8-bit ``Quant``, activations through 1-bit ``Quant``. A network whose
accumulators could leave float32's exact range is refused.

A bit is ``acc >= T``. For an integer accumulator that is ``acc + (0.5 - T) > 0``, and qonnx's
``Quant`` of one bit, unsigned, rounding mode CEIL, is exactly ``x > 0``. 8-bit maps, and their
global sum, go through an unsigned ``Quant`` of 8 bits, rounding mode FLOOR.

How a layer is written depends on its type (:mod:`bamac.qonnx.writers`). This module writes the
input, calls the writers along the chain, and adds the score and the metadata.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bamac import files
from bamac.ir.network import FRAMES, GraphError, IntegerNetwork

from . import metadata, writers
from .graph_writer import OUTPUT_NAMES, QONNX_DOMAIN, GraphWriter, Tensor

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OUTPUT_NAMES", "export", "model"]

OPSET = 13
IR_VERSION = 8  # what ONNX 1.13 wrote: readers of the last years take it


def export(network: IntegerNetwork, path: str | Path) -> None:
    """Write ``network`` to ``path`` as QONNX; the same network always gives the same bytes.

    Raises
    ------
    GraphError
        If an accumulator of a layer could reach 2^24, where float32 stops being exact.
    """
    files.write_bytes(path, model(network).SerializeToString(deterministic=True))


def model(network: IntegerNetwork) -> ModelProto:
    """The ``onnx.ModelProto`` of ``network``.

    Input ``frames`` (1, channels, rows, cols) float32 holding integers, output ``scores``
    (1, outputs). Tensors are named after the layers: ``NAME/bits``, ``NAME/outputs``, ``vector``
    (the result of the global pool), ``raw`` (the integer scores).

    Raises
    ------
    GraphError
        If an accumulator of a layer could reach 2^24, where float32 stops being exact, if the
        score's scale or offset is no float32 number, or if a type of layer has no writer.
    """
    from onnx import TensorProto, helper, numpy_helper

    spec = network.input
    file = GraphWriter()
    shape = (1, *spec.map_shape)
    frames = file.quant("frames", "frames_q", shape, spec.bits, spec.signed,
                        narrow=int(spec.narrow))
    if spec.zero_point:
        frames = file.node("Sub", [frames, file.constant("zero_point", spec.zero_point)],
                           "frames_centred", shape)
    made = {FRAMES: Tensor(frames, shape, max(spec.zero_point - spec.min,
                                              spec.max - spec.zero_point))}
    for layer in network.layers:
        parts = [made[source] for source in network.inputs_of(layer.name)]
        made[layer.name] = writers.write(file, layer, file.joined(layer.name, parts))
    tensor = made[network.layers[-1].name]
    scores = _write_scores(file, network, tensor)

    def info(name, size):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, size)

    graph = helper.make_graph(
        file.nodes, network.name, [info("frames", shape)], [info(scores, tensor.shape)],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(array), name)
                     for name, array in file.constants.items()],
        value_info=[info(*value) for value in file.shapes if value[0] != scores])
    proto = helper.make_model(graph, producer_name="bamac", ir_version=IR_VERSION, opset_imports=[
        helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX_DOMAIN, 1)])
    helper.set_model_props(proto, {metadata.KEY: metadata.written(network)})
    return proto


def _write_scores(file: GraphWriter, network: IntegerNetwork, raw: Tensor) -> str:
    """Add ``raw * score_scale + score_offset``; return its tensor's name."""
    for what in ("score_scale", "score_offset"):
        for value in np.atleast_1d(getattr(network, what)).tolist():
            with np.errstate(over="ignore"):
                as_float32 = abs(float(np.float32(value)))
            if not np.isfinite(as_float32) or (value != 0 and as_float32 == 0) \
                    or (what == "score_scale" and value == 0):
                raise GraphError(f"{network.name}: {what} must be a float32 number, not {value!r}")
    scale = file.constant("score_scale", network.score_scale)
    scaled = file.node("Mul", [raw.name, scale], "scaled", raw.shape)
    offset = file.constant("score_offset", network.score_offset)
    return file.node("Add", [scaled, offset], OUTPUT_NAMES["scores"], raw.shape)
