"""The weight store's image: start values and weight rows of every layer, and proof that sums fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bamac.ir.bounds import reach
from bamac.ir.checks import Array
from bamac_hw.geometry import Geometry

from .errors import CompileError, DoesNotFitError
from .walks import Walk

__all__ = ["WeightStore", "accumulator_bounds", "place_weights", "weight_image"]


@dataclass(frozen=True, eq=False)
class WeightStore:
    """What the weight store holds.

    Parameters
    ----------
    images : per layer, int8 array (rows, channels)
    bases : per layer, its first row
    """

    images: list[Array]
    bases: list[int]

    @property
    def rows(self) -> int:
        return sum(len(image) for image in self.images)


def place_weights(name: str, walks: list[Walk], geometry: Geometry) -> WeightStore:
    """The images of all layers, one behind the other.

    Raises
    ------
    CompileError
        If a sum of a layer could leave the accumulator.
    DoesNotFitError
        If network ``name`` needs more rows than the store has.
    """
    store = WeightStore([], [])
    for walk in walks:
        store.bases.append(store.rows)
        store.images.append(weight_image(walk, geometry))
    if store.rows > geometry.weight_rows:
        raise DoesNotFitError(
            f"{name}: {store.rows} weight rows of {geometry.channels} bytes do not fit array "
            f"{geometry.name}, which has {geometry.weight_rows}")
    return store


def accumulator_bounds(walk: Walk) -> tuple[int, int]:
    """Smallest and largest value that any partial sum of any channel can take."""
    low, high = reach(walk.weights.T, walk.in_min, walk.in_max)
    return walk.traits.sum_bounds(walk.start, low, high, walk.rounds)


def weight_image(walk: Walk, geometry: Geometry) -> Array:
    """A layer's rows of the weight store, int8 (rows, channels).

    For each pass: rows of start-value bytes, least significant first, as many as fill whole words
    of the store; then the rows of each kernel tap and input channel, as the datapath packs them.
    Lanes without a channel start at -1 and never change.

    Raises
    ------
    CompileError
        If a sum could leave the accumulator.
    """
    _check_sums(walk, geometry)
    packed = walk.traits.pack(walk.weights, walk.source, walk.taps)
    rows = []
    for number in range(walk.passes):
        channels = walk.pass_channels(number, geometry)
        chosen = slice(number * geometry.channels, number * geometry.channels + channels)
        start = np.full(geometry.channels, -1, np.int64)
        start[:channels] = walk.start[chosen]
        for byte in range(geometry.start_reads * geometry.store_rows):
            rows.append(((start >> (8 * byte)) & 0xFF).astype(np.uint8).view(np.int8)[None])
        body = np.zeros((len(packed), geometry.channels), np.int8)
        body[:, :channels] = packed[:, chosen]
        rows.append(body)
    return np.concatenate(rows)


def _check_sums(walk: Walk, geometry: Geometry) -> None:
    low, high = accumulator_bounds(walk)
    if low < geometry.acc_min or high > geometry.acc_max:
        bits = max(low.bit_length() if low >= 0 else (-low - 1).bit_length(),
                   high.bit_length()) + 1
        wider = f", or a geometry with acc_bits = {bits}" if bits <= 32 else ""
        raise CompileError(
            f"{walk.name}: sums reach {low}..{high} and need {bits}-bit accumulators, "
            f"array {geometry.name} has {geometry.acc_bits}; use smaller weights or inputs{wider}")
