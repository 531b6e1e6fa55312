"""How far sums can reach, how large maps are, and what they take to store: each rule once.

Everything here follows from shapes, weights and ranges alone, so the reference, the compiler, the
exporter and the reports can all ask the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .checks import Array

if TYPE_CHECKING:
    from .layer import Layer

__all__ = ["accumulator_range", "conv_shape", "largest_sum", "largest_sums", "memory_count",
           "reach"]


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


def largest_sums(weights: Array, largest: int) -> Array:
    """The largest magnitude of each channel's sum with activations in -``largest``..``largest``.

    ``weights`` is (out_channels, ...), the result int64 (out_channels,).
    """
    sums: Array = np.abs(weights).reshape(len(weights), -1).sum(axis=1) * int(largest)
    return sums


def largest_sum(weights: Array, largest: int) -> int:
    """The largest of them."""
    return int(largest_sums(weights, largest).max())


def accumulator_range(layer: Layer, low: int, high: int) -> tuple[Array, Array]:
    """Lowest and highest value that the dense walk's accumulators of ``layer`` can pass through.

    The array starts an accumulator of a convolution at ``-threshold`` (of a layer with a bias at
    ``bias``) and adds gated weights. An input of ``low``..``high`` is read in offset form, ``u = v
    - low``, and the start value makes up for the offset. What other datapaths do is never farther
    from zero.

    Parameters
    ----------
    layer : a layer with ``thresholds`` or a ``bias``
    low, high : range of the activations that it reads, with ``low`` <= 0

    Returns
    -------
    two int64 arrays (out_channels,)
    """
    weights = layer.weights.reshape(layer.out_channels, -1)
    thresholds: Array | None = getattr(layer, "thresholds", None)
    bias: Array | None = getattr(layer, "bias", None)
    start: Array = np.asarray(bias) if thresholds is None else -thresholds
    if low:
        start = start + low * weights.sum(axis=1)
    least, most = reach(weights, 0, high - low)
    return np.minimum(start + least, start), np.maximum(start + most, start)


def conv_shape(rows: int, cols: int, kernel: tuple[int, ...], stride: int | tuple[int, ...],
               padding: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a convolution's map before pooling.

    ``kernel`` is what the kernel spans, dilation included. ``stride`` is a number for both
    directions, or (rows, cols). ``padding`` is (top, bottom, left, right).
    """
    row_stride, col_stride = (stride, stride) if isinstance(stride, int) else stride
    top, bottom, left, right = padding
    return ((rows + top + bottom - kernel[0]) // row_stride + 1,
            (cols + left + right - kernel[1]) // col_stride + 1)


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
