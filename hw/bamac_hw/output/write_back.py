"""From the accumulators' signs to pooled bits in the next layer's line buffer."""

from functools import reduce
from operator import and_, or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import layer_layout
from ..geometry import Geometry
from ..pipeline import Step
from .tile_place import tile_place

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

    Members
    -------
    layer : the running layer's descriptor
    job_start : a job's outputs begin; ``out_slot``, ``out_low``, ``out_left`` must stay until its
        last tile is written
    out_slot, out_low, out_left : ring slot and first bank row of the job's output; rows of the
        map from there on
    step_6 : the step at the lanes
    positive : one bit per lane: the accumulator is not negative
    valid : ``write_*``, ``first``, ``tile``, ``pass_`` and ``signs`` hold a tile
    write_mask, write_addr, write_data : banks and words to be written
    first : it is the first of its pass
    tile, pass_, signs : which tile this is, and its output bits before pooling
    """

    def __init__(self, geometry: Geometry, *, family=None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job_start": In(1),
            "out_slot": In(g.address_bits),
            "out_low": In(2),
            "out_left": In(16),
            "step_6": In(Step),
            "positive": In(g.lanes),
            "valid": Out(1),
            "write_mask": Out(g.pixels),
            "write_addr": Out(g.address_bits),
            "write_data": Out(g.channels).array(g.pixels),
            "tile": Out(16),
            "first": Out(1),
            "pass_": Out(8),
            "signs": Out(g.lanes),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer = self.layer
        m = Module()

        # Stage 6 to 7: capture.
        captured_valid = Signal()
        signs = Signal(g.lanes)
        m.d.sync += captured_valid.eq(self.step_6.capture)
        with m.If(self.step_6.capture):
            m.d.sync += signs.eq(self.positive)
        pooled = (self._pool_by_rows(m) if self._family == "ice40" else
                  self._pool_by_registers(m))

        last = Signal()
        m.d.sync += last.eq(self.step_6.pass_)
        place = tile_place(m, g, layer, job_start=self.job_start, out_low=self.out_low,
                           out_left=self.out_left, advance=captured_valid, last=last)

        # Stage 7 to 8: pool along the columns, and place.
        m.d.sync += self.valid.eq(captured_valid)
        for i in range(g.tile_rows):
            for j in range(g.tile_cols):
                bank = i * g.tile_cols + j
                m.d.sync += [
                    self.write_data[bank].eq(pooled[bank]),
                    self.write_mask[bank].eq(place.rows[i] & place.cols[j]),
                ]
        m.d.sync += [
            self.write_addr.eq(self.out_slot + place.out_group + place.passes),
            self.first.eq(place.first), self.tile.eq(place.tile), self.pass_.eq(place.passes),
            self.signs.eq(signs),
        ]
        return m


    def _pool_by_registers(self, m):
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
                with m.If(self.step_6.capture):
                    with m.If(counts):
                        m.d.sync += held[key].eq(
                            ~self.positive.word_select(i * g.tile_cols + j, g.channels))
                    with m.Else():
                        m.d.sync += held[key].eq(-1)
            return held[key]

        return [~reduce(and_, [hold(i, j, row_pools, col_pools)
                               for i, row_pools in row_sources.items()
                               for j, col_pools in col_sources.items()])
                for row_sources in _sources(g.tile_rows) for col_sources in _sources(g.tile_cols)]

    def _pool_by_rows(self, m):
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
                column = [self.positive.word_select(k * g.tile_cols + j, g.channels)
                          for k in range(g.tile_rows)]
                held = Signal(g.channels, name=f"rows_pooled_{i}_{j}", reset_less=True)
                with m.If(self.step_6.capture):
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
