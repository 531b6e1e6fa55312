"""What a datapath is to everything around it: to geometry, compiler, model and reports."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..abi.descriptors import READ_OUT, Emit, Source
from ..pipeline import COLLECT_LATENCY, LANE_STAGE, READ_OUT_CYCLES

__all__ = ["ArraySizes", "DatapathTraits", "LayerLoops"]

INPUT_BITS = 8    # of a value of the input, at most
VECTOR_BITS = 16  # of a value of a head's vector


class LayerLoops(Protocol):
    """A layer's loop bounds, as a row of the program's layer table names them."""

    @property
    def source(self) -> Source: ...
    @property
    def emit(self) -> Emit: ...
    @property
    def tiles(self) -> int: ...
    @property
    def passes(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def fetches(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    @property
    def shift(self) -> int: ...


class ArraySizes(Protocol):
    """What cycles depend on of a geometry."""

    @property
    def channels(self) -> int: ...
    @property
    def word_channels(self) -> int: ...
    @property
    def start_reads(self) -> int: ...


class DatapathTraits:
    """Traits of a datapath variant with binary maps and the dense walk; the others override them.

    A variant is named by a geometry's ``lane`` and ``walk``. Its traits are plain facts without
    gateware; :mod:`bamac_hw.datapath` has the components. An instance has no state.

    Attributes
    ----------
    lane, walk : str
        The geometry's fields that choose this variant.
    title, walk_title : str
        What reports call its lanes and its walk.
    event_driven : bool
        Whether cycles and weight reads follow the input: weight rows that no pixel of a tile needs
        are not offered.
    int8_maps : bool
        Whether maps hold unsigned values of 8 bits, not bits.
    stores_signs : bool
        Whether an input value is stored as magnitude and sign, not with an offset.
    macs_per_lane : int
        Weights that a lane takes in a cycle, at most; the rows in a word of the weight store.
    step_bits : int
        Activation bits of a pixel that a step of the walk offers.
    max_streams : int
        Independent streams of weight rows, at most.
    min_channels : int
        Channels that a geometry must have.
    """

    lane = "gated"
    walk = "dense"
    title = "gated lanes (one weight added, or not, per lane and cycle)"
    walk_title = "dense walk"
    event_driven = False
    int8_maps = False
    stores_signs = False
    macs_per_lane = 1
    step_bits = 1
    max_streams = 1
    min_channels = 4

    # --- memories

    def word_channels(self, channels: int) -> int:
        """Channels of a map in a word of the line buffers, which has ``channels`` bits."""
        return channels

    @property
    def input_word_bits(self) -> int:
        """Bits of a stored input value."""
        return INPUT_BITS

    @property
    def vector_bits(self) -> int:
        """Bits of a word of the vector memory."""
        return VECTOR_BITS

    def activation_word_bits(self, channels: int) -> int:
        """Bits of the widest activation word: channels of a map, or planes of a value."""
        return max(channels, 2 * INPUT_BITS, VECTOR_BITS)

    @property
    def reads_out_maps(self) -> bool:
        """Whether a layer that reads a map can emit scores without the geometry's ``map_head``."""
        return self.int8_maps

    @property
    def own_bits(self) -> bool:
        """Whether lanes can take the bit of their own channel, for depthwise layers."""
        return self.lane == DatapathTraits.lane

    # --- what the compiler lays out

    def input_offset(self, smallest: int) -> int:
        """What is added to an input value before it is stored; ``smallest`` is the lowest one.

        The dense walk stores a signed value with an offset, so that all its planes count upwards.
        """
        return -smallest

    def planes(self, bits: int) -> int:
        """Steps' worth of planes in a value of ``bits`` bits: one for each bit."""
        return bits

    def plane_rows(self, source: Source) -> int:
        """Weight rows for each activation word with planes of a layer that reads ``source``."""
        return 1

    def pack(self, rows: np.ndarray, source: Source, taps: int) -> np.ndarray:
        """A pass's weight rows in the order of the store.

        Parameters
        ----------
        rows : int array (taps * words, out_channels)
            One row for each kernel tap and input channel (or value), in the order of the walk.
        source : Source
        taps : int

        Returns
        -------
        int array (rows of the store, out_channels)
        """
        return rows

    def sum_bounds(self, start: np.ndarray, low: np.ndarray, high: np.ndarray,
                   rounds: int) -> tuple[int, int]:
        """Smallest and largest value that an accumulator can hold on its way.

        Parameters
        ----------
        start : int array (out_channels,), the start values
        low, high : int array (out_channels,), of the sums of products
        rounds : how often a tile is walked
        """
        return int((start + low).min()), int((start + high).max())

    # --- cycles, of walks that do not depend on the input

    def job_cycles(self, walk: LayerLoops, geometry: ArraySizes) -> dict[str, int]:
        """Cycles of one job's walk by cause: ``compute``, ``fetch``, ``tile``, ``collect``."""
        tiles = walk.tiles * walk.passes
        # Start, and capture; behind each round but the last, the sums are doubled twice.
        ends = 2 * walk.rounds
        return {"compute": tiles * walk.steps, "fetch": tiles * walk.fetches, "tile": ends * tiles,
                "collect": _collect_cycles(walk, geometry, ends + walk.steps + walk.fetches)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: lane {self.lane}, walk {self.walk}>"


def _collect_cycles(walk: LayerLoops, geometry: ArraySizes, between: int) -> int:
    """Cycles in which a walk waits for the serial collector; ``between`` lie between two tiles."""
    channels = [min(geometry.channels, walk.out_channels - number * geometry.channels)
                for number in range(walk.passes)]
    if walk.emit in READ_OUT:
        return sum(LANE_STAGE + count * (READ_OUT_CYCLES + walk.shift) for count in channels)
    if walk.emit == Emit.MAP:
        return 0
    waits = 0
    for number, count in enumerate(channels):
        busy = COLLECT_LATENCY + count
        waits += (walk.tiles - 1) * max(0, busy - between)
        last = number == walk.passes - 1
        waits += max(0, busy - (1 if last else between + geometry.start_reads))
    return waits
