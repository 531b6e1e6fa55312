"""The walk of each layer on a geometry: loop bounds and constants, before anything has an address.

A layer type becomes a walk through a function that :func:`walk_of` registers; those are the native
layers. All others are replaced by native ones first, see :mod:`bamac.compiler.lower`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bamac.ir.bounds import reach
from bamac.ir.checks import SHIFT_MAX, Array
from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer, TensorSpec
from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.abi.frames import row_beats
from bamac_hw.geometry import Geometry
from bamac_hw.traits import DatapathTraits

from .errors import CompileError

__all__ = ["Place", "Walk", "check_chain", "is_native", "walk_of", "walks"]

PASSES_MOST = 256
WORDS_MOST = 4096
ROWS_MOST = 32767
KERNEL_MOST = 7
BEATS_MOST = 65536
POOLS = (1, 2, 4)
# To a type checker, members of Amaranth's enumerations are integers, so they are converted below.
_GLOBAL = {None: Emit.MAP, "max": Emit.GLOBAL_MAX, "sum": Emit.GLOBAL_SUM}
_DENSE = {"raw": Emit.RAW, "unsigned": Emit.UNSIGNED, "bit": Emit.BIT}


@dataclass(frozen=True, eq=False)
class Walk:
    """Loop bounds and constants of a layer.

    A *job* is one row of tiles of the output map, walked in ``passes`` of up to
    ``geometry.channels`` output channels each.

    Parameters
    ----------
    index, name : place in the network, and the layer's name
    source, emit : where activations come from, and what is handed on
    in_channels, out_channels : of the layer
    rows, cols : rows and columns of the input that are used; a pool or a stride may leave out the
        last rows
    kernel, stride, padding, pool : as of :class:`bamac.ir.conv.Conv2d`
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
    weights : int array (taps * in_channels, out_channels), in the order of the walk
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
    stride: int
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
        def along(size: int) -> int:
            return self.stride if size > 1 else 1
        return along(geometry.tile_rows) * along(geometry.tile_cols)

    def pass_channels(self, number: int, geometry: Geometry) -> int:
        """Output channels of pass ``number``."""
        return min(geometry.channels, self.out_channels - number * geometry.channels)


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Parameters
    ----------
    index : number of the layer
    reads : shape and range of its input
    out_rows : rows of its pooled map that later layers use
    geometry : Geometry
    """

    index: int
    reads: TensorSpec
    out_rows: int
    geometry: Geometry


_WALKS: dict[type[Layer], Callable[[Any, Place], Walk]] = {}


def walk_of(layer_class: type[Layer]) -> Callable[[Callable[[Any, Place], Walk]],
                                                   Callable[[Any, Place], Walk]]:
    """Register the function that makes the :class:`Walk` of a layer of ``layer_class``.

    It is called with the layer and its :class:`Place`, and raises :class:`CompileError` for what
    the array cannot compute exactly.
    """
    def register(function: Callable[[Any, Place], Walk]) -> Callable[[Any, Place], Walk]:
        _WALKS[layer_class] = function
        return function
    return register


def is_native(layer_class: type) -> bool:
    """Whether the class itself has a walk, its bases left aside."""
    return layer_class in _WALKS


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def walks(network: IntegerNetwork, geometry: Geometry) -> list[Walk]:
    """The walk of every layer of a network of native layers.

    Raises
    ------
    CompileError
        If a layer has a pool that does not divide the tile, or a size beyond its field; or if the
        maps hold what the lanes cannot take.
    """
    check_chain(network, geometry)
    # From the last map up: rows that no later layer uses are not computed. A layer's last job
    # then always needs the last row of its input, so no layer ends a clip before the one above it.
    steps = list(enumerate(network.steps()))
    maps = [step for step in steps if step[1][0].reads_map]
    out_rows = network.map_shapes()[-1][1]
    found: list[Walk] = []
    for index, (layer, reads) in reversed(maps):
        walk = _walk(layer, Place(index, reads, out_rows, geometry))
        found.insert(0, walk)
        out_rows = walk.rows
    return found + [_walk(layer, Place(index, reads, 1, geometry))
                    for index, (layer, reads) in steps[len(maps):]]


def check_chain(network: IntegerNetwork, geometry: Geometry) -> None:
    """Raise :class:`CompileError` unless the array can hold the network's maps and vectors.

    It takes layers that read maps, the last of which, and no other, ends in a vector, and then
    layers that read vectors.
    """
    maps, vectors = network.map_layers, network.vector_layers
    if not (maps and vectors):
        raise CompileError(f"{network.name}: network must have at least one convolution and one "
                           "dense layer")
    if not network.is_chain:
        name, sources = next(iter(network.inputs.items()))
        raise CompileError(f"{name}: reads {' and '.join(sources)}; the array takes a chain of "
                           "layers, so lower the network first")
    if network.layers != maps + vectors:
        raise CompileError(f"{network.name}: every convolution must come before the first dense "
                           "layer")
    if any(layer.emits_int8 != geometry.int8_maps for layer in maps):
        if len({layer.emits_int8 for layer in maps}) > 1:
            raise CompileError(f"{network.name}: the maps of all convolutions must be alike, bits "
                               "or values")
        what = ("8-bit values, the lanes of array {} take bits; compile for an array with int8 "
                "lanes, such as small_int8" if network.int8_maps else
                "bits, the lanes of array {} take 8-bit values; compile for an array with gated or "
                "pair lanes, such as small")
        raise CompileError(
            f"{network.layers[0].name}: its map holds {what.format(geometry.name)}")
    if not maps[-1].ends_in_vector:
        raise CompileError(f"{maps[-1].name}: the last convolution must end in a global pool")


def _walk(layer: Layer, place: Place) -> Walk:
    for layer_class in type(layer).__mro__:
        if layer_class in _WALKS:
            return _WALKS[layer_class](layer, place)
    raise CompileError(f"{layer.name}: the array has no walk for layers of type "
                       f"{type(layer).__name__}; lower the network first")


@walk_of(Conv2d)
def _conv_walk(conv: Conv2d, place: Place) -> Walk:
    geometry, reads, traits = place.geometry, place.reads, place.geometry.traits
    _check_conv(conv, reads, geometry)
    conv_rows, conv_cols = conv.conv_shape(reads.rows, reads.cols)
    out_cols = conv.pooled_shape(reads.rows, reads.cols)[1]
    stride = conv.strides[0]
    seen_rows = (place.out_rows * conv.pool[0] - 1) * stride - conv.padding[0] + conv.kernel[0]
    first = place.index == 0
    if first:
        _check_input(conv, reads, geometry)
        words = reads.channels
        word_bits = end_bits = traits.planes(_input_bits(reads))
    else:
        words = ceil_div(reads.channels, geometry.word_channels)
        word_bits = geometry.word_channels
        end_bits = reads.channels - (words - 1) * word_bits
    offset = traits.input_offset(reads.low) if first else 0
    passes = ceil_div(conv.out_channels, geometry.channels)
    if passes > PASSES_MOST or words > WORDS_MOST:
        raise CompileError(f"{conv.name}: too many channels for array {geometry.name}; "
                           f"at most {PASSES_MOST * geometry.channels}")
    return Walk(
        index=place.index, name=conv.name, source=Source(Source.INPUT if first else Source.LINE),
        emit=Emit(_GLOBAL[conv.global_pool]),
        in_channels=conv.in_channels, out_channels=conv.out_channels,
        rows=min(reads.rows, seen_rows), cols=reads.cols, kernel=tuple(conv.kernel),
        stride=stride, padding=conv.padding, pool=conv.pool, conv_rows=conv_rows,
        conv_cols=conv_cols, out_rows=place.out_rows, out_cols=out_cols,
        jobs=ceil_div(place.out_rows * conv.pool[0], geometry.tile_rows),
        tiles=ceil_div(out_cols * conv.pool[1], geometry.tile_cols),
        passes=passes, words=words, word_bits=word_bits, end_bits=end_bits,
        out_words=ceil_div(conv.out_channels, geometry.word_channels),
        in_min=reads.low + offset, in_max=reads.high + offset, offset=offset,
        span=(geometry.tile_rows - 1) * stride + conv.kernel[0],
        advance=geometry.tile_rows * stride,
        block_rows=geometry.tile_rows // conv.pool[0],
        weights=conv.weights.transpose(2, 3, 1, 0).reshape(-1, conv.out_channels),
        start=_conv_start(conv, reads, offset), traits=traits,
        shift=conv.shift, pool_shift=conv.pool_shift)


def _check_conv(conv: Conv2d, reads: TensorSpec, geometry: Geometry) -> None:
    if not (conv.emits_bits or conv.emits_int8):
        raise CompileError(f"{conv.name}: its map has {conv.levels + 1} values from {conv.low} to "
                           f"{conv.high}, maps hold bits; lower the network first")
    if conv.groups > 1 or conv.dilation != (1, 1):
        raise CompileError(f"{conv.name}: {conv.groups} groups and dilation {conv.dilation} must "
                           "be written as zeros; lower the network first")
    rows, cols = conv.kernel
    if max(rows, cols) > KERNEL_MOST:
        raise CompileError(f"{conv.name}: kernel must be at most {KERNEL_MOST} x {KERNEL_MOST}, "
                           f"not {rows} x {cols}")
    if conv.strides not in ((1, 1), (2, 2)):
        raise CompileError(f"{conv.name}: stride must be 1 or 2, the same in both directions, "
                           f"not {conv.strides[0]} x {conv.strides[1]}")
    for axis, pool, tile in (("rows", conv.pool[0], geometry.tile_rows),
                             ("columns", conv.pool[1], geometry.tile_cols)):
        if pool not in POOLS or pool > tile:
            raise CompileError(
                f"{conv.name}: pool over {pool} {axis} does not divide the tile of {tile} {axis} "
                f"of array {geometry.name}; pool by 1, 2 or 4 up to the tile's size, "
                f"or choose a larger tile")
    for what, size in (("rows", reads.rows), ("columns", reads.cols)):
        if size > ROWS_MOST:
            raise CompileError(f"{conv.name}: {size} {what} are more than {ROWS_MOST}; "
                               f"cut the input into shorter clips")


def _check_input(conv: Conv2d, reads: TensorSpec, geometry: Geometry) -> None:
    beats = row_beats(reads.channels, reads.cols, geometry.tile_cols)
    if beats > BEATS_MOST or reads.channels > WORDS_MOST:
        raise CompileError(
            f"{conv.name}: a row of {reads.channels} input channels and {reads.cols} columns takes "
            f"{beats} values; at most {BEATS_MOST}, of {WORDS_MOST} channels: cut the input into "
            f"narrower clips")


def _input_bits(reads: TensorSpec) -> int:
    """Bits of a value of the network's input, two's complement if it has negative ones."""
    return reads.high.bit_length() + (reads.low < 0)


def _conv_start(conv: Conv2d, reads: TensorSpec, offset: int) -> Array:
    """What each output channel's accumulator starts from.

    ``-threshold``, so that the output bit is the sign, or the bias of an int8 map; less ``offset``
    for each input, which is stored with it. A threshold beyond what the sums can reach is moved to
    the nearest value with the same meaning.
    """
    made_up: Array = offset * conv.weights.reshape(conv.out_channels, -1).sum(axis=1)
    if conv.bias is not None:
        start: Array = conv.bias - made_up
        return start
    low, high = reach(conv.weights, reads.low, reads.high)
    start = -(np.clip(np.asarray(conv.thresholds), low, high + 1) + made_up)
    return start


@walk_of(Dense)
def _dense_walk(dense: Dense, place: Place) -> Walk:
    geometry, reads, traits = place.geometry, place.reads, place.geometry.traits
    bits = reads.high.bit_length()
    _check_dense(dense, bits, geometry)
    passes = ceil_div(dense.out_channels, geometry.channels)
    planes = traits.planes(bits)
    emit = Emit(_DENSE[dense.emit])
    unsigned = emit == Emit.UNSIGNED
    return Walk(
        index=place.index, name=dense.name, source=Source(Source.VECTOR), emit=emit,
        in_channels=dense.in_channels, out_channels=dense.out_channels, rows=1, cols=1,
        kernel=(1, 1), stride=1, padding=(0, 0, 0, 0), pool=(1, 1), conv_rows=1, conv_cols=1,
        out_rows=1, out_cols=1, jobs=1, tiles=1, passes=passes, words=dense.in_channels,
        word_bits=planes, end_bits=planes, out_words=0, in_min=0, in_max=reads.high, offset=0,
        span=1, advance=geometry.tile_rows, block_rows=geometry.tile_rows,
        weights=dense.weights.T, start=dense.bias, traits=traits,
        shift=dense.shift if unsigned else 0,
        limit=(1 << dense.bits) - 1 if unsigned else 1)


def _check_dense(dense: Dense, bits: int, geometry: Geometry) -> None:
    if bits > geometry.VECTOR_BITS:
        raise CompileError(
            f"{dense.name}: its inputs have {bits} bits, the vector memory {geometry.VECTOR_BITS}; "
            f"use a global max pool, or pool more before it")
    if dense.in_channels > WORDS_MOST:
        raise CompileError(
            f"{dense.name}: {dense.in_channels} inputs are more than {WORDS_MOST}")
    if geometry.int8_maps and not dense.emits_scores:
        if dense.emit != "unsigned" or dense.bits != 8 or dense.shift > SHIFT_MAX:
            raise CompileError(
                f"{dense.name}: int8 lanes hand on unsigned values of 8 bits, shifted by at most "
                f"{SHIFT_MAX}, not {dense.emit}, {dense.bits} bits, shifted by {dense.shift}; "
                f"requantise its outputs")
    for most in (PASSES_MOST * geometry.channels, WORDS_MOST):
        if dense.out_channels > most:
            raise CompileError(f"{dense.name}: {dense.out_channels} outputs are more than {most}")
