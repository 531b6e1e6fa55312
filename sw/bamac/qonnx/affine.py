"""Exact rational algebra of scales, offsets, roundings and steps.

Everything here is a pure function of :class:`fractions.Fraction` and integers. A float enters once,
as the exact fraction that it stands for, and no float decides a comparison. In the formulas ``acc``
is an integer accumulator, ``gain`` and ``offset`` are the numbers of one channel, and the real
number that a graph computes is ``gain * acc + offset``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

__all__ = [
    "ROOT_BITS", "as_text", "batch_norm", "compose", "exact_fractions", "power_of_two",
    "shift_bias", "split_offsets", "square_root", "step_level", "step_threshold", "whole_biases",
]

ROOT_BITS = 256  # of the fraction of an irrational square root: far beyond any float32 input


def exact_fractions(array: np.ndarray) -> np.ndarray:
    """The numbers of ``array`` as fractions, without rounding: an object array of its shape."""
    flat = [Fraction(float(value)) for value in np.asarray(array).reshape(-1)]
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(np.shape(array))


def as_text(number: Fraction) -> str:
    """``number`` as a person would write it: an integer in full, else nine digits."""
    return str(number) if number.denominator == 1 else f"{float(number):.9g}"


def square_root(value: Fraction) -> Fraction:
    """``sqrt(value)`` of a non-negative fraction.

    The result is exact if the root is rational. Otherwise it is rounded down to a multiple of
    ``2 ** -ROOT_BITS``.
    """
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    shifted = (value.numerator << (2 * ROOT_BITS)) // value.denominator
    return Fraction(math.isqrt(shifted), 1 << ROOT_BITS)


def compose(gains: Sequence[Fraction], offsets: Sequence[Fraction],
            inner_gains: Sequence[Fraction], inner_offsets: Sequence[Fraction],
            ) -> tuple[list[Fraction], list[Fraction]]:
    """Gains and offsets, per channel, of one affine map applied after another.

    ``gain * (inner_gain * x + inner_offset) + offset`` is ``(gain * inner_gain) * x +
    (gain * inner_offset + offset)``. All sequences must have one entry per channel.
    """
    return ([outer * inner for outer, inner in zip(gains, inner_gains, strict=True)],
            [gain * inner + offset
             for gain, inner, offset in zip(gains, inner_offsets, offsets, strict=True)])


def batch_norm(gamma: Sequence[Fraction], beta: Sequence[Fraction], mean: Sequence[Fraction],
               variance: Sequence[Fraction], epsilon: Fraction,
               ) -> tuple[list[Fraction], list[Fraction]]:
    """Gains and offsets, per channel, of a batch norm in inference.

    ``gain = gamma / sqrt(variance + epsilon)`` and ``offset = beta - gain * mean``. Every
    ``variance + epsilon`` must be positive. The root is that of :func:`square_root`.
    """
    gains = [g / square_root(v + epsilon) for g, v in zip(gamma, variance, strict=True)]
    return gains, [b - gain * m for b, gain, m in zip(beta, gains, mean, strict=True)]


def step_level(mode: str, scale: Fraction) -> tuple[Fraction, bool] | None:
    """Where an unsigned one-bit quantiser of ``scale`` turns on, by its rounding mode.

    Returns ``(level, inclusive)``: the bit is ``x > level``, or ``x >= level`` if inclusive. None
    stands for a mode that qonnx does not define.

    ======================================  =============
    mode                                    bit
    ======================================  =============
    ``CEIL``, ``UP``                        x > 0
    ``ROUND``, ``HALF_EVEN``, ``HALF_DOWN``  x > scale / 2
    ``HALF_UP``                             x >= scale / 2
    ``FLOOR``, ``DOWN``                     x >= scale
    ======================================  =============
    """
    if mode in ("CEIL", "UP"):
        return Fraction(0), False
    if mode in ("FLOOR", "DOWN"):
        return scale, True
    if mode in ("ROUND", "HALF_EVEN", "HALF_DOWN"):
        return scale / 2, False
    if mode == "HALF_UP":
        return scale / 2, True
    return None


def step_threshold(gain: Fraction, offset: Fraction, level: Fraction,
                   inclusive: bool) -> tuple[int, int]:
    """The integer form of the step ``gain * acc + offset > level`` (``>=`` if inclusive).

    Returns ``(sign, threshold)``: for every integer ``acc`` the step is ``sign * acc >=
    threshold``. ``sign`` is that of the gain and belongs into the weights. With ``edge = (level -
    offset) / abs(gain)`` the threshold is ``ceil(edge)`` if inclusive, else ``floor(edge) + 1``. A
    gain of 0 leaves a constant bit: ``sign`` is 0, and the threshold is 0 (on) or 1 (off).
    """
    if gain == 0:
        on = offset >= level if inclusive else offset > level
        return 0, 0 if on else 1
    edge = (level - offset) / abs(gain)
    return (1 if gain > 0 else -1), math.ceil(edge) if inclusive else math.floor(edge) + 1


def power_of_two(ratio: Fraction) -> int | None:
    """The ``shift`` >= 0 with ``ratio == 2 ** shift``, or None if there is none."""
    if ratio < 1 or ratio.denominator != 1 or ratio.numerator & (ratio.numerator - 1):
        return None
    return ratio.numerator.bit_length() - 1


def shift_bias(value: Fraction, shift: int, mode: str) -> int | None:
    """The integer bias with which a right shift rounds as ``mode`` does.

    Returns ``b`` with ``round((acc + value) / 2**shift) == (acc + b) >> shift`` for every integer
    ``acc`` whose sum ``acc + value`` is not negative (below that an unsigned quantiser clamps both
    sides to 0). With ``unit = 2**shift``:

    ====================  ================================
    mode                  bias
    ====================  ================================
    ``FLOOR``, ``DOWN``   floor(value)
    ``HALF_UP``           floor(value + unit / 2)
    ``HALF_DOWN``         ceil(value - unit / 2) + unit - 1
    ``CEIL``, ``UP``      ceil(value) + unit - 1
    ====================  ================================

    Every mode is taken where there is nothing to round: a shift of 0 and an integer ``value``. None
    stands for a mode that no shift computes, such as rounding half to even.
    """
    unit = 1 << shift
    if mode in ("FLOOR", "DOWN") or unit == 1 and value.denominator == 1:
        return math.floor(value)
    if mode == "HALF_UP":
        return math.floor(value + Fraction(unit, 2))
    if mode in ("CEIL", "UP"):
        return math.ceil(value) + unit - 1
    if mode == "HALF_DOWN":
        return math.ceil(value - Fraction(unit, 2)) + unit - 1
    return None


def whole_biases(offsets: Sequence[Fraction], scale: Fraction,
                 offset: Fraction) -> list[int] | None:
    """Integers with ``scale * bias + offset == offsets``, or None unless all of them are whole."""
    biases = [(value - offset) / scale for value in offsets]
    return [b.numerator for b in biases] if all(b.denominator == 1 for b in biases) else None


def split_offsets(offsets: Sequence[Fraction],
                  scale: Fraction) -> tuple[list[int], list[Fraction]]:
    """Whole steps of ``scale`` in each offset, and what is left: ``offset = scale * n + rest``.

    ``n = floor(offset / scale + 1/2)``, so ``rest / scale`` is in -1/2 (inclusive) to 1/2.
    """
    steps = [math.floor(value / scale + Fraction(1, 2)) for value in offsets]
    return steps, [value - scale * n for value, n in zip(offsets, steps, strict=True)]
