"""Where a tile's output goes: shared by the write-backs of binary and of int8 maps."""

from types import SimpleNamespace

from amaranth import *

from ..geometry import Geometry

__all__ = ["tile_place"]


def tile_place(m: Module, geometry: Geometry, layer, *, job_start: Value, out_low: Value,
               out_left: Value, advance: Value, last: Value) -> SimpleNamespace:
    """Follow the tiles of a job, in the caller's module.

    A pool of ``2**pool_log2`` leaves a block of the tile's size divided by it, which is aligned in
    the banks, so bank ``b`` always receives the pooled row (or column) ``b % block``.

    Parameters
    ----------
    m : Module
    geometry : Geometry
    layer : the running layer's descriptor
    job_start : a job's outputs begin
    out_low, out_left : first bank row of the job's output; rows of the map from there on
    advance : go on to the next tile
    last : with ``advance``: the tile was the last of its pass

    Returns the current tile's ``tile`` (number in its pass), ``passes`` (the pass's number),
    ``first`` (it is the first of its pass), ``out_group`` (words from the job's first output
    column), and ``rows`` and ``cols``, the banks that it is written to.
    """
    g = geometry
    tile = Signal(16)
    passes = Signal(8)
    first = Signal()
    out_group = Signal(g.address_bits)
    col_low = Signal(2)
    cols_left = Signal(layer.out_cols.shape())
    block_cols = Signal(3)
    m.d.comb += block_cols.eq(g.tile_cols >> layer.pool_cols_log2)
    with m.If(job_start):
        m.d.sync += [tile.eq(0), passes.eq(0), first.eq(1), cols_left.eq(layer.out_cols),
                     out_group.eq(0), col_low.eq(0)]
    with m.Elif(advance & last):
        m.d.sync += [tile.eq(0), passes.eq(passes + 1), first.eq(1),
                     cols_left.eq(layer.out_cols), out_group.eq(0), col_low.eq(0)]
    with m.Elif(advance):
        m.d.sync += [tile.eq(tile + 1), first.eq(0), cols_left.eq(cols_left - block_cols)]
        with m.If(col_low + block_cols == g.tile_cols):
            m.d.sync += [col_low.eq(0), out_group.eq(out_group + layer.out_groups)]
        with m.Else():
            m.d.sync += col_low.eq(col_low + block_cols)

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

    return SimpleNamespace(
        tile=tile, passes=passes, first=first, out_group=out_group,
        rows=select(g.tile_rows, layer.pool_rows_log2, out_low, out_left, "rows"),
        cols=select(g.tile_cols, layer.pool_cols_log2, col_low, cols_left, "cols"))
