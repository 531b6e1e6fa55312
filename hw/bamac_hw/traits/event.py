"""Traits of gated lanes under the event-driven walk."""

from __future__ import annotations

import numpy as np

from ..abi.descriptors import Source
from .base import INPUT_BITS, ArraySizes, DatapathTraits, LayerLoops

__all__ = ["EventTraits"]


class EventTraits(DatapathTraits):
    """Gated lanes that are offered only the weight rows for which a pixel of the tile has a 1.

    An input value is stored as sign and magnitude. Its planes of either sign have a weight row of
    their own, so that no lane subtracts.
    """

    walk = "event"
    walk_title = "event-driven walk"
    event_driven = True
    stores_signs = True
    max_streams = 2

    @property
    def input_word_bits(self) -> int:
        return INPUT_BITS + 1

    def input_offset(self, smallest: int) -> int:
        return 0

    def plane_rows(self, source: Source) -> int:
        return 2 if source == Source.INPUT else 1

    def pack(self, rows: np.ndarray, source: Source, taps: int) -> np.ndarray:
        if self.plane_rows(source) == 1:
            return rows
        return np.stack([rows, -rows], axis=1).reshape(-1, rows.shape[1])

    def job_cycles(self, walk: LayerLoops, geometry: ArraySizes) -> dict[str, int]:
        raise ValueError("Cycles of the event-driven walk depend on the input")
