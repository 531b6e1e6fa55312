"""How each type of layer is written: a registry of functions, and those of the built-in types.

A writer checks that float32 holds every sum of its layer, adds the layer's nodes, and says what
they hand on. A further type of layer is one function, registered from anywhere::

    from bamac.qonnx.writers import writer

    @writer(MyLayer)
    def write_my_layer(file, layer, tensor):
        output = file.node("Neg", [tensor.name], f"{layer.name}/outputs", tensor.shape)
        return Tensor(output, tensor.shape, tensor.magnitude)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bamac.ir.bounds import largest_sums
from bamac.ir.network import Conv2d, Dense, GraphError

from .graph_writer import (
    HALVES,
    INTEGERS,
    OUTPUT_NAMES,
    GraphWriter,
    Tensor,
    check_magnitude,
)

__all__ = ["Writer", "write", "writer"]

Writer = Callable[[GraphWriter, Any, Tensor], Tensor]

_WRITERS: dict[type, Writer] = {}


def writer(layer_type: type) -> Callable[[Writer], Writer]:
    """Register the decorated function as the writer of layers of ``layer_type``.

    It is called as ``writer(file, layer, tensor)`` with the :class:`GraphWriter`, the layer and the
    :class:`Tensor` that it reads, and returns the :class:`Tensor` that it makes. A subclass of
    ``layer_type`` needs a writer of its own: it may compute something else.

    Raises
    ------
    TypeError
        If ``layer_type`` is no class.
    ValueError
        If the type has a writer already.
    """
    if not isinstance(layer_type, type):
        raise TypeError(f"Layer type must be a class, not {layer_type!r}")

    def register(function: Writer) -> Writer:
        if layer_type in _WRITERS:
            other = _WRITERS[layer_type]
            raise ValueError(f"Layer type {layer_type.__name__!r} must be registered once, not "
                             f"again: {other.__module__}.{other.__qualname__} writes it")
        _WRITERS[layer_type] = function
        return function

    return register


def write(file: GraphWriter, layer: Any, tensor: Tensor) -> Tensor:
    """Add ``layer``, which reads ``tensor``, to ``file`` by the writer of its type.

    Raises
    ------
    GraphError
        If the type has no writer, or float32 does not hold every sum of the layer.
    """
    function = _WRITERS.get(type(layer))
    if function is None:
        known = ", ".join(sorted(known.__name__ for known in _WRITERS))
        raise GraphError(f"{layer.name}: layers of type {type(layer).__name__} cannot be written; "
                         f"use {known}, or register a writer")
    return function(file, layer, tensor)


@writer(Conv2d)
def write_conv(file: GraphWriter, layer: Conv2d, tensor: Tensor) -> Tensor:
    """``Conv``, its step, levels or shift, its max pool, and its global pool with a ``Flatten``."""
    _check_conv(layer, tensor)
    rows, cols = layer.conv_shape(*tensor.shape[2:])
    shape = (1, layer.out_channels, rows, cols)
    top, bottom, left, right = layer.padding
    weights = file.weights(layer.name, layer.weights)
    name = file.node("Conv", [tensor.name, weights], f"{layer.name}/acc", shape, layer.name,
                     kernel_shape=[int(k) for k in layer.kernel],
                     strides=list(layer.strides), pads=[top, left, bottom, right],
                     dilations=list(layer.dilations), group=layer.groups)
    output = OUTPUT_NAMES["bits"].format(layer.name)
    if layer.emits_int8:
        bias = file.constant(f"{layer.name}/bias", layer.bias.reshape(1, -1, 1, 1))
        name = file.node("Add", [name, bias], f"{layer.name}/biased", shape)
        name = file.unsigned(name, output, shape, 8, layer.shift, f"{layer.name}/floor")
    elif not layer.emits_bits:
        name = file.levels(name, output, shape, layer)
    else:
        offset = file.constant(f"{layer.name}/offset",
                               0.5 - layer.thresholds.reshape(1, -1, 1, 1))
        name = file.node("Add", [name, offset], f"{layer.name}/above", shape)
        name = file.step(name, output, shape)
    if layer.pool != (1, 1):
        shape = (1, layer.out_channels, rows // layer.pool[0], cols // layer.pool[1])
        name = file.node("MaxPool", [name], f"{layer.name}/pooled", shape,
                         kernel_shape=list(layer.pool), strides=list(layer.pool))
    tensor = Tensor(name, shape, max(-layer.low, layer.high))
    return tensor if layer.global_pool is None else _write_global_pool(file, layer, tensor)


def _check_conv(layer: Conv2d, tensor: Tensor) -> None:
    """Check the thresholds and the sums; the kernel's reach is all of its weights together."""
    reach = largest_sums(layer.weights, tensor.magnitude)
    if layer.emits_int8:
        reach = reach + np.abs(layer.bias)
    else:
        check_magnitude(layer.name, int(np.abs(layer.thresholds).max()), HALVES, "thresholds")
    check_magnitude(layer.name, int(reach.max()), INTEGERS, "accumulators")


