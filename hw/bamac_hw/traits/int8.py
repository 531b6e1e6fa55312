"""Traits of lanes that multiply int8 weights by 8-bit activations: the baseline."""

from __future__ import annotations

import numpy as np

from ..abi.descriptors import Emit
from ..pipeline import LANE_STAGE, SCORE_CYCLES
from .base import ArraySizes, DatapathTraits, LayerLoops

__all__ = ["Int8DspTraits", "Int8Traits"]

VALUE_BITS = 8  # of the maps
SUM_BITS = 24   # of global sums, in the vector memory
COLLECTOR_BEHIND = 4  # cycles that the collector takes longer than the write-back


class Int8Traits(DatapathTraits):
    """Lanes that multiply a weight by a whole activation of 8 bits per cycle, by shift and add.

    ``multiplier`` names how, ``lane_latency`` the cycles from a value to the sum that holds it.
    """

    lane = "int8"
    title = "int8 lanes (a shift-and-add multiplier each)"
    int8_maps = True
    step_bits = VALUE_BITS
    min_channels = VALUE_BITS
    multiplier = "shift-add"
    lane_latency = 5

    def word_channels(self, channels: int) -> int:
        return channels // VALUE_BITS

    @property
    def vector_bits(self) -> int:
        return SUM_BITS

    def activation_word_bits(self, channels: int) -> int:
        return channels

    def planes(self, bits: int) -> int:
        return 1

    def sum_bounds(self, start: np.ndarray, low: np.ndarray, high: np.ndarray,
                   rounds: int) -> tuple[int, int]:
        # Start values are added where the sums are read out, which has a bit more.
        return (min(int(low.min()), int(start.min())), max(int(high.max()), int(start.max())))

    def read_out_cycles(self, geometry: ArraySizes, *, one_by_one: bool) -> int:
        """Cycles in which a tile is read: a word of channels in each, or a channel."""
        return geometry.channels // (1 if one_by_one else geometry.word_channels)

    @property
    def sums_wait(self) -> int:
        """Cycles from a walk's last step until all sums of the tile are there."""
        return LANE_STAGE - 1 + self.lane_latency

    def read_out_wait(self, geometry: ArraySizes, *, one_by_one: bool, last: bool) -> int:
        """Cycles in which the walk waits after the end of a tile.

        The next tile's first step clears the sums when they have been read. Behind the ``last``
        tile of a pass the start values change, or another job begins: the walk then waits until the
        vector memory or the line buffer is written.
        """
        cycles = self.read_out_cycles(geometry, one_by_one=one_by_one)
        return cycles + (self.lane_latency + COLLECTOR_BEHIND if last else -2)

    def job_cycles(self, walk: LayerLoops, geometry: ArraySizes) -> dict[str, int]:
        """As of the base, plus the read-out of each tile, during which the walk waits."""
        tiles = walk.tiles * walk.passes
        cycles = {"compute": tiles * walk.steps, "fetch": tiles * walk.fetches, "tile": 2 * tiles,
                  "collect": 0}
        if walk.emit == Emit.RAW:
            cycles["collect"] = walk.passes * self.sums_wait + walk.out_channels * SCORE_CYCLES
            return cycles
        within, behind = (self.read_out_wait(geometry, one_by_one=walk.emit != Emit.MAP, last=last)
                          for last in (False, True))
        cycles["tile"] += walk.passes * ((walk.tiles - 1) * within + behind)
        return cycles


class Int8DspTraits(Int8Traits):
    """The same with a DSP block for each lane."""

    lane = "int8_dsp"
    title = "int8 lanes (a DSP block each)"
    multiplier = "dsp"
    lane_latency = 3
