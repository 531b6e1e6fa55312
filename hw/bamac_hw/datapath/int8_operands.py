"""What int8 lanes multiply by, and the start values that their read-out adds."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import Step

__all__ = ["Int8Operands"]


class Int8Operands(wiring.Component):
    """Start registers and weight registers of each channel.

    Latency: ``data`` belongs to the step that was at stage 3 one cycle before; the weight is there
    at stage 6 together with the step itself.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    step_read : the step at stage 3
    data : what is read: ``channels`` weights, or bytes of start values
    weight : ``signed(8)`` per channel
    bias : ``signed(acc_bits)`` per channel: the start values, as they are
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "step_read": In(Step),
            "data": In(8 * g.channels),
            "weight": Out(signed(8)).array(g.channels),
            "bias": Out(signed(g.acc_bits)).array(g.channels),
        })

    def elaborate(self, platform):
        g = self._geometry
        m = Module()
        fetched = Signal(Step)  # stage 4
        m.d.sync += fetched.eq(self.step_read)
        for channel in range(g.channels):
            row = Signal(signed(8), name=f"row_{channel}")
            start = Signal(8 * g.start_bytes, name=f"start_{channel}")
            weight = self.data.word_select(channel, 8)
            m.d.sync += [row.eq(weight), self.weight[channel].eq(row)]
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[8:], weight))
            m.d.comb += self.bias[channel].eq(start[:g.acc_bits])
        return m
