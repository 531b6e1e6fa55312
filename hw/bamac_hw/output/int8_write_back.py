"""From a tile of an int8 map to the next layer's line buffer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Emit, layer_layout
from ..control.jobs import OutputJobSignature
from ..geometry import Geometry
from ..memory.ports import BankedWriteSignature
from .results import WordsSignature
from .tile_place import tile_place
from .tiles import PooledWordSignature, WordRecordSignature

__all__ = ["Int8WriteBack"]


class Int8WriteBack(wiring.Component):
    """Pools the values of a tile, word by word, and places them in the banks.

    The counterpart of :class:`~bamac_hw.output.write_back.WriteBack` behind int8 lanes: a max pool
    of values needs comparators, where that of bits is an OR. Latency: one cycle.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        Built alike for every family.
    accumulators : bool
        Ignored: records of int8 maps show values alone.

    Members
    -------
    layer : the running layer's descriptor
    job : ``In(OutputJobSignature)``, from the scheduler
    results : ``In(WordsSignature)``, from the datapath
    line : ``Out(BankedWriteSignature)``, to the line buffers, if the layer emits a map
    pooled : ``Out(PooledWordSignature)``, to the collector, if it does not
    record : ``Out(WordRecordSignature)``, for traces
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None,
                 accumulators: bool = False):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job": In(OutputJobSignature(geometry)),
            "results": In(WordsSignature(geometry)),
            "line": Out(BankedWriteSignature(banks=g.pixels, width=g.channels,
                                             address_bits=g.address_bits)),
            "pooled": Out(PooledWordSignature(geometry)),
            "record": Out(self.record_signature(geometry, accumulators=accumulators)),
        })

    @staticmethod
    def record_signature(geometry: Geometry, *, accumulators: bool) -> WordRecordSignature:
        """Signature of ``record``."""
        return WordRecordSignature(geometry)

    def elaborate(self, platform):
        g = self._geometry
        layer, results, at_once = self.layer, self.results, g.word_channels
        m = Module()

        place = tile_place(m, g, layer, job_start=self.job.start, out_low=self.job.low,
                           out_left=self.job.left, advance=results.end, last=results.end_of_pass)
        there = Signal()  # the layer has the word's first channel
        low = at_once.bit_length() - 1
        m.d.comb += there.eq(results.channel <= Mux(place.passes == layer.passes_last,
                                                    layer.end_channels_last,
                                                    layer.pass_channels_last))
        valid, exists, mask = Signal(), Signal(), Signal(g.pixels)
        first, last_tile = Signal(), Signal()
        m.d.sync += [
            valid.eq(results.valid), exists.eq(results.valid & there),
            self.line.addr.eq(self.job.slot + place.out_group
                              + Cat(results.channel[low:], place.passes)),
            first.eq(place.first), last_tile.eq(place.tile == layer.tiles_last),
            self.pooled.index.eq(results.channel), self.pooled.pass_.eq(place.passes),
            self.record.tile.eq(place.tile), self.record.bits.eq(Cat(results.values)),
        ]
        # The last job of a clip writes what is left.
        last_job = Signal()
        is_map = layer.emit == Emit.MAP
        m.d.comb += [
            last_job.eq(self.job.left <= (g.tile_rows >> layer.pool_rows_log2)),
            self.line.en.eq(mask & (exists & is_map).replicate(g.pixels)),
            self.pooled.load.eq(exists & ~is_map), self.pooled.first.eq(self.job.first & first),
            self.pooled.final.eq(last_job & last_tile), self.pooled.mask.eq(mask),
            # If channels are read one by one, a word comes once for each of its channels.
            self.record.valid.eq(valid & ~self.pooled.index[:low].any()),
            self.record.pass_.eq(self.pooled.pass_),
            self.record.group.eq(self.pooled.index[low:]),
        ]

        pooled = [[] for _ in range(g.pixels)]
        for k in range(at_once):
            grid = [[results.values[(i * g.tile_cols + j) * at_once + k]
                     for j in range(g.tile_cols)] for i in range(g.tile_rows)]
            columns = [_pooled(column, layer.pool_rows_log2) for column in zip(*grid, strict=True)]
            for i, row in enumerate(zip(*columns, strict=True)):
                for j, value in enumerate(_pooled(row, layer.pool_cols_log2)):
                    pooled[i * g.tile_cols + j].append(value)
        for bank in range(g.pixels):
            i, j = divmod(bank, g.tile_cols)
            m.d.sync += [self.line.data[bank].eq(Cat(pooled[bank])),
                         mask[bank].eq(place.rows[i] & place.cols[j])]
            m.d.comb += self.pooled.data[bank].eq(self.line.data[bank])
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
