"""The walk of one layer on one geometry: loop bounds, before anything has an address."""

from dataclasses import dataclass

from bamac.ir.network import SHIFT_MAX, VALUE_MAX, Conv2d
from bamac_hw.abi.descriptors import Emit, Source

from .errors import CompileError

__all__ = ["Walk", "walks"]


@dataclass(frozen=True)
class Walk:
    """Loop bounds of a layer.

    ``rows`` and ``out_rows`` count the rows of the input and (pooled) output that are used: a pool
    or a stride may leave out the last ones. A *job* is one row of tiles; ``tiles`` per job and
    pass; ``words`` activation words per kernel tap, of ``word_bits`` bits and a last one of
    ``end_bits``; a pixel of its output map has ``out_words``. With int8 lanes, bits are values
    here. ``span`` input rows are under a job, which begins at ``job * advance - padding
    top``. Lanes are offered values of ``in_min``..``in_max``, which are the layer's own plus
    ``offset``. A word of planes has ``word_rows`` weight rows: with two, the second is the first's
    negative (event-driven walk) or its double (pair lanes). A step offers ``step_bits`` bits of a
    pixel.
    """

    index: int
    layer: object
    source: Source
    emit: Emit
    rows: int
    cols: int
    kernel: tuple
    stride: int
    padding: tuple
    pool: tuple
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
    word_rows: int
    step_bits: int
    bits_are_values: bool
    span: int
    advance: int
    block_rows: int

    @property
    def taps(self):
        return self.kernel[0] * self.kernel[1]

    @property
    def bits_per_tap(self):
        return (self.words - 1) * self.word_bits + self.end_bits

    @property
    def bits(self):
        """Activation bits per pixel of a tile (int8 lanes: values)."""
        return self.taps * self.bits_per_tap

    @property
    def rounds(self):
        """How often a tile is walked: pair lanes take two binary planes at a time."""
        planes = 1 if self.source == Source.LINE or self.step_bits == 1 else self.word_bits
        return _ceil_div(planes, self.step_bits)

    @property
    def steps(self):
        """Cycles per tile and pass in which lanes may add."""
        if self.source != Source.LINE and self.step_bits > 1:
            return self.rounds * self.taps * self.words
        return self.taps * ((self.words - 1) * _ceil_div(self.word_bits, self.step_bits)
                            + _ceil_div(self.end_bits, self.step_bits))

    @property
    def rows_per_pass(self):
        """Words of the weight store read per tile and pass."""
        if self.source == Source.LINE or self.step_bits > 1:
            return self.steps
        return self.taps * self.words * self.word_rows

    def phases(self, geometry):
        """Window fetches per activation word: more than one where a stride meets one bank."""
        def along(size):
            return self.stride if size > 1 else 1
        return along(geometry.tile_rows) * along(geometry.tile_cols)

    def pass_channels(self, number, geometry):
        """Output channels of pass ``number``."""
        return min(geometry.channels, self.layer.out_channels - number * geometry.channels)


