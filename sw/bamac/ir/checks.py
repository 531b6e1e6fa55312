"""The error that the integer network raises, and the checks that its layers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "GraphError", "int_array", "require", "weight_array"]

Array = npt.NDArray[Any]
WEIGHT_MAX = 127  # symmetric int8, so that a negative scale can be folded into the weights
VALUE_MAX = 255   # of an 8-bit map
SHIFT_MAX = 15    # of a layer that requantises to an 8-bit map


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
