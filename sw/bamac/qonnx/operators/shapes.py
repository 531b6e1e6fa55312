"""Operators that change the tensor's shape, or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .registry import operator

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext


def _reshape_to(context: ImportContext, target: Sequence[int] | None) -> None:
    """Make the globally pooled map a vector; ``target`` is the node's shape, None if it has none.

    In ``target`` a size of 0 copies that of the input, and -1 takes the rest.
    """
    shape = context.state.shape
    channels = shape[1]
    if target is not None:
        target = [shape[i] if size == 0 and i < len(shape) else size
                  for i, size in enumerate(target)]
    if not context.pooled_globally or math.prod(shape) != channels:
        context.refuse("a map must be pooled globally (max, sum or average) before it is "
                       "flattened")
    if target not in ([1, channels], [1, -1], [-1, channels]):
        context.refuse(f"shape must become 1 x {channels}, not {target}")
    context.state.shape = (1, channels)


@operator("Flatten")
def flatten(context: ImportContext, node: NodeProto) -> None:
    """Flatten all axes but the batch."""
    _reshape_to(context, [1, -1] if context.attributes.get("axis", 1) in (1, -3) else None)


@operator("Reshape")
def reshape(context: ImportContext, node: NodeProto) -> None:
    """Reshape a globally pooled map to a vector."""
    context.need_first_input()
    _reshape_to(context, [int(size) for size in context.parameter(1, "shape").real])


@operator("Squeeze")
def squeeze(context: ImportContext, node: NodeProto) -> None:
    """Drop the rows and columns of a globally pooled map."""
    axes, shape = context.axes(), context.state.shape
    fits = axes is not None and sorted(axis % len(shape) for axis in axes) == [2, 3] \
        and shape[2:] == (1, 1)
    _reshape_to(context, list(shape[:2]) if fits else None)


@operator("Identity", "Dropout")
def identity(context: ImportContext, node: NodeProto) -> None:
    """Pass the tensor on as it is: a dropout does nothing in inference."""