def _ceil_div(a, b):
    return -(-a // b)


def walks(network, geometry):
    """The walk of every layer.

    Raises
    ------
    CompileError
        If a layer has a pool that does not divide the tile, or a size beyond its field; or if the
        maps hold what the lanes cannot take.
    """
    if network.values != geometry.int8_maps:
        what = ("8-bit values, the lanes of array {} take bits; compile for an array with int8 "
                "lanes, such as small_int8" if network.values else
                "bits, the lanes of array {} take 8-bit values; compile for an array with gated or "
                "pair lanes, such as small")
        raise CompileError(f"{network.convs[0].name}: its map holds {what.format(geometry.name)}")
    # From the last map up: rows that no later layer looks at are not computed. So a layer's last
    # job always needs its input's last row, and a layer never ends a clip before the one above.
    shapes = network.map_shapes()
    out_rows = shapes[-1][1]
    convs = []
    for index in reversed(range(len(network.convs))):
        walk = _conv(network, geometry, index, out_rows)
        convs.insert(0, walk)
        out_rows = walk.rows
    return convs + [_dense(network, geometry, k) for k in range(len(network.denses))]


def _conv(network, geometry, index, out_rows):
    conv: Conv2d = network.convs[index]
    channels, rows, cols = network.map_shapes()[index]
    for axis, pool, tile in (("rows", conv.pool[0], geometry.tile_rows),
                             ("columns", conv.pool[1], geometry.tile_cols)):
        if pool not in (1, 2, 4) or pool > tile:
            raise CompileError(
                f"{conv.name}: pool over {pool} {axis} does not divide the tile of {tile} {axis} "
                f"of array {geometry.name}; pool by 1, 2 or 4 up to the tile's size, "
                f"or choose a larger tile")
    for what, size in (("rows", rows), ("columns", cols)):
        if size > 32767:
            raise CompileError(f"{conv.name}: {size} {what} are more than 32767; "
                               f"cut the input into shorter clips")
    _, out_cols = conv.pooled_shape(rows, cols)
    conv_rows, conv_cols = conv.conv_shape(rows, cols)
    seen_rows = (out_rows * conv.pool[0] - 1) * conv.stride - conv.padding[0] + conv.kernel[0]
    rows = min(rows, seen_rows)
    first = index == 0
    emit = {None: Emit.MAP, "max": Emit.GLOBAL_MAX, "sum": Emit.GLOBAL_SUM}[conv.global_pool]
    if first:
        words = 1
        word_bits = end_bits = 1 if geometry.int8_maps else network.input.bits
    else:
        words = _ceil_div(channels, geometry.word_channels)
        word_bits = geometry.word_channels
        end_bits = channels - (words - 1) * geometry.word_channels
    # The event-driven walk takes a value's sign and magnitude, the dense one its offset form.
    signs = geometry.walk == "event"
    offset = -network.input.min if first and not signs else 0
    passes = _ceil_div(conv.out_channels, geometry.channels)
    if passes > 256 or words > 4096:
        raise CompileError(f"{conv.name}: too many channels for array {geometry.name}; "
                           f"at most {256 * geometry.channels}")
    return Walk(
        index=index, layer=conv, source=Source.INPUT if first else Source.LINE, emit=emit,
        rows=rows, cols=cols, kernel=tuple(conv.kernel), stride=conv.stride,
        padding=conv.padding, pool=conv.pool, conv_rows=conv_rows, conv_cols=conv_cols,
        out_rows=out_rows, out_cols=out_cols,
        jobs=_ceil_div(out_rows * conv.pool[0], geometry.tile_rows),
        tiles=_ceil_div(out_cols * conv.pool[1], geometry.tile_cols),
        passes=passes, words=words, word_bits=word_bits, end_bits=end_bits,
        out_words=_ceil_div(conv.out_channels, geometry.word_channels),
        in_min=(network.input.min if first else 0) + offset,
        in_max=(network.input.max if first else VALUE_MAX if geometry.int8_maps else 1) + offset,
        offset=offset, word_rows=1 + (first and (signs or geometry.lane == "pair")),
        step_bits=geometry.macs_per_lane, bits_are_values=geometry.int8_maps,
        span=(geometry.tile_rows - 1) * conv.stride + conv.kernel[0],
        advance=geometry.tile_rows * conv.stride,
        block_rows=geometry.tile_rows // conv.pool[0],
    )


def _dense(network, geometry, index):
    dense = network.denses[index]
    bits = network.vector_bits()[index]
    if bits > geometry.VECTOR_BITS:
        raise CompileError(
            f"{dense.name}: its inputs have {bits} bits, the vector memory {geometry.VECTOR_BITS}; "
            f"use a global max pool, or pool more before it")
    if dense.in_channels > 4096:
        raise CompileError(f"{dense.name}: {dense.in_channels} inputs are more than 4096")
    if geometry.int8_maps and dense.emit != "raw":
        if dense.emit != "unsigned" or dense.bits != 8 or dense.shift > SHIFT_MAX:
            raise CompileError(
                f"{dense.name}: int8 lanes hand on unsigned values of 8 bits, shifted by at most "
                f"{SHIFT_MAX}, not {dense.emit}, {dense.bits} bits, shifted by {dense.shift}; "
                f"requantise its outputs")
    first_max = VALUE_MAX if geometry.int8_maps else 1
    if index == 0 and network.convs[-1].global_pool == "sum" and not geometry.int8_maps:
        _, rows, cols = network.map_shapes()[-1]
        first_max = rows * cols
    passes = _ceil_div(dense.out_channels, geometry.channels)
    if passes > 256:
        raise CompileError(f"{dense.name}: {dense.out_channels} outputs are more than "
                           f"{256 * geometry.channels}")
    if dense.out_channels > 4096:
        raise CompileError(f"{dense.name}: {dense.out_channels} outputs are more than 4096")
    emit = {"raw": Emit.RAW, "unsigned": Emit.UNSIGNED, "bit": Emit.BIT}[dense.emit]
    return Walk(
        index=len(network.convs) + index, layer=dense, source=Source.VECTOR, emit=emit,
        rows=1, cols=1, kernel=(1, 1), stride=1, padding=(0, 0, 0, 0), pool=(1, 1),
        conv_rows=1, conv_cols=1, out_rows=1, out_cols=1, jobs=1, tiles=1, passes=passes,
        words=dense.in_channels, word_bits=1 if geometry.int8_maps else bits,
        end_bits=1 if geometry.int8_maps else bits, out_words=0,
        in_min=0, in_max=first_max if index == 0 else (1 << bits) - 1, offset=0,
        word_rows=geometry.store_rows, step_bits=geometry.macs_per_lane,
        bits_are_values=geometry.int8_maps, span=1,
        advance=geometry.tile_rows, block_rows=geometry.tile_rows,
    )