def _write_global_pool(file: GraphWriter, layer: Conv2d, tensor: Tensor) -> Tensor:
    """The global pool of the map ``tensor``, and the vector that it becomes."""
    pooled, name, magnitude = (1, layer.out_channels, 1, 1), tensor.name, tensor.magnitude
    if layer.global_pool == "max":
        name = file.node("ReduceMax", [name], f"{layer.name}/global", pooled,
                         axes=[2, 3], keepdims=1)
    else:
        rows, cols = tensor.shape[2:]
        check_magnitude(layer.name, rows * cols * magnitude, INTEGERS, "the global sum")
        axes = file.constant("const/axes", [2, 3], np.int64)
        name = file.node("ReduceSum", [name, axes], f"{layer.name}/global", pooled, keepdims=1)
        if layer.emits_int8:
            name = file.unsigned(name, f"{layer.name}/global_q", pooled, 8, layer.pool_shift,
                                 f"{layer.name}/global_floor")
        else:
            # As wide as hardware hands it on: whole bits, not the largest sum itself
            magnitude = (1 << (rows * cols).bit_length()) - 1
    shape = (1, layer.out_channels)
    name = file.node("Flatten", [name], OUTPUT_NAMES["vector"], shape, axis=1)
    return Tensor(name, shape, magnitude)


@writer(Dense)
def write_dense(file: GraphWriter, layer: Dense, tensor: Tensor) -> Tensor:
    """``MatMul``, the bias, and the step, levels or shift; the last layer's sums are ``raw``."""
    if len(tensor.shape) == 4:
        shape = (1, int(np.prod(tensor.shape)))
        tensor = Tensor(file.node("Flatten", [tensor.name], f"{layer.name}/flat", shape, axis=1),
                        shape, tensor.magnitude)
    reach = int((largest_sums(layer.weights, tensor.magnitude) + np.abs(layer.bias)).max())
    check_magnitude(layer.name, reach, HALVES if layer.emit == "bit" else INTEGERS, "accumulators")
    shape = (1, layer.out_channels)
    name = file.node("MatMul", [tensor.name, file.weights(layer.name, layer.weights.T)],
                     f"{layer.name}/sum", shape, layer.name)
    output = OUTPUT_NAMES["outputs"].format(layer.name)
    if layer.emit == "bit":
        bias = file.constant(f"{layer.name}/offset", layer.bias + 0.5)
        name = file.node("Add", [name, bias], f"{layer.name}/above", shape)
        return Tensor(file.step(name, output, shape), shape, 1)
    bias = file.constant(f"{layer.name}/bias", layer.bias)
    if layer.emit == "levels":
        check_magnitude(layer.name, int(np.abs(layer.thresholds).max()), HALVES, "thresholds")
        name = file.node("Add", [name, bias], f"{layer.name}/acc", shape)
        return Tensor(file.levels(name, output, shape, layer), shape,
                      max(-layer.low, layer.low + layer.step * layer.levels))
    if layer.emit == "raw":
        return Tensor(file.node("Add", [name, bias], OUTPUT_NAMES["raw"], shape), shape, reach)
    name = file.node("Add", [name, bias], f"{layer.name}/acc", shape)
    name = file.unsigned(name, output, shape, layer.bits, layer.shift, f"{layer.name}/floor")
    return Tensor(name, shape, (1 << layer.bits) - 1)
