"""The error that the integer network raises, and the checks that its layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "GraphError", "int_array", "level_thresholds", "require", "size_pair",
           "weight_array"]

Array = npt.NDArray[Any]
WEIGHT_MAX = 127  # symmetric int8, so that a negative scale can be folded into the weights
VALUE_MAX = 255   # of an 8-bit map
SHIFT_MAX = 15    # of a layer that requantises to an 8-bit map
LEVELS_MAX = 255  # thresholds of one channel: values of 8 bits


class GraphError(ValueError):
    """A network, or one layer of it, is outside what BAMAC computes exactly."""


def require(condition: object, message: str) -> None:
    """Raise :class:`GraphError` with ``message`` unless ``condition`` is true."""
    if not condition:
        raise GraphError(message)


def int_array(value: object, what: str, ndim: int) -> Array:
    """``value`` as a read-only int64 array of ``ndim`` dimensions.

    Raises
    ------
    GraphError
        If it has another number of dimensions, or is not of integers; the message begins with
        ``what``.
    """
    array = np.asarray(value)
    require(array.ndim == ndim, f"{what} must have {ndim} dimensions, not shape {array.shape}")
    require(np.issubdtype(array.dtype, np.integer), f"{what} must be integers, not {array.dtype}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def weight_array(value: object, what: str, ndim: int) -> Array:
    """The same of weights, which must not be empty and lie in -127..127."""
    array = int_array(value, what, ndim)
    require(array.size > 0, f"{what} must not be empty, not shape {array.shape}")
    low, high = int(array.min()), int(array.max())
    require(
        -WEIGHT_MAX <= low and high <= WEIGHT_MAX,
        f"{what} must be in -{WEIGHT_MAX}..{WEIGHT_MAX}, not {low}..{high}",
    )
    return array


def size_pair(value: int | Sequence[int], what: str) -> tuple[int, int]:
    """``value`` as (rows, cols); one number counts for both.

    Raises
    ------
    GraphError
        If it is neither, or a number is not positive.
    """
    sizes = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    require(len(sizes) == 2 and min(sizes) >= 1,
            f"{what} must be a positive number, or two (rows, cols), not {value!r}")
    return int(sizes[0]), int(sizes[1])


def level_thresholds(value: object, what: str, channels: int) -> Array:
    """Thresholds of ``channels`` channels, one each or (channels, levels), as read-only int64.

    Raises
    ------
    GraphError
        If they have another shape, are more than 255 a channel, or fall along a channel.
    """
    array = int_array(value, what, 1 if np.ndim(np.asarray(value)) < 2 else 2)
    require(array.shape[0] == channels,
            f"{what} must be one per output channel ({channels}), not {array.shape[0]}")
    if array.ndim == 2:
        require(1 <= array.shape[1] <= LEVELS_MAX,
                f"{what} must be 1..{LEVELS_MAX} per channel, not {array.shape[1]}")
        require((np.diff(array, axis=1) >= 0).all(), f"{what} of a channel must not fall")
    return array
