"""The dense walk's read pointers: rows are stored in the order in which the walk needs them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import Step

__all__ = ["PairRowPointer", "RowPointer"]


class RowPointer(wiring.Component):
    """Address of the next word of the weight store.

    A pass begins with ``start_reads`` words of start values; each tile after the first of a pass
    goes back to the word behind them.

    Latency: a step at stage 3 reads at ``row``, and ``row`` is the next word's in the cycle behind
    it.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    set, base : set the pointer, in the next cycle (a job starts)
    step : at stage 3
    reading : a word is read in this cycle
    row : its address
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "set": In(1),
            "base": In(geometry.row_bits),
            "step": In(Step),
            "reading": Out(1),
            "row": Out(range(geometry.weight_rows // geometry.store_rows)),
        })

    def elaborate(self, platform):
        g = self._geometry
        m = Module()
        next_row = Signal(range(g.weight_rows // g.store_rows + 1))
        tile_base = Signal.like(next_row)
        m.d.comb += [self.reading.eq(self.step.byte | self.step.row), self.row.eq(next_row)]
        with m.If(self.set):
            m.d.sync += next_row.eq(self.base)
        self._move(m, next_row, tile_base)
        return m

    def _move(self, m, next_row, tile_base):
        step = self.step
        with m.Elif(self.reading):
            m.d.sync += next_row.eq(next_row + 1)
        with m.Elif(step.start):
            with m.If(step.pass_):
                m.d.sync += tile_base.eq(next_row)
            with m.Else():
                m.d.sync += next_row.eq(tile_base)


class PairRowPointer(RowPointer):
    """The same for pair lanes, where a tile may be walked several times.

    The pointer goes back to the tile's weights before each of these rounds. Ports and latency are
    those of :class:`RowPointer`.
    """

    def _move(self, m, next_row, tile_base):
        step = self.step
        with m.Elif(self.reading):
            m.d.sync += next_row.eq(next_row + 1)
            with m.If(step.byte):
                m.d.sync += tile_base.eq(next_row + 1)
        with m.Elif(step.start | step.double | (step.clear & ~step.pass_)):
            m.d.sync += next_row.eq(tile_base)
