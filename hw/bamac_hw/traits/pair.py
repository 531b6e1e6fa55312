"""Traits of lanes that take two weight rows per cycle."""

from __future__ import annotations

import numpy as np

from ..abi.descriptors import Source
from .base import DatapathTraits

__all__ = ["PairTraits"]


class PairTraits(DatapathTraits):
    """Lanes that add 0, one of two weights, or both, per cycle.

    A word of the weight store is two rows: those of two channels of a map, or a weight and its
    double for values with planes. Such values are walked once for every two planes.
    """

    lane = "pair"
    title = "pair lanes (two weights per cycle)"
    macs_per_lane = 2
    step_bits = 2

    def plane_rows(self, source: Source) -> int:
        return 1 if source == Source.LINE else 2

    def pack(self, rows: np.ndarray, source: Source, taps: int) -> np.ndarray:
        channels = rows.shape[1]
        if source != Source.LINE:
            # The store holds the low eight bits of the double.
            double = (2 * rows + 128) % 256 - 128
            return np.stack([rows, double], axis=1).reshape(-1, channels)
        by_tap = rows.reshape(taps, -1, channels)
        if by_tap.shape[1] % 2:
            by_tap = np.pad(by_tap, ((0, 0), (0, 1), (0, 0)))
        return by_tap.reshape(-1, channels)

    def sum_bounds(self, start: np.ndarray, low: np.ndarray, high: np.ndarray,
                   rounds: int) -> tuple[int, int]:
        if rounds == 1:
            return super().sum_bounds(start, low, high, rounds)
        # The start value comes after all rounds but the last.
        return int(np.minimum(low, start + low).min()), int(np.maximum(high, start + high).max())
