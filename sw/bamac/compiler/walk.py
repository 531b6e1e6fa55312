"""What a layer is to the array: loop bounds and constants, before anything has an address."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from bamac.ir.checks import Array
from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.geometry import Geometry
from bamac_hw.traits import DatapathTraits

__all__ = ["Walk", "ceil_div"]


def ceil_div(a: int, b: int) -> int:
    """``a / b``, rounded up."""
    return -(-a // b)


@dataclass(frozen=True, eq=False)
class Walk:
    """Loop bounds and constants of a layer.

    A *job* is one row of tiles of the output map, walked in ``passes`` of up to
    ``geometry.channels`` output channels each.

    Parameters
    ----------
    index, name : place in the network, and the layer's name
    source, emit : where activations come from, and what is handed on
    in_channels, out_channels : channels of the map (values of the vector) that the layer reads, and
        of its own
    rows, cols : rows and columns of the input that are used; a pool or a stride may leave out the
        last rows
    kernel, stride, padding, pool : as of :class:`bamac.ir.conv.Conv2d`; a dense layer that reads
        a map is a convolution of the map's size
    conv_rows, conv_cols : of the map before pooling
    out_rows, out_cols : of the pooled map, as far as later layers use it
    jobs, tiles, passes : jobs of a clip, tiles of a job, and passes
    words, word_bits, end_bits : activation words per kernel tap, activations in each, and in the
        last one. An activation is a bit of a map, a plane of a value, or, with int8 maps, a value.
        The first layer has a word for each channel of the input
    out_words : words for a pixel of the output map
    in_min, in_max, offset : range of what the lanes are offered: the layer's own values plus
        ``offset``
    span, advance, block_rows : input rows under a job, which begins at row ``job * advance -
        padding[0]``; rows of the pooled map that a job writes
    depthwise : whether a pass takes one word of a pixel, and each lane its own channel's bit of it
    weights : int array (taps * in_channels, out_channels), in the order of the walk; of a depthwise
        layer (taps, out_channels)
    start : int64 array (out_channels,), what each accumulator starts from
    shift, pool_shift, limit : of the requantisation
    traits : the datapath's
    """

    index: int
    name: str
    source: Source
    emit: Emit
    in_channels: int
    out_channels: int
    rows: int
    cols: int
    kernel: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, ...]
    pool: tuple[int, ...]
    conv_rows: int
    conv_cols: int
    out_rows: int
    out_cols: int
    jobs: int
    tiles: int
    passes: int
    words: int
    word_bits: int
    end_bits: int
    out_words: int
    in_min: int
    in_max: int
    offset: int
    span: int
    advance: int
    block_rows: int
    weights: Array
    start: Array
    traits: DatapathTraits
    shift: int = 0
    pool_shift: int = 0
    limit: int = 1
    depthwise: bool = False

    @property
    def pixel_words(self) -> int:
        """Activation words of a pixel of the input."""
        return self.passes if self.depthwise else self.words

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def bits(self) -> int:
        """Activations per pixel of a tile."""
        return self.taps * ((self.words - 1) * self.word_bits + self.end_bits)

    @property
    def _planes_in_step(self) -> bool:
        """Whether a step takes several planes of a value, not one."""
        return self.source != Source.LINE and self.traits.macs_per_lane > 1

    @property
    def rounds(self) -> int:
        """How often a tile is walked: once for every two planes with pair lanes."""
        return (ceil_div(self.word_bits, self.traits.macs_per_lane) if self._planes_in_step else 1)

    @property
    def steps(self) -> int:
        """Cycles per tile and pass in which lanes may add."""
        if self._planes_in_step:
            return self.rounds * self.taps * self.words
        per_step = self.traits.macs_per_lane
        return self.taps * ((self.words - 1) * ceil_div(self.word_bits, per_step)
                            + ceil_div(self.end_bits, per_step))

    @property
    def rows_per_pass(self) -> int:
        """Words of the weight store read per tile and pass by a walk that takes every row."""
        if self.source == Source.LINE or self._planes_in_step:
            return self.steps
        return self.taps * self.words * self.traits.plane_rows(self.source)

    def phases(self, geometry: Geometry) -> int:
        """Window fetches per activation word: more than one where a stride meets one bank."""
        tile = geometry.tile_rows, geometry.tile_cols
        return prod(stride for stride, size in zip(self.stride, tile, strict=True) if size > 1)

    def pass_channels(self, number: int, geometry: Geometry) -> int:
        """Output channels of pass ``number``."""
        return min(geometry.channels, self.out_channels - number * geometry.channels)
