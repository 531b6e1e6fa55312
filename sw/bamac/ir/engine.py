"""Exact integer arithmetic on floating point, chosen by how far a sum can reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import GraphError

__all__ = ["exact_dtype"]

# Types in the order of speed, with the largest integer up to which they are exact.
_ENGINES: tuple[tuple[type[np.floating[Any]], int], ...] = (
    (np.float32, 1 << 24), (np.float64, 1 << 53))


def exact_dtype(name: str, magnitude: int) -> type[np.floating[Any]]:
    """The fastest type that holds every integer up to ``magnitude``.

    Raises
    ------
    GraphError
        If none does; the message names layer ``name``.
    """
    for dtype, exact in _ENGINES:
        if magnitude < exact:
            return dtype
    raise GraphError(f"{name}: accumulators must stay below 2^53, not reach {magnitude}")
