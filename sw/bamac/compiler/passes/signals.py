"""How tensors stand in a native map or vector, and what a layer is to the signals in it.

A native map holds *signals*, a bit per pixel each (or a value: of the frames, of a vector that a
global pool counted, or of an 8-bit map). A tensor of the network is made of several: a channel's
value is ``low + step * (sum of its signals)``. A map of ``L`` levels has ``L`` signals per channel,
one for each threshold; a bipolar one has one, with ``low = -1`` and ``step = 2``.

A layer's weights on a tensor become weights on signals, and a constant for ``low``. Padding is 0
in the tensor, and its signals are 0 there too, so where a layer pads a tensor whose ``low`` is not
0, the constant is the weight of a signal that is 1 in the whole map: :data:`ONE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bamac.ir.checks import Array
from bamac.ir.conv import Conv2d

__all__ = ["ONE", "Encoding", "SignalWeights", "on_signals", "without_groups"]

ONE = -1  # index of the signal that is always 1, behind all others


@dataclass(frozen=True, eq=False)
class Encoding:
    """Signals of a tensor.

    Parameters
    ----------
    index : int array (channels, signals), into the native map's signals
    low, step : a channel's value is ``low + step * (sum of its signals)``
    most : largest value of a signal; the smallest is 0, except of frames
    least : smallest value of a signal
    """

    index: Array
    low: int = 0
    step: int = 1
    most: int = 1
    least: int = 0

    @property
    def channels(self) -> int:
        return int(self.index.shape[0])

    @property
    def is_bits(self) -> bool:
        """Whether its signals are bits."""
        return (self.least, self.most) == (0, 1)


@dataclass(frozen=True, eq=False)
class SignalWeights:
    """A layer's weights on signals.

    Parameters
    ----------
    weights : int64 array (out_channels, signals + 1, kernel_rows, kernel_cols); last those of
        :data:`ONE`
    constant : int64 array (out_channels,), added to the sums
    """

    weights: Array
    constant: Array


def without_groups(conv: Conv2d) -> Array:
    """Weights (out_channels, in_channels, *span) with zeros for other groups and for dilation."""
    outputs, reads, *sizes = conv.weights.shape
    down, across = conv.dilations
    weights = np.zeros((outputs, conv.in_channels, *conv.span), np.int64)
    per_group = outputs // conv.groups
    for group in range(conv.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        weights[rows, group * reads:(group + 1) * reads, ::down, ::across] = conv.weights[rows]
    return weights


def on_signals(weights: Array, encodings: Sequence[Encoding], signals: int, *,
               padded: bool) -> SignalWeights:
    """The weights of a layer that reads the tensors ``encodings``, one behind the other.

    Parameters
    ----------
    weights : int array (out_channels, in_channels, kernel_rows, kernel_cols)
    signals : how many the native map has, :data:`ONE` left out
    padded : whether some of the kernel's taps can lie in padding
    """
    outputs, _, *sizes = weights.shape
    found = np.zeros((outputs, signals + 1, *sizes), np.int64)
    constant = np.zeros(outputs, np.int64)
    first = 0
    for encoding in encodings:
        part = weights[:, first:first + encoding.channels].astype(np.int64)
        first += encoding.channels
        for column in encoding.index.T:
            found[:, column] += encoding.step * part
        offset = encoding.low * part.sum(axis=1)
        if padded:
            found[:, ONE] += offset
        else:
            constant += offset.sum(axis=(1, 2))
    return SignalWeights(found, constant)
