"""Quantisers of activations: they turn the sums of a layer into its integer outputs.

Closing a layer folds the sign of each channel's gain into its weights, and turns gain and offset
into an integer threshold or bias. No rounding is needed; see :mod:`bamac.qonnx.affine`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bamac.ir.network import InputSpec

from .. import affine
from ..graph import check_quant
from ..state import Accumulators, ConvDraft, DenseDraft, Integers, Real
from .registry import CUSTOM, operator

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext

__all__ = ["close_with_shift", "close_with_step"]


@operator("Quant", "IntQuant", domain=CUSTOM)
def quant(context: ImportContext, node: NodeProto) -> None:
    """Quantise the input, close a layer, or bring a global sum back to 8 bits."""
    context.need_first_input()
    scales, zero, widths = (context.parameter(index, what).real for index, what in
                            ((1, "scale"), (2, "zero point"), (3, "bit width")))
    check_quant(node, scales, zero, widths)
    if np.unique(scales).size != 1:
        context.refuse("scale of activations must be one number, not one per channel")
    scale = Fraction(float(scales.reshape(-1)[0]))
    if scale < 0:
        context.refuse(f"scale of activations must be positive, not {affine.as_text(scale)}")
    bits = int(widths.item())
    signed = bool(context.attributes.get("signed", 1))
    narrow = bool(context.attributes.get("narrow", 1))
    mode = context.attributes.get("rounding_mode", "ROUND").upper()
    if isinstance(context.state, Real):
        _quantise_input(context, scale, bits, signed, narrow)
        return
    wide_sum = context.holds_wide_sum
    if not wide_sum:
        context.need(Accumulators, "activations are quantised twice")
    if signed:
        context.refuse("activations must be unsigned: 1 or 8 bits after a convolution, 1 to 16 "
                       "bits after a dense layer")
    if narrow:
        context.refuse("narrow range must be off for unsigned activations")
    if wide_sum:
        _quantise_sum(context, scale, bits, mode)
    else:
        _quantise_layer(context, scale, bits, mode)


def _quantise_input(context: ImportContext, scale: Fraction, bits: int, signed: bool,
                    narrow: bool) -> None:
    if signed and narrow:
        context.refuse("narrow range must be off for the input, whose lowest value hardware takes")
    if narrow:
        context.refuse("narrow range must be off for unsigned activations")
    rows, cols = context.state.shape[2:]
    context.input = InputSpec(rows, cols, bits, signed)
    context.state = Integers(context.state.shape, scale, Fraction(0), bits, is_input=True)


def _quantise_layer(context: ImportContext, scale: Fraction, bits: int, mode: str) -> None:
    layer = context.state.layer
    if isinstance(layer, ConvDraft) and bits not in (1, 8):
        context.refuse(f"activations of a convolution must be 1 bit, or 8, not {bits}")
    # An unsigned output of one bit and a bit are the same thing. The rounding mode tells which of
    # the two forms of a dense layer was meant.
    shifted = isinstance(layer, DenseDraft) and mode in ("FLOOR", "DOWN")
    if bits != 1 or shifted:
        close_with_shift(context, scale, bits, mode)
        return
    step = affine.step_level(mode, scale)
    if step is None:
        context.refuse(f"rounding mode must be one that qonnx defines, not {mode!r}")
    close_with_step(context, *step, scale)


def _quantise_sum(context: ImportContext, scale: Fraction, bits: int, mode: str) -> None:
    """Bring a global sum of 8-bit maps back to 8 bits: ``min(sum >> pool_shift, 255)``."""
    shift = affine.power_of_two(scale / context.state.scale)
    if bits != 8 or mode not in ("FLOOR", "DOWN") or shift is None:
        context.refuse("a global sum of 8-bit values must be quantised to 8 bits, with rounding "
                       "mode FLOOR and a scale that is a power of two times the sum's")
    context.layers[-1].pool_shift = shift
    context.state = Integers(context.state.shape, scale, Fraction(0), 8)


@operator("BipolarQuant", domain=CUSTOM)
def bipolar_quant(context: ImportContext, node: NodeProto) -> None:
    """Close a layer with bits that stand for ``-scale`` and ``+scale``."""
    context.need_first_input()
    state = context.need(Accumulators, "a bipolar quantiser must follow a convolution or a dense "
                                       "layer")
    if state.relu is not None:
        context.refuse("after ReLU a bipolar quantiser is constant: remove the ReLU")
    scales = context.parameter(1, "scale").real
    if scales.size != 1 or scales.item() <= 0:
        context.refuse("scale of activations must be one positive number")
    scale = Fraction(float(scales.item()))
    close_with_step(context, Fraction(0), True, 2 * scale)
    context.state.offset = -scale


def close_with_step(context: ImportContext, level: Fraction, inclusive: bool,
                    scale: Fraction) -> None:
    """Close the open layer with bits: ``gain * acc + offset > level`` (``>=`` if inclusive).

    The current tensor becomes bits that stand for 0 and ``scale``.
    """
    state = context.state
    assert isinstance(state, Accumulators)
    weights, thresholds = state.layer.weights.copy(), []
    for channel, (gain, offset) in enumerate(zip(state.gain, state.offset, strict=True)):
        sign, threshold = affine.step_threshold(gain, offset, level, inclusive)
        weights[channel] = sign * weights[channel]
        thresholds.append(threshold)
    state.layer.weights = weights
    state.layer.close_with_step(context.int64(thresholds))
    context.layers.append(state.layer)
    context.state = Integers(state.shape, scale, Fraction(0), 1)


def close_with_shift(context: ImportContext, scale: Fraction, bits: int, mode: str) -> None:
    """Close the open layer with ``clamp((acc + bias) >> shift)``, unsigned integers of ``bits``.

    The current tensor becomes integers that stand for multiples of ``scale``. It is refused unless
    ``scale`` is a power of two times every channel's gain, the same for all, and ``mode`` a
    rounding that :func:`bamac.qonnx.affine.shift_bias` knows.
    """
    state = context.state
    assert isinstance(state, Accumulators)
    if bits > 16:
        context.refuse(f"activations of a dense layer must be 1 to 16 bits, not {bits}")
    weights, offsets, shifts = state.layer.weights.copy(), [], set()
    for channel, (gain, offset) in enumerate(zip(state.gain, state.offset, strict=True)):
        if gain < 0:
            weights[channel] = -weights[channel]
            gain = -gain
        ratio = scale / gain if gain else Fraction(0)
        shift = affine.power_of_two(ratio)
        if shift is None or shift > 31:
            context.refuse("scale must be the accumulator's scale times a power of two "
                           f"(1 to 2^31), not times {affine.as_text(ratio)}: restrict the scales "
                           "of this layer's weights and activations to powers of two")
        shifts.add(shift)
        offsets.append(offset / gain)
    if len(shifts) > 1:
        context.refuse("scale of the weights must be the same for all outputs of a layer that "
                       "does not emit bits")
    shift = shifts.pop()
    biases = [affine.shift_bias(value, shift, mode) for value in offsets]
    if None in biases:
        context.refuse("rounding mode must be FLOOR or HALF_UP, which a shift computes, "
                       f"not {mode!r}")
    state.layer.weights = weights
    state.layer.close_with_shift(context.int64(biases), bits, shift)
    context.layers.append(state.layer)
    context.state = Integers(state.shape, scale, Fraction(0), bits)
