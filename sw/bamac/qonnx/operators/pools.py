"""Max pools, and global pools over a whole map.

A max pool commutes with every map that does not decrease, so it may stand before or after the step
of its convolution. A global sum or average is of the integers, so it must stand after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import affine
from ..state import Accumulators, ConvDraft, Integers, Real
from .registry import operator

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext

__all__ = ["global_pool"]


def _need_map(context: ImportContext) -> ConvDraft:
    """The convolution whose map the current tensor is; it must not be pooled globally yet."""
    layer = context.open_conv
    if isinstance(context.state, Real) or len(context.state.shape) != 4 or layer is None:
        context.refuse("a pool must follow a convolution")
    if layer.global_pool is not None:
        context.refuse("the map is pooled globally already")
    return layer


def _note_max_pool(context: ImportContext) -> None:
    """Check that a max pool may stand here, and note on an open layer that one did."""
    state = context.state
    if isinstance(state, Accumulators):
        state.pooled = True
    elif state.scale < 0:
        context.refuse("activations must have a positive scale before a max pool, "
                       f"not {affine.as_text(state.scale)}")


@operator("MaxPool")
def max_pool(context: ImportContext, node: NodeProto) -> None:
    """Pool a map over windows that neither overlap nor leave gaps."""
    if len(node.output) > 1 and node.output[1]:
        context.refuse("indices cannot be given out")
    layer, size = _need_map(context), context.state.shape[2:]
    attributes = context.attributes
    kernel = [int(k) for k in attributes.get("kernel_shape", [])]
    if len(kernel) != 2 or min(kernel) < 1:
        context.refuse(f"kernel_shape must be two sizes, not {kernel}")
    strides = list(attributes.get("strides", [1, 1]))
    if strides != kernel:
        context.refuse(f"stride must equal the pool's size {kernel}, not {strides}: windows must "
                       "not overlap or leave gaps")
    if any(attributes.get("pads", [])) or any(d != 1 for d in attributes.get("dilations", [])) \
            or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        context.refuse("padding and dilation of a pool are not supported")
    if attributes.get("ceil_mode", 0) and any(n % k for n, k in zip(size, kernel, strict=True)):
        context.refuse("ceil_mode must be 0 where the pool does not divide the map")
    rows, cols = (n // k for n, k in zip(size, kernel, strict=True))
    if min(rows, cols) < 1:
        context.refuse(f"pool {kernel[0]} x {kernel[1]} must fit the map of {size[0]} x {size[1]}")
    _note_max_pool(context)
    # Two pools in a row are one, because both drop what does not fill a window
    layer.pool = (layer.pool[0] * kernel[0], layer.pool[1] * kernel[1])
    context.state.shape = (*context.state.shape[:2], rows, cols)


def global_pool(context: ImportContext, how: str, keepdims: bool = True) -> None:
    """Pool the whole map: ``how`` is ``"max"``, ``"sum"`` or ``"average"``.

    The result has the shape (1, channels, 1, 1), or (1, channels) without ``keepdims``. An average
    is the sum with its scale divided by the size of the map.
    """
    layer, state = _need_map(context), context.state
    if how == "max":
        _note_max_pool(context)
        layer.global_pool = "max"
    else:
        if not isinstance(state, Integers):
            context.refuse("a global sum or average must follow the Quant of the map")
        size = state.shape[2] * state.shape[3]
        layer.global_pool = "sum"
        state.bits = (size * ((1 << state.bits) - 1)).bit_length()
        if layer.bias is not None:
            # A sum of 8-bit maps has a quantiser of its own, even if it happens to fit 8 bits
            state.bits = max(state.bits, 9)
        if how == "average":
            state.scale = state.scale / size
        else:
            state.offset = state.offset * size
    state.shape = (*state.shape[:2], 1, 1) if keepdims else state.shape[:2]


@operator("GlobalMaxPool")
def global_max_pool(context: ImportContext, node: NodeProto) -> None:
    """Pool the whole map to its maximum."""
    global_pool(context, "max")


@operator("GlobalAveragePool")
def global_average_pool(context: ImportContext, node: NodeProto) -> None:
    """Pool the whole map to its average."""
    global_pool(context, "average")


@operator("AveragePool")
def average_pool(context: ImportContext, node: NodeProto) -> None:
    """Pool a map with a window as large as the map."""
    shape, attributes = context.state.shape, context.attributes
    rows, cols = shape[2:] if len(shape) == 4 else (0, 0)
    if list(attributes.get("kernel_shape", [])) != [rows, cols] or any(attributes.get("pads", [])):
        context.refuse("average pool must be over the whole map")
    global_pool(context, "average")


def _reduce(context: ImportContext, how: str) -> None:
    """A global pool written as a reduction over rows and columns."""
    context.need_first_input()
    axes, rank = context.axes(), len(context.state.shape)
    if axes is None or sorted(axis % rank for axis in axes) != [2, 3]:
        shown = "all" if axes is None else list(axes)
        context.refuse(f"axes must be rows and columns, [2, 3], not {shown}")
    global_pool(context, how, bool(context.attributes.get("keepdims", 1)))


@operator("ReduceMax")
def reduce_max(context: ImportContext, node: NodeProto) -> None:
    """Reduce rows and columns to their maximum."""
    _reduce(context, "max")


@operator("ReduceSum")
def reduce_sum(context: ImportContext, node: NodeProto) -> None:
    """Reduce rows and columns to their sum."""
    _reduce(context, "sum")


@operator("ReduceMean")
def reduce_mean(context: ImportContext, node: NodeProto) -> None:
    """Reduce rows and columns to their average."""
    _reduce(context, "average")
