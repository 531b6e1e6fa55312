"""From the accumulators' signs to pooled bits in the next layer's line buffer."""

from functools import reduce
from operator import and_, or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Emit, layer_layout
from ..control.jobs import OutputJobSignature
from ..geometry import Geometry
from ..memory.ports import BankedWriteSignature
from .results import SumsSignature
from .tile_place import tile_place
from .tiles import PooledTileSignature, SumRecordSignature, TileRecordSignature

__all__ = ["WriteBack"]


class WriteBack(wiring.Component):
    """Captures the output bits of a tile, pools them, and places them in the banks.

    An output bit is 1 if its accumulator is not negative: the threshold is part of the start
    value. A max pool of bits is an OR. A pool of ``2**pool_log2`` leaves a block of the tile's
    size divided by it, which is aligned in the banks, so bank ``b`` always receives the pooled
    row (or column) ``b % block``.

    Latency: a capture at stage 6 is at the output at stage 8. One tile per cycle at most.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"``, pool along the rows while capturing: more LUTs, and fewer registers.

    accumulators : bool
        Records have the accumulators beside the bits.

    Members
    -------
    layer : the running layer's descriptor
    job : ``In(OutputJobSignature)``, from the scheduler
    results : ``In(SumsSignature)``, from the datapath
    line : ``Out(BankedWriteSignature)``, to the line buffers, if the layer emits a map
    pooled : ``Out(PooledTileSignature)``, to the collector, if the layer is pooled globally
    record : ``Out(TileRecordSignature)`` or ``Out(SumRecordSignature)``, for traces
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None,
                 accumulators: bool = False):
        g = self._geometry = geometry
        self._family, self._accumulators = family, accumulators
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job": In(OutputJobSignature(geometry)),
            "results": In(SumsSignature(geometry)),
            "line": Out(BankedWriteSignature(banks=g.pixels, width=g.channels,
                                             address_bits=g.address_bits)),
            "pooled": Out(PooledTileSignature(geometry)),
            "record": Out(self.record_signature(geometry, accumulators=accumulators)),
        })

    @staticmethod
    def record_signature(geometry: Geometry, *, accumulators: bool) -> TileRecordSignature:
        """Signature of ``record``."""
        return (SumRecordSignature if accumulators else TileRecordSignature)(geometry)

    def elaborate(self, platform):
        g = self._geometry
        layer = self.layer
        m = Module()

        # Stage 6 to 7: capture.
        captured_valid = Signal()
        positive = Signal(g.lanes)
        signs = Signal(g.lanes)
        m.d.comb += positive.eq(Cat(~acc[-1] for acc in self.results.acc))
        m.d.sync += captured_valid.eq(self.results.capture)
        with m.If(self.results.capture):
            m.d.sync += signs.eq(positive)
        pool = self._pool_by_rows if self._family == "ice40" else self._pool_by_registers
        pooled = pool(m, positive)

        last = Signal()
        m.d.sync += last.eq(self.results.last)
        place = tile_place(m, g, layer, job_start=self.job.start, out_low=self.job.low,
                           out_left=self.job.left, advance=captured_valid, last=last)

        # Stage 7 to 8: pool along the columns, and place.
        valid, mask, first = Signal(), Signal(g.pixels), Signal()
        m.d.sync += [
            valid.eq(captured_valid), first.eq(place.first),
            self.line.addr.eq(self.job.slot + place.out_group + place.passes),
            self.record.tile.eq(place.tile), self.record.pass_.eq(place.passes),
            self.record.bits.eq(signs),
        ]
        for i in range(g.tile_rows):
            for j in range(g.tile_cols):
                bank = i * g.tile_cols + j
                m.d.sync += [self.line.data[bank].eq(pooled[bank]),
                             mask[bank].eq(place.rows[i] & place.cols[j])]
                m.d.comb += self.pooled.data[bank].eq(self.line.data[bank])
        is_map = layer.emit == Emit.MAP
        is_global = (layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)
        m.d.comb += [
            self.line.en.eq(mask & (valid & is_map).replicate(g.pixels)),
            self.pooled.load.eq(valid & is_global), self.pooled.first.eq(self.job.first & first),
            self.pooled.mask.eq(mask), self.pooled.pass_.eq(self.record.pass_),
            self.record.valid.eq(valid),
        ]
        if self._accumulators:
            captured = Signal(g.lanes * g.acc_bits)
            with m.If(self.results.capture):
                m.d.sync += captured.eq(Cat(self.results.acc))
            m.d.sync += self.record.acc.eq(captured)
        return m

    def _pool_by_registers(self, m, positive):
        """The pooled bits of each bank, from a register for each pixel that may count for it.

        Whether a pixel's bit counts for a bank depends on the pools alone; where it does not, its
        register is held in reset, so that no logic is spent on it. The registers hold signs as they
        are: 1 is a negative sum, which leaves an OR as it was.
        """
        g, layer = self._geometry, self.layer
        held = {}

        def hold(i, j, row_pools, col_pools):
            """The signs of pixel ``(i, j)``, if the layer pools by one of these; else ones."""
            key = i, j, row_pools, col_pools
            if key not in held:
                held[key] = Signal(g.channels, name=f"signs_{len(held)}", init=-1, reset_less=True)
                counts = (_among(layer.pool_rows_log2, row_pools, g.tile_rows)
                          & _among(layer.pool_cols_log2, col_pools, g.tile_cols))
                with m.If(self.results.capture):
                    with m.If(counts):
                        m.d.sync += held[key].eq(
                            ~positive.word_select(i * g.tile_cols + j, g.channels))
                    with m.Else():
                        m.d.sync += held[key].eq(-1)
            return held[key]

        return [~reduce(and_, [hold(i, j, row_pools, col_pools)
                               for i, row_pools in row_sources.items()
                               for j, col_pools in col_sources.items()])
                for row_sources in _sources(g.tile_rows) for col_sources in _sources(g.tile_cols)]

    def _pool_by_rows(self, m, positive):
        """The same from one register for each bank row and column: pooled along the rows."""
        g, layer = self._geometry, self.layer

        def pool(values, sources, pool_log2, size):
            """OR of the values that count under the layer's pool."""
            return reduce(or_, [values[k] & _among(pool_log2, pools, size).replicate(g.channels)
                                for k, pools in sources.items()])

        pooled = []
        for i, row_sources in enumerate(_sources(g.tile_rows)):
            by_col = []
            for j in range(g.tile_cols):
                column = [positive.word_select(k * g.tile_cols + j, g.channels)
                          for k in range(g.tile_rows)]
                held = Signal(g.channels, name=f"rows_pooled_{i}_{j}", reset_less=True)
                with m.If(self.results.capture):
                    m.d.sync += held.eq(pool(column, row_sources, layer.pool_rows_log2,
                                             g.tile_rows))
                by_col.append(held)
            pooled += [pool(by_col, col_sources, layer.pool_cols_log2, g.tile_cols)
                       for col_sources in _sources(g.tile_cols)]
        return pooled


def _sources(size):
    """For each bank along one axis: pixel to the pools (log2) under which its bit goes there."""
    result = []
    for bank in range(size):
        pools = {}
        for log2 in range(size.bit_length()):
            block, window = size >> log2, 1 << log2
            first = bank % block * window
            for pixel in range(first, first + window):
                pools.setdefault(pixel, []).append(log2)
        result.append({pixel: tuple(found) for pixel, found in pools.items()})
    return result


def _among(pool_log2, pools, size):
    """Whether the layer's pool is one of these, of those that a tile of this size can have."""
    if len(pools) == size.bit_length():
        return C(1)
    return Cat(pool_log2 == log2 for log2 in pools).any()
