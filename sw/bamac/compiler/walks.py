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

from .errors import CompileError
from .walk import Walk, ceil_div

__all__ = ["Place", "Walk", "check_chain", "is_native", "runs_depthwise", "walk_of", "walks"]

PASSES_MOST = 256
WORDS_MOST = 4096
ROWS_MOST = 32767
BEATS_MOST = 65536
POOLS = (1, 2, 4)
# To a type checker, members of Amaranth's enumerations are integers, so they are converted below.
_GLOBAL = {None: Emit.MAP, "max": Emit.GLOBAL_MAX, "sum": Emit.GLOBAL_SUM}
_DENSE = {"raw": Emit.RAW, "unsigned": Emit.UNSIGNED, "bit": Emit.BIT}


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
    found: list[Walk] = []
    out_rows = 1
    for index, (layer, reads) in reversed(list(enumerate(network.steps()))):
        if layer.reads_map and layer.ends_in_vector:
            out_rows = layer.map_shape(reads.shape)[1]
        walk = _walk(layer, Place(index, reads, out_rows, geometry))
        found.insert(0, walk)
        out_rows = walk.rows if reads.is_map else 1
    return found


def check_chain(network: IntegerNetwork, geometry: Geometry) -> None:
    """Raise :class:`CompileError` unless the array can hold the network's maps and vectors.

    It takes a chain of layers: those that read maps, then those that read vectors.
    """
    if not network.is_chain:
        name, sources = next(iter(network.inputs.items()))
        raise CompileError(f"{name}: reads {' and '.join(sources)}; the array takes a chain: "
                           "let every layer read the one before it alone")
    maps = network.map_layers
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
    zero_point = network.input.zero_point
    if zero_point and geometry.traits.stores_signs and not geometry.zero_points:
        raise CompileError(
            f"{network.name}: array {geometry.name} stores an input value's magnitude, so the "
            f"input's zero point must be 0, not {zero_point}; use an array with zero_points = "
            f"true, such as general, or one with the dense walk, such as small")


def _walk(layer: Layer, place: Place) -> Walk:
    for layer_class in type(layer).__mro__:
        if layer_class in _WALKS:
            return _WALKS[layer_class](layer, place)
    raise CompileError(f"{layer.name}: the array has no walk for layers of type "
                       f"{type(layer).__name__}; register one, or a lowering")


@dataclass(frozen=True)
class _Words:
    """Activation words of a layer that reads a map or the input: fields of :class:`Walk`."""

    source: Source
    words: int
    word_bits: int
    end_bits: int
    offset: int

    @classmethod
    def of(cls, place: Place) -> _Words:
        geometry, reads = place.geometry, place.reads
        traits = geometry.traits
        if place.index == 0:
            planes = traits.planes(_input_bits(reads))
            return cls(Source(Source.INPUT), reads.channels, planes, planes,
                       traits.input_offset(reads.low))
        words = ceil_div(reads.channels, geometry.word_channels)
        return cls(Source(Source.LINE), words, geometry.word_channels,
                   reads.channels - (words - 1) * geometry.word_channels, 0)


@walk_of(Conv2d)
def _conv_walk(conv: Conv2d, place: Place) -> Walk:
    geometry, reads, of = place.geometry, place.reads, _Words.of(place)
    depthwise = runs_depthwise(conv, place.index, geometry)
    _check_conv(conv, reads, geometry, depthwise=depthwise)
    _check_map(conv, place)
    conv_rows, conv_cols = conv.conv_shape(reads.rows, reads.cols)
    out_cols = conv.pooled_shape(reads.rows, reads.cols)[1]
    stride = conv.strides
    seen_rows = (place.out_rows * conv.pool[0] - 1) * stride[0] - conv.padding[0] + conv.kernel[0]
    return Walk(
        index=place.index, name=conv.name, source=of.source, emit=Emit(_GLOBAL[conv.global_pool]),
        in_channels=conv.in_channels, out_channels=conv.out_channels,
        rows=min(reads.rows, seen_rows), cols=reads.cols, kernel=tuple(conv.kernel),
        stride=stride, padding=conv.padding, pool=conv.pool, conv_rows=conv_rows,
        conv_cols=conv_cols, out_rows=place.out_rows, out_cols=out_cols,
        jobs=ceil_div(place.out_rows * conv.pool[0], geometry.tile_rows),
        tiles=ceil_div(out_cols * conv.pool[1], geometry.tile_cols),
        passes=ceil_div(conv.out_channels, geometry.channels),
        words=1 if depthwise else of.words, word_bits=1 if depthwise else of.word_bits,
        end_bits=1 if depthwise else of.end_bits,
        out_words=ceil_div(conv.out_channels, geometry.word_channels),
        in_min=reads.low + of.offset, in_max=reads.high + of.offset, offset=of.offset,
        span=(geometry.tile_rows - 1) * stride[0] + conv.kernel[0],
        advance=geometry.tile_rows * stride[0],
        block_rows=geometry.tile_rows // conv.pool[0],
        weights=conv.weights.transpose(2, 3, 1, 0).reshape(-1, conv.out_channels),
        start=_conv_start(conv, reads, of.offset), traits=geometry.traits,
        shift=conv.shift, pool_shift=conv.pool_shift, depthwise=depthwise)


