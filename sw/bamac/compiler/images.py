"""The weight store's image: start values and weight rows of every layer, and proof that sums fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bamac.ir.bounds import reach
from bamac.ir.checks import Array
from bamac_hw.abi.descriptors import Source
from bamac_hw.geometry import Geometry

from .errors import CompileError, DoesNotFitError
from .walk import Walk, ceil_div

__all__ = ["WeightStore", "accumulator_bounds", "mask_image", "place_weights", "weight_image"]

MASK_ROWS_MOST = 4095


@dataclass(frozen=True, eq=False)
class WeightStore:
    """What the weight store holds.

    Parameters
    ----------
    images : per layer, int8 array (rows, channels)
    bases : per layer, the first row of its passes; the rows of its masks are in front of it
    mask_rows : per layer, how many those are
    """

    images: list[Array]
    bases: list[int]
    mask_rows: list[int]

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
    images = [weight_image(walk, geometry) for walk in walks]
    masks = [mask_image(walk, image, geometry) for walk, image in zip(walks, images, strict=True)]
    if sum(map(len, [*images, *masks])) > geometry.weight_rows:
        masks = [image[:0] for image in masks]  # cycles are saved where there is room for it
    store = WeightStore([], [], [])
    for image, mask in zip(images, masks, strict=True):
        store.bases.append(store.rows + len(mask))
        store.images.append(np.concatenate([mask, image]))
        store.mask_rows.append(len(mask))
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


def mask_image(walk: Walk, image: Array, geometry: Geometry) -> Array:
    """Rows of the masks of a layer, int8 (rows, channels): none if they would save nothing.

    A mask has a bit for each channel of an activation word, 0 if the channel's weight row in
    ``image`` is all zeros; all alike where a word has one row, as that of an input value has. Eight
    masks lie in a row, in the order of the walk, and a pass begins with a new row.
    """
    none = image[:0]
    if not geometry.zero_rows or walk.source == Source.VECTOR:
        return none
    starts = geometry.start_reads * geometry.store_rows
    rows: Array = (image.reshape(walk.passes, -1, geometry.channels)[:, starts:] != 0).any(axis=2)
    words = walk.taps * walk.words
    bits = np.zeros((walk.passes, ceil_div(words, 8) * 8, geometry.channels), bool)
    if walk.source == Source.INPUT or walk.depthwise:
        of_words: Array = rows.reshape(walk.passes, words, -1).max(axis=2, keepdims=True)
        bits[:, :words] = of_words
    else:
        by_tap = rows.reshape(walk.passes, walk.taps, -1)
        padded = np.zeros((walk.passes, walk.taps, walk.words * walk.word_bits), bool)
        padded[:, :, :by_tap.shape[2]] = by_tap
        bits[:, :words] = padded.reshape(walk.passes, words, walk.word_bits)
    packed = np.packbits(bits.reshape(-1, 8 * geometry.channels), axis=1, bitorder="little")
    worth = len(packed) < int((~rows).sum()) and len(packed) <= MASK_ROWS_MOST
    return packed.view(np.int8) if worth else none


def _check_sums(walk: Walk, geometry: Geometry) -> None:
    low, high = accumulator_bounds(walk)
    if low < geometry.acc_min or high > geometry.acc_max:
        bits = max(low.bit_length() if low >= 0 else (-low - 1).bit_length(),
                   high.bit_length()) + 1
        wider = f", or a geometry with acc_bits = {bits}" if bits <= 32 else ""
        raise CompileError(
            f"{walk.name}: sums reach {low}..{high} and need {bits}-bit accumulators, "
            f"array {geometry.name} has {geometry.acc_bits}; use smaller weights or inputs{wider}")
