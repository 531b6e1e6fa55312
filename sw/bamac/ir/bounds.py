"""How far sums can reach, how large maps are, and what they take to store: each rule once.

Everything here follows from shapes, weights and ranges alone, so the reference, the compiler, the
exporter and the reports can all ask the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .checks import Array

if TYPE_CHECKING:
    from .conv import Conv2d
    from .dense import Dense

__all__ = ["accumulator_range", "conv_shape", "largest_sum", "memory_count", "reach"]


def reach(weights: Array, low: int, high: int) -> tuple[Array, Array]:
    """Lowest and highest sum of products of each output channel.

    Parameters
    ----------
    weights : int array (out_channels, ...)
    low, high : int
        Range of the activations, with ``low`` <= 0 <= ``high``.

    Returns
    -------
    two int64 arrays (out_channels,)
        Partial sums, in any order, stay within them too.
    """
    flat = weights.reshape(len(weights), -1)
    negative, positive = np.minimum(flat, 0).sum(axis=1), np.maximum(flat, 0).sum(axis=1)
    return negative * high + positive * low, positive * high + negative * low


def largest_sum(weights: Array, largest: int) -> int:
    """The largest magnitude of any channel's sum with activations in -``largest``..``largest``."""
    return int(np.abs(weights).reshape(len(weights), -1).sum(axis=1).max()) * int(largest)


def accumulator_range(layer: Conv2d | Dense, bits: int,
                      signed: bool = False) -> tuple[Array, Array]:
    """Lowest and highest value that the array's accumulators of ``layer`` can pass through.

    The array starts an accumulator of a convolution at ``-threshold`` (of a layer with a bias at
    ``bias``) and adds gated weights. A signed input of ``bits`` bits is read in offset form,
    ``u = v + 2**(bits - 1)``, and the start value makes up for the offset.

    Returns
    -------
    two int64 arrays (out_channels,)
    """
    weights = layer.weights.reshape(layer.out_channels, -1)
    thresholds: Array | None = getattr(layer, "thresholds", None)
    start: Array = np.asarray(layer.bias) if thresholds is None else -thresholds
    if signed:
        start = start - (1 << (bits - 1)) * weights.sum(axis=1)
    low, high = reach(weights, 0, (1 << bits) - 1)
    return np.minimum(start + low, start), np.maximum(start + high, start)


def conv_shape(rows: int, cols: int, kernel: tuple[int, ...], stride: int,
               padding: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a convolution's map before pooling.

    ``padding`` is (top, bottom, left, right).
    """
    top, bottom, left, right = padding
    return ((rows + top + bottom - kernel[0]) // stride + 1,
            (cols + left + right - kernel[1]) // stride + 1)


def memory_count(parameters: int, map_values: int, *, int8_maps: bool = False) -> dict[str, int]:
    """Bytes by the paper's count: weights, and every map of a convolution before its pool, whole.

    In fp32 both take 4 bytes. Here a weight takes 1 byte and a bit an eighth; biases and thresholds
    count as weights, the input is not counted. For the paper's network 5,316.9 kB and 206.1 kB.

    Parameters
    ----------
    parameters : int
        Weights, biases and thresholds.
    map_values : int
        Values of all maps of convolutions, before their pools.
    int8_maps : bool
        Whether a map's value takes a byte, not a bit; ``"binary"`` then counts those.

    Returns
    -------
    dict
        ``fp32`` and ``binary``.
    """
    stored = map_values if int8_maps else -(-map_values // 8)
    return {"fp32": 4 * (parameters + map_values), "binary": parameters + stored}