def runs_depthwise(conv: Conv2d, index: int, geometry: Geometry) -> bool:
    """Whether the array computes layer ``index`` with a weight for each tap and channel alone.

    That is a convolution of a map with as many groups as channels in and out.
    """
    return bool(geometry.depthwise and index > 0 and conv.dilations == (1, 1)
                and 1 < conv.groups == conv.in_channels == conv.out_channels)


def _check_conv(conv: Conv2d, reads: TensorSpec, geometry: Geometry, *, depthwise: bool) -> None:
    if not (conv.emits_bits or conv.emits_int8):
        raise CompileError(f"{conv.name}: its map has {conv.levels + 1} values from {conv.low} to "
                           f"{conv.high}, the array takes bits; use one threshold per channel, "
                           "with low = 0 and step = 1")
    if (conv.groups > 1 and not depthwise) or conv.dilations != (1, 1):
        raise CompileError(
            f"{conv.name}: array {geometry.name} takes one group and dilation 1, not groups = "
            f"{conv.groups} and dilation = {conv.dilations}; write them as zeros among the weights")
    rows, cols = conv.kernel
    most = geometry.kernel_most
    if max(rows, cols) > most:
        raise CompileError(f"{conv.name}: kernel must be at most {most} x {most} on array "
                           f"{geometry.name}, not {rows} x {cols}{_larger_kernels(rows, cols)}")
    down, across = conv.strides
    if max(down, across) > 2 or (down != across and not geometry.axis_strides):
        alike = "" if geometry.axis_strides else ", the same in both directions,"
        way_out = ("use an array with axis_strides = true, such as general"
                   if max(down, across) == 2 else
                   "strides of 4, 8 and 16 are made of several, and the first layer takes any")
        raise CompileError(f"{conv.name}: stride must be 1 or 2{alike} on array {geometry.name}, "
                           f"not {down} x {across}; {way_out}")
    for axis, pool, tile in (("rows", conv.pool[0], geometry.tile_rows),
                             ("columns", conv.pool[1], geometry.tile_cols)):
        if pool not in POOLS or pool > tile:
            raise CompileError(
                f"{conv.name}: pool over {pool} {axis} does not divide the tile of {tile} {axis} "
                f"of array {geometry.name}; pool by 1, 2 or 4 up to the tile's size"
                f"{', or choose a larger tile' if pool in POOLS else ''}")


def _check_map(layer: Layer, place: Place) -> None:
    """Check what every layer that reads a map or the input must keep to."""
    geometry, reads, of = place.geometry, place.reads, _Words.of(place)
    for what, size in (("rows", reads.rows), ("columns", reads.cols)):
        if size > ROWS_MOST:
            raise CompileError(f"{layer.name}: {size} {what} are more than {ROWS_MOST}; "
                               f"cut the input into shorter clips")
    if ceil_div(layer.out_channels, geometry.channels) > PASSES_MOST or of.words > WORDS_MOST:
        raise CompileError(f"{layer.name}: too many channels for array {geometry.name}; "
                           f"at most {PASSES_MOST * geometry.channels}")
    beats = row_beats(reads.channels, reads.cols, geometry.tile_cols,
                      interleaved=geometry.interleaved)
    if place.index == 0 and beats > BEATS_MOST:
        raise CompileError(
            f"{layer.name}: a row of {reads.channels} input channels and {reads.cols} columns "
            f"takes {beats} values, more than {BEATS_MOST}; cut the input into narrower clips")


def _input_bits(reads: TensorSpec) -> int:
    """Bits of a stored value of the network's input, whose lowest one is stored as 0."""
    return (reads.high - reads.low).bit_length()


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
    start = -(np.clip(np.asarray(conv.thresholds).reshape(-1), low, high + 1) + made_up)
    return start


