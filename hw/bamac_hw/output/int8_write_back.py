"""From the 8-bit values of a tile to the next layer's line buffer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import layer_layout
from ..geometry import Geometry
from ..traits import VALUE_BITS
from .tile_place import tile_place

__all__ = ["Int8WriteBack"]


class Int8WriteBack(wiring.Component):
    """Pools the values of a tile, word by word, and places them in the banks.

    The counterpart of :class:`~bamac_hw.output.write_back.WriteBack` behind int8 lanes: a max pool
    of values needs comparators, where that of bits is an OR. Latency: one cycle.

    Members
    -------
    layer, job_start, out_slot, out_low, out_left : as of ``WriteBack``
    word, channel, end, end_of_pass, values : from the read-out
    valid : all outputs below hold a word
    exists : and the layer has its first channel
    write_mask, write_addr, write_data : banks and words to be written
    first, last_tile : it is of the first, or last, tile of its pass
    tile, pass_, index : which tile this is, and the number of its (first) channel in the pass
    seen : its values before pooling
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        values = g.pixels * g.word_channels
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job_start": In(1),
            "out_slot": In(g.address_bits),
            "out_low": In(2),
            "out_left": In(16),
            "word": In(1),
            "channel": In(range(g.channels)),
            "end": In(1),
            "end_of_pass": In(1),
            "values": In(VALUE_BITS).array(values),
            "valid": Out(1),
            "exists": Out(1),
            "write_mask": Out(g.pixels),
            "write_addr": Out(g.address_bits),
            "write_data": Out(g.channels).array(g.pixels),
            "tile": Out(16),
            "first": Out(1),
            "last_tile": Out(1),
            "pass_": Out(8),
            "index": Out(range(g.channels)),
            "seen": Out(VALUE_BITS * values),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer, at_once = self.layer, g.word_channels
        m = Module()

        place = tile_place(m, g, layer, job_start=self.job_start, out_low=self.out_low,
                           out_left=self.out_left, advance=self.end, last=self.end_of_pass)
        there = Signal()
        low = at_once.bit_length() - 1
        m.d.comb += there.eq(self.channel <= Mux(place.passes == layer.passes_last,
                                                 layer.end_channels_last,
                                                 layer.pass_channels_last))
        m.d.sync += [
            self.valid.eq(self.word), self.exists.eq(self.word & there),
            self.write_addr.eq(self.out_slot + place.out_group
                               + Cat(self.channel[low:], place.passes)),
            self.first.eq(place.first), self.last_tile.eq(place.tile == layer.tiles_last),
            self.tile.eq(place.tile), self.pass_.eq(place.passes),
            self.index.eq(self.channel), self.seen.eq(Cat(self.values)),
        ]

        pooled = [[] for _ in range(g.pixels)]
        for k in range(at_once):
            grid = [[self.values[(i * g.tile_cols + j) * at_once + k]
                     for j in range(g.tile_cols)] for i in range(g.tile_rows)]
            columns = [_pooled(column, layer.pool_rows_log2) for column in zip(*grid, strict=True)]
            for i, row in enumerate(zip(*columns, strict=True)):
                for j, value in enumerate(_pooled(row, layer.pool_cols_log2)):
                    pooled[i * g.tile_cols + j].append(value)
        for bank in range(g.pixels):
            i, j = divmod(bank, g.tile_cols)
            m.d.sync += [self.write_data[bank].eq(Cat(pooled[bank])),
                         self.write_mask[bank].eq(place.rows[i] & place.cols[j])]
        return m


def _pooled(values, pool_log2):
    """For each bank along one axis: the maximum of the pixels that it receives under the pool."""
    levels = [list(values)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([Mux(a > b, a, b) for a, b in zip(level[::2], level[1::2], strict=True)])
    if len(levels) == 1:
        return levels[0]
    return [Array(level[bank % len(level)] for level in levels)[pool_log2]
            for bank in range(len(values))]
