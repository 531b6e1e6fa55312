"""What pair lanes add: two weights, their sum, and start values."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import Step
from .pair_lane_array import WEIGHT_BITS

__all__ = ["PairOperands"]


class PairOperands(wiring.Component):
    """Start registers, and registers of both weights and their sum.

    A word of the store is two rows. The weights of two channels lie in both; those of a value with
    binary planes in the first, and twice themselves, without the highest of nine bits, in the
    second. What is not wanted is zero, so an OR takes the place of a selection.

    Latency: ``data`` belongs to the step that was at stage 3 one cycle before; the outputs are
    there at stage 6 together with the step itself.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    step_read : the step at stage 3
    data : what is read: two rows of ``channels`` weights, or start-value bytes
    planes : the weights are those of values with binary planes
    first, second : ``signed(WEIGHT_BITS)`` per channel
    total : ``signed(acc_bits)`` per channel: their sum, or the start value
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "step_read": In(Step),
            "data": In(16 * g.channels),
            "planes": In(1),
            "first": Out(signed(WEIGHT_BITS)).array(g.channels),
            "second": Out(signed(WEIGHT_BITS)).array(g.channels),
            "total": Out(signed(g.acc_bits)).array(g.channels),
        })

    def elaborate(self, platform):
        g = self._geometry
        m = Module()
        fetched = Signal(Step)  # stage 4
        m.d.sync += fetched.eq(self.step_read)
        for channel in range(g.channels):
            rows = [Signal(8, name=f"row_{channel}_{k}") for k in range(2)]
            start = Signal(16 * g.start_reads, name=f"start_{channel}")
            start_now = Signal(g.acc_bits, name=f"start_now_{channel}")
            weights = [self.data.word_select(k * g.channels + channel, 8) for k in range(2)]
            m.d.sync += [row.eq(Mux(fetched.row, weight, 0))
                         for row, weight in zip(rows, weights, strict=True)]
            m.d.sync += start_now.eq(Mux(fetched.start, start, 0))
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[16:], weights))
            first = Signal(signed(WEIGHT_BITS), name=f"first_{channel}")
            second = Signal(signed(WEIGHT_BITS), name=f"second_{channel}")
            m.d.comb += [first.eq(rows[0].as_signed()),
                         second.eq(Cat(rows[1], Mux(self.planes, rows[0][-1], rows[1][-1])))]
            m.d.sync += [
                self.first[channel].eq(first), self.second[channel].eq(second),
                self.total[channel].eq((first + second) | start_now.as_signed()),
            ]
        return m