@walk_of(Dense)
def _dense_walk(dense: Dense, place: Place) -> Walk:
    geometry, reads, traits = place.geometry, place.reads, place.geometry.traits
    _check_outputs(dense, geometry)
    if reads.is_map:
        of, rows, cols = _Words.of(place), reads.rows, reads.cols
        _check_flattened(dense, place)
        weights = dense.weights.reshape(-1, *reads.shape).transpose(2, 3, 1, 0)
    else:
        rows = cols = 1
        _check_vector(dense, reads, geometry)
        planes = traits.planes(reads.high.bit_length())
        of = _Words(Source(Source.VECTOR), dense.in_channels, planes, planes, 0)
        weights = dense.weights.T
    emit = Emit(_DENSE[dense.emit])
    unsigned = emit == Emit.UNSIGNED
    return Walk(
        index=place.index, name=dense.name, source=of.source, emit=emit,
        in_channels=reads.channels, out_channels=dense.out_channels, rows=rows, cols=cols,
        kernel=(rows, cols), stride=(1, 1), padding=(0, 0, 0, 0), pool=(1, 1), conv_rows=1,
        conv_cols=1, out_rows=1, out_cols=1, jobs=1, tiles=1,
        passes=ceil_div(dense.out_channels, geometry.channels), words=of.words,
        word_bits=of.word_bits, end_bits=of.end_bits, out_words=0, in_min=reads.low + of.offset,
        in_max=reads.high + of.offset, offset=of.offset,
        span=geometry.tile_rows - 1 + rows if reads.is_map else 1,
        advance=geometry.tile_rows, block_rows=geometry.tile_rows,
        weights=weights.reshape(-1, dense.out_channels),
        start=dense.bias - of.offset * dense.weights.sum(axis=1), traits=traits,
        shift=dense.shift if unsigned else 0,
        limit=(1 << dense.bits) - 1 if unsigned else 1)


def _check_flattened(dense: Dense, place: Place) -> None:
    """Check a dense layer that reads a whole map: a convolution of the map's size."""
    geometry, reads = place.geometry, place.reads
    _check_map(dense, place)
    if not (geometry.map_head or geometry.traits.reads_out_maps):
        raise CompileError(
            f"{dense.name}: it reads a map, and array {geometry.name} reads out dense layers of "
            f"vectors alone; use an array with map_head = true, such as general, or a global pool "
            f"in front of it")
    most = geometry.kernel_most
    if max(reads.rows, reads.cols) > most:
        raise CompileError(
            f"{dense.name}: it reads a map of {reads.rows} x {reads.cols}, and kernels of array "
            f"{geometry.name} are at most {most} x {most}; pool more in front of it"
            f"{_larger_kernels(reads.rows, reads.cols, joint=', or ')}")


def _larger_kernels(rows: int, cols: int, joint: str = "; ") -> str:
    """A way out for a kernel that is too large, if there is one."""
    if max(rows, cols) > 15:
        return ""
    return f"{joint}use an array with kernel_most = 15, such as general"


def _check_vector(dense: Dense, reads: TensorSpec, geometry: Geometry) -> None:
    bits = reads.high.bit_length()
    if reads.low < 0:
        raise CompileError(f"{dense.name}: its inputs go down to {reads.low}, vectors hold "
                           f"unsigned values; use levels that begin at 0")
    if bits > geometry.VECTOR_BITS:
        raise CompileError(
            f"{dense.name}: its inputs have {bits} bits, the vector memory {geometry.VECTOR_BITS}; "
            f"use a global max pool, or pool more before it")
    if dense.in_channels > WORDS_MOST:
        raise CompileError(
            f"{dense.name}: {dense.in_channels} inputs are more than {WORDS_MOST}")


def _check_outputs(dense: Dense, geometry: Geometry) -> None:
    if dense.emit not in _DENSE:
        raise CompileError(f"{dense.name}: it emits {dense.emit}, the array {', '.join(_DENSE)}; "
                           f"use bits, or values that a shift gives")
    if geometry.int8_maps and not dense.emits_scores:
        if dense.emit != "unsigned" or dense.bits != 8 or dense.shift > SHIFT_MAX:
            raise CompileError(
                f"{dense.name}: int8 lanes hand on unsigned values of 8 bits, shifted by at most "
                f"{SHIFT_MAX}, not {dense.emit}, {dense.bits} bits, shifted by {dense.shift}; "
                f"requantise its outputs")
    for most in (PASSES_MOST * geometry.channels, WORDS_MOST):
        if dense.out_channels > most:
            raise CompileError(f"{dense.name}: {dense.out_channels} outputs are more than {most}")
