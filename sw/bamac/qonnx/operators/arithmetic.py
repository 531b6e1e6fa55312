"""Arithmetic per channel: it changes the gain and the offset of the current tensor, no integer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from .. import affine
from ..state import Accumulators, Integers, Real
from .registry import operator

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext

__all__ = ["apply_affine", "channel_operand"]


def apply_affine(context: ImportContext, gains: Sequence[Fraction],
                 offsets: Sequence[Fraction]) -> None:
    """Apply ``gain * x + offset`` to the current tensor; one gain and offset per channel.

    Sums of an open layer take any gain, but only a positive one after a max pool, and no offset
    after a ReLU. Integers take one gain and one offset for all channels. The input in front of its
    quantiser is refused.
    """
    state = context.state
    if isinstance(state, Real):
        context.refuse("the input must be quantised first; scaling of features belongs to the "
                       "front end")
    if isinstance(state, Integers):
        if len(set(gains)) > 1 or len(set(offsets)) > 1 or gains[0] == 0:
            context.refuse("activations that are quantised already can only be changed by one "
                           "number for all channels")
        state.scale, state.offset = state.scale * gains[0], state.offset * gains[0] + offsets[0]
        return
    if state.relu is not None and (min(gains) <= 0 or any(offsets)):
        context.refuse("only a positive factor may stand between ReLU and the quantiser")
    if state.pooled and min(gains) <= 0:
        channel = next(i for i, gain in enumerate(gains) if gain <= 0)
        context.refuse(f"gain after a max pool must be positive, not "
                       f"{affine.as_text(gains[channel])} in channel {channel}: pool after the "
                       "step, or clamp the gain")
    state.gain, state.offset = affine.compose(gains, offsets, state.gain, state.offset)


def channel_operand(context: ImportContext) -> tuple[list[Fraction], bool]:
    """The constant of an element-wise node with two inputs.

    Returns one value per channel, and whether the constant is the node's first input.
    """
    index = 1 if context.node.input[0] == context.tensor else 0
    constant = context.parameter(index, "operand")
    shape, rank, channels = constant.real.shape, len(context.state.shape), context.state.shape[1]
    full = (1,) * (rank - len(shape)) + shape
    if len(full) != rank or full[1] not in (1, channels) \
            or any(size != 1 for i, size in enumerate(full) if i != 1):
        context.refuse(f"operand must be one number, or one per channel ({channels}), "
                       f"not of shape {shape}")
    values = list(constant.fractions().reshape(-1))
    return (values * channels if len(values) == 1 else values), index == 0


@operator("Mul")
def multiply(context: ImportContext, node: NodeProto) -> None:
    """Multiply by a number, or by one per channel."""
    values, _ = channel_operand(context)
    apply_affine(context, values, [Fraction(0)] * len(values))


@operator("Div")
def divide(context: ImportContext, node: NodeProto) -> None:
    """Divide by a number, or by one per channel."""
    values, first = channel_operand(context)
    if first:
        context.refuse("the activations must be the dividend")
    if 0 in values:
        context.refuse("divisor must not be 0")
    apply_affine(context, [1 / value for value in values], [Fraction(0)] * len(values))


@operator("Add")
def add(context: ImportContext, node: NodeProto) -> None:
    """Add a number, or one per channel."""
    values, _ = channel_operand(context)
    apply_affine(context, [Fraction(1)] * len(values), values)


@operator("Sub")
def subtract(context: ImportContext, node: NodeProto) -> None:
    """Subtract a number, or one per channel; or subtract the tensor from it."""
    values, first = channel_operand(context)
    sign = Fraction(-1) if first else Fraction(1)
    apply_affine(context, [sign] * len(values), [-sign * value for value in values])


@operator("BatchNormalization")
def batch_normalization(context: ImportContext, node: NodeProto) -> None:
    """Apply a batch norm with constant mean and variance."""
    context.need_first_input()
    context.need(Accumulators, "batch norm must stand between a layer and its quantiser")
    if context.attributes.get("training_mode", 0):
        context.refuse("training_mode must be 0")
    channels = context.state.shape[1]
    parts = []
    for index, what in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")):
        part = context.parameter(index, what).fractions().reshape(-1)
        if len(part) != channels:
            context.refuse(f"{what} must be one per channel ({channels}), not {len(part)}")
        parts.append(part)
    epsilon = Fraction(float(context.attributes.get("epsilon", 1e-5)))
    if min(parts[3]) + epsilon <= 0:
        context.refuse("variance + epsilon must be positive")
    apply_affine(context, *affine.batch_norm(*parts, epsilon))


@operator("Relu")
def relu(context: ImportContext, node: NodeProto) -> None:
    """Note a ReLU, which the unsigned quantiser after it makes redundant."""
    state = context.state
    if isinstance(state, Real):
        context.refuse("the input must be quantised first")
    if isinstance(state, Integers):
        if state.scale < 0 or state.offset:
            context.refuse("must stand before the quantiser")
        if state.is_input and context.input.signed:
            context.refuse("must not follow the signed input")
        return
    state.relu = node
