"""From the accumulators' signs to pooled bits in the next layer's line buffer."""

from functools import reduce
from operator import and_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import layer_layout
from .step import Step

__all__ = ["WriteBack"]


class WriteBack(wiring.Component):
    """Captures the output bits of a tile, pools them, and places them in the banks.

    An output bit is 1 if its accumulator is not negative: the threshold is part of the start
    value. A max pool of bits is an OR. A pool of ``2**pool_log2`` leaves a block of the tile's
    size divided by it, which is aligned in the banks, so bank ``b`` always receives the pooled
    row (or column) ``b % block``.

    Latency: a capture at stage 6 is at the output at stage 8. One tile per cycle at most.

    Members
    -------
    layer : the running layer's descriptor
    job_start : a job begins; ``out_slot``, ``out_low``, ``out_left`` must stay until its end
    out_slot, out_low, out_left : ring slot and first bank row of the job's output; rows of the
        map from there on
    step_6 : the step at the lanes
    positive : one bit per lane: the accumulator is not negative
    valid : ``write_*``, ``first``, ``tile``, ``pass_`` and ``signs`` hold a tile
    write_mask, write_addr, write_data : banks and words to be written
    first : it is the first of its pass
    tile, pass_, signs : which tile this is, and its output bits before pooling
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
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

        # Stage 6 to 7: capture. Whether a pixel's bit counts for a bank depends on the pools alone;
        # where it does not, its register is held in reset, so that no logic is spent on it. The
        # registers hold signs as they are: 1 is a negative sum, which leaves an OR as it was.
        captured_valid = Signal()
        signs = Signal(g.lanes)
        m.d.sync += captured_valid.eq(self.step_6.capture)
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

        pooled = []
        for row_sources in _sources(g.tile_rows):
            for col_sources in _sources(g.tile_cols):
                parts = [hold(i, j, row_pools, col_pools)
                         for i, row_pools in row_sources.items()
                         for j, col_pools in col_sources.items()]
                pooled.append(~reduce(and_, parts))
        with m.If(self.step_6.capture):
            m.d.sync += signs.eq(self.positive)

        # Place of the captured tile.
        tile = Signal(16)
        passes = Signal(8)
        first = Signal()
        last = Signal()
        out_group = Signal(g.address_bits)
        col_low = Signal(2)
        cols_left = Signal(layer.out_cols.shape())
        block_cols = Signal(3)
        m.d.comb += block_cols.eq(g.tile_cols >> layer.pool_cols_log2)
        m.d.sync += last.eq(self.step_6.pass_)
        with m.If(self.job_start):
            m.d.sync += [tile.eq(0), passes.eq(0), first.eq(1), cols_left.eq(layer.out_cols),
                         out_group.eq(0), col_low.eq(0)]
        with m.Elif(captured_valid & last):
            m.d.sync += [tile.eq(0), passes.eq(passes + 1), first.eq(1),
                         cols_left.eq(layer.out_cols), out_group.eq(0), col_low.eq(0)]
        with m.Elif(captured_valid):
            m.d.sync += [tile.eq(tile + 1), first.eq(0), cols_left.eq(cols_left - block_cols)]
            with m.If(col_low + block_cols == g.tile_cols):
                m.d.sync += [col_low.eq(0), out_group.eq(out_group + layer.out_groups)]
            with m.Else():
                m.d.sync += col_low.eq(col_low + block_cols)

        # Stage 7 to 8: pool along the columns, and place.
        def select(size, pool_log2, low, left, axis):
            """For each bank along one axis: is it written, under the layer's pool?"""
            chosen = Signal(size, name=f"chosen_{axis}")
            there = Signal(size, name=f"there_{axis}")  # a block's first is always there
            m.d.comb += there.eq(Cat(1, (left > k for k in range(1, size))))
            with m.Switch(pool_log2):
                for log2 in range(size.bit_length()):
                    block = size >> log2
                    with m.Case(log2):
                        for bank in range(size):
                            inside = low == bank - bank % block if block < size else C(1)
                            m.d.comb += chosen[bank].eq(inside & there[bank % block])
            return chosen

        rows = select(g.tile_rows, layer.pool_rows_log2, self.out_low, self.out_left, "rows")
        cols = select(g.tile_cols, layer.pool_cols_log2, col_low, cols_left, "cols")

        m.d.sync += self.valid.eq(captured_valid)
        for i in range(g.tile_rows):
            for j in range(g.tile_cols):
                bank = i * g.tile_cols + j
                m.d.sync += [
                    self.write_data[bank].eq(pooled[bank]),
                    self.write_mask[bank].eq(rows[i] & cols[j]),
                ]
        m.d.sync += [
            self.write_addr.eq(self.out_slot + out_group + passes),
            self.first.eq(first), self.tile.eq(tile), self.pass_.eq(passes),
            self.signs.eq(signs),
        ]
        return m


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
