"""Convolutions and dense layers: they open a layer, whose quantiser comes later."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .. import affine
from ..state import ConvDraft, DenseDraft, Integers
from .registry import operator

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext

__all__ = ["add_bias", "integer_weights"]


def integer_weights(context: ImportContext, index: int, out_axis: int,
                    ndim: int) -> tuple[np.ndarray, list[Fraction]]:
    """Input ``index`` of the current node as integer weights with a scale per output.

    Parameters
    ----------
    out_axis : int
        The axis of output channels; it comes first in the result.
    ndim : int
        How many axes the weights must have.

    Returns
    -------
    weights : int64 array, within -127..127
    scales : list of Fraction, one per output channel
    """
    constant = context.parameter(index, "weight")
    if constant.real.ndim != ndim:
        context.refuse(f"weight must have {ndim} dimensions, not {constant.real.ndim}")
    if constant.ints is None:
        if not np.array_equal(constant.real, np.rint(constant.real)):
            context.refuse("weight must come from a Quant node or be integers")
        ints = constant.real.astype(np.int64)
        scale = np.full(ints.shape, Fraction(1), object)
    else:
        ints = constant.ints
        scale = np.broadcast_to(constant.scale, ints.shape)
    ints = np.moveaxis(ints, out_axis, 0)
    scale = np.moveaxis(scale, out_axis, 0).reshape(len(ints), -1)  # (outputs, weights of each)
    if ints.size == 0:
        context.refuse(f"weight must not be empty, not of shape {constant.real.shape}")
    if any(any(s != row[0] for s in row) for row in scale):
        context.refuse("scale of the weights must be one number, or one per output channel")
    if np.abs(ints).max() > 127:
        context.refuse(f"weight must be in -127..127, not {ints.min()}..{ints.max()}: use the "
                       "narrow range")
    return ints, [row[0] for row in scale]


def add_bias(context: ImportContext, index: int) -> None:
    """Add the optional bias at input ``index`` to the sums of the layer that was just opened."""
    if not context.has_input(index):
        return
    bias = context.parameter(index, "bias")
    channels = context.state.shape[1]
    if bias.real.size not in (1, channels):
        context.refuse(f"bias must be one per output channel ({channels}), not {bias.real.size}")
    values = list(bias.fractions().reshape(-1))
    values = values * channels if len(values) == 1 else values
    context.state.offset = [o + b for o, b in zip(context.state.offset, values, strict=True)]


@operator("Conv", takes_padding=True)
def conv(context: ImportContext, node: NodeProto) -> None:
    """Open a convolution over a map of integers; its bias is optional."""
    context.need_first_input()
    state = context.need(Integers, "the input must be quantised first: integers of a Quant node "
                                   "at the graph's start, bits after another convolution")
    if len(state.shape) != 4 or context.pooled_globally:
        context.refuse("convolutions must come before the global pool")
    weights, scales = integer_weights(context, 1, 0, 4)
    kernel = weights.shape[2:]
    stride = _checked_stride(context, kernel)
    if weights.shape[1] != state.shape[1]:
        context.refuse(f"weight must be for {state.shape[1]} input channels, "
                       f"not {weights.shape[1]}")
    padding = _checked_padding(context, kernel, stride, state)
    rows = (state.shape[2] + padding[0] + padding[1] - kernel[0]) // stride + 1
    cols = (state.shape[3] + padding[2] + padding[3] - kernel[1]) // stride + 1
    if rows < 1 or cols < 1:
        context.refuse(f"kernel {kernel[0]} x {kernel[1]} must fit the map of "
                       f"{state.shape[2]} x {state.shape[3]}")
    layer = ConvDraft(node.name, weights, stride, padding)
    context.open_layer(layer, (1, len(weights), rows, cols), scales)
    add_bias(context, 2)


def _checked_stride(context: ImportContext, kernel: tuple[int, int]) -> int:
    """The convolution's stride; group, dilation and the kernel's size are checked with it."""
    attributes = context.attributes
    if attributes.get("group", 1) != 1:
        context.refuse(f"group must be 1, not {attributes['group']}")
    if any(d != 1 for d in attributes.get("dilations", [])):
        context.refuse(f"dilation must be 1, not {attributes['dilations']}")
    strides = list(attributes.get("strides", [1, 1]))
    if len(strides) != 2 or strides[0] != strides[1] or strides[0] not in (1, 2):
        context.refuse(f"stride must be 1 or 2, the same in both directions, not {strides}")
    if max(kernel) > 7:
        context.refuse(f"kernel must be at most 7 x 7, not {kernel[0]} x {kernel[1]}")
    if list(attributes.get("kernel_shape", kernel)) != list(kernel):
        context.refuse(f"kernel_shape must be the weights' {kernel[0]} x {kernel[1]}")
    return strides[0]


def _checked_padding(context: ImportContext, kernel: tuple[int, int], stride: int,
                     state: Integers) -> tuple[int, ...]:
    """(top, bottom, left, right) of the convolution and of a ``Pad`` in front of it together."""
    own = _own_padding(context, kernel, stride, state.shape[2:])
    padding = tuple(p + q for p, q in zip(own, state.padding, strict=True))
    if any(p < 0 for p in padding) or max(padding[:2]) >= kernel[0] \
            or max(padding[2:]) >= kernel[1]:
        context.refuse(f"padding must be smaller than the kernel {kernel[0]} x {kernel[1]}, "
                       f"not {padding} (top, bottom, left, right)")
    if state.offset and any(padding):
        context.refuse("activations must be 0 and 1 (or an input with zero point 0) where zeros "
                       f"are padded, not offset by {affine.as_text(state.offset)}")
    return padding


def _own_padding(context: ImportContext, kernel: tuple[int, int], stride: int,
                 size: tuple[int, int]) -> tuple[int, ...]:
    """(top, bottom, left, right) as the current node's attributes say, for a map of ``size``."""
    auto = context.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return (0, 0, 0, 0)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for k, n in zip(kernel, size, strict=True):
            total = max((-(-n // stride) - 1) * stride + k - n, 0)
            small, large = total // 2, total - total // 2
            pads += [small, large] if auto == "SAME_UPPER" else [large, small]
        return tuple(pads)
    if auto != "NOTSET":
        context.refuse(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto!r}")
    pads = [int(p) for p in context.attributes.get("pads", [0, 0, 0, 0])]
    if len(pads) != 4:
        context.refuse(f"pads must be four sizes, not {pads}")
    top, left, bottom, right = pads
    return (top, bottom, left, right)


@operator("Pad")
def pad(context: ImportContext, node: NodeProto) -> None:
    """Keep a padding with zeros for the convolution that must follow directly."""
    context.need_first_input()
    state = context.need(Integers, "a convolution must directly follow the padding")
    if len(state.shape) != 4:
        context.refuse("padding must be of a map")
    mode = context.attributes.get("mode", "constant")
    if mode != "constant":
        context.refuse(f"mode must be 'constant', not {mode!r}")
    if "pads" in context.attributes:
        pads, value = context.attributes["pads"], context.attributes.get("value", 0)
    else:
        pads = context.parameter(1, "pads").real
        value = 0
        if context.has_input(2):
            value = context.parameter(2, "value").real.reshape(-1)[0]
    pads = [int(p) for p in pads]
    if len(pads) != 8 or pads[0] or pads[1] or pads[4] or pads[5] or min(pads) < 0 or value:
        context.refuse("padding must be of rows and columns, with zeros")
    state.padding = (pads[2], pads[6], pads[3], pads[7])


@operator("Gemm")
def gemm(context: ImportContext, node: NodeProto) -> None:
    """Open a dense layer; its bias is optional."""
    context.need_first_input()
    attributes = context.attributes
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 \
            or attributes.get("beta", 1.0) != 1.0:
        context.refuse("transA must be 0, alpha and beta 1")
    _open_dense(context, 0 if attributes.get("transB", 0) else 1)
    add_bias(context, 2)


@operator("MatMul")
def mat_mul(context: ImportContext, node: NodeProto) -> None:
    """Open a dense layer without a bias."""
    context.need_first_input()
    _open_dense(context, 1)


def _open_dense(context: ImportContext, out_axis: int) -> None:
    state = context.need(Integers, "a dense layer's inputs must be integers: quantise the layer "
                                   "before it")
    if len(state.shape) != 2 or not context.pooled_globally:
        context.refuse("a dense layer must follow a global pool (max, sum or average) and a "
                       "Flatten: maps of a fixed size cannot be streamed")
    if context.holds_wide_sum:
        context.refuse("a global sum of 8-bit values must be quantised to 8 bits (unsigned, "
                       "rounding mode FLOOR, a power of two times its scale)")
    weights, scales = integer_weights(context, 1, out_axis, 2)
    if weights.shape[1] != state.shape[1]:
        context.refuse(f"weight must be for {state.shape[1]} inputs, not {weights.shape[1]}")
    context.open_layer(DenseDraft(context.node.name, weights), (1, len(weights)), scales)
