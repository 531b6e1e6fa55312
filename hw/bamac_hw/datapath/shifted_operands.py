"""What gated lanes of the event-driven walk add: shifted weight rows, and start values."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import EVENT_PLANE_MOST, Addition, Step

__all__ = ["ShiftedOperands"]


class ShiftedOperands(wiring.Component):
    """Start registers, and for each stream operand registers: a weight row times ``2**plane``.

    A multi-bit activation is a sum of binary planes: its weight row is read with the first plane,
    and shifted by each event's plane.

    Row and start value are zero (by the registers' synchronous reset) unless they are wanted, so an
    OR takes the place of a selection, in the LUTs of the last stage of the shifter. Nor do the
    first stages select: each of their shifts has a register of the row.

    Latency: ``data`` belongs to the step that was at stage 3 one cycle before; the operand is there
    at stage 6 together with the step itself.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"``, where a register without logic takes as much as one with, there is one
        register of the row and a full shifter.

    Members
    -------
    step_read, step_operand : the steps at stages 3 and 5
    more_read, more_operand : those of further streams
    data : for each stream what is read: ``channels`` weights; of the first, also start-value bytes
    operand : ``signed(acc_bits)`` per channel of each stream, ``stream * channels + channel``
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "step_read": In(Step),
            "step_operand": In(Step),
            "more_read": In(Addition).array(g.streams - 1),
            "more_operand": In(Addition).array(g.streams - 1),
            "data": In(8 * g.channels).array(g.streams),
            "operand": Out(signed(g.acc_bits)).array(g.streams * g.channels),
        })

    def elaborate(self, platform):
        g = self._geometry
        streams = range(g.streams)
        shift_bits = 0 if self._family == "ice40" else 2
        m = Module()
        fetched = Signal(Step)  # stage 4
        more_fetched = [Signal(Addition, name=f"fetched_of_{stream}") for stream in streams[1:]]
        m.d.sync += [to.eq(step) for to, step in zip(
            (fetched, *more_fetched), (self.step_read, *self.more_read), strict=True)]
        planes = [step.plane for step in (fetched, *more_fetched)]
        late_planes = [step.plane for step in (self.step_operand, *self.more_operand)]
        for channel in range(g.channels):
            start = Signal(8 * g.start_bytes, name=f"start_{channel}")
            start_now = Signal(g.acc_bits, name=f"start_now_{channel}")
            m.d.sync += start_now.eq(Mux(fetched.start, start, 0))
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[8:], self.data[0].word_select(channel, 8)))
            for stream, data in zip(streams, self.data, strict=True):
                index = stream * g.channels + channel
                rows = [Signal(signed(8), name=f"row_{index}_{shift}")
                        for shift in range(1 << shift_bits)]
                operand = Signal(signed(g.acc_bits), name=f"operand_{index}")
                for shift, row in enumerate(rows):
                    unwanted = fetched.start | (planes[stream][:shift_bits] != shift)
                    m.d.sync += row.eq(Mux(unwanted, 0, data.word_select(channel, 8)))
                low = Signal(signed(7 + len(rows)), name=f"shifted_{index}")
                m.d.comb += [
                    low.eq(reduce(or_, (row << shift for shift, row in enumerate(rows)))),
                    self.operand[index].eq(operand),
                ]
                high = late_planes[stream][shift_bits:EVENT_PLANE_MOST.bit_length()]
                m.d.sync += operand.eq(low << Cat(C(0, shift_bits), high) | start_now.as_signed())
        return m
