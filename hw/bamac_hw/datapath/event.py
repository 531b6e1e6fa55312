"""Gated lanes under the event-driven walk."""

from amaranth import *

from ..control.work import EventWorkSignature
from .base import Datapath
from .loading_lane_array import LoadingLaneArray
from .shifted_operands import ShiftedOperands

__all__ = ["EventDatapath"]


class EventDatapath(Datapath):
    """A lane adds its stream's operand, or not, or takes a start value. ::

        weights ─▶ ShiftedOperands ─ operand ─▶ LoadingLaneArray ─ acc ─▶ results, head
           ▲                                        ▲
          rows                                     bits

    The walk gives the address of each weight row. With several streams of events, each has a read
    port and operand registers; start values are read through the first one, for all.

    Ports and parameters are those of :class:`~bamac_hw.datapath.base.Datapath`.
    """

    Work = EventWorkSignature

    def elaborate(self, platform):
        g = self.geometry
        m = Module()
        stages, more = self.step_stages(m), self.addition_stages(m)
        m.submodules.operands = operands = ShiftedOperands(g, family=self.family)
        m.submodules.lanes = lanes = LoadingLaneArray(**self.lane_sizes, streams=g.streams)
        reading = [stages[3].byte | stages[3].row, *(steps[3].row for steps in more)]
        for port, enable, row, data in zip(self.weights, reading, self.work.rows, operands.data,
                                           strict=True):
            m.d.comb += [port.en.eq(enable), port.addr.eq(row), data.eq(port.data)]
        m.d.comb += [
            operands.step_read.eq(stages[3]), operands.step_operand.eq(stages[5]),
            *(to.eq(steps[3]) for to, steps in zip(operands.more_read, more, strict=True)),
            *(to.eq(steps[5]) for to, steps in zip(operands.more_operand, more, strict=True)),
            *(to.eq(value) for to, value in zip(lanes.operand, operands.operand, strict=True)),
        ]

        # Stage 5 to 6.
        bits = self.work.bits
        computes = self.count_hits(m, bits, stages[5], *(steps[5] for steps in more))
        m.d.comb += lanes.add.eq(self.hits)
        m.d.sync += lanes.en.eq(self.lane_enables(bits, stages[5].start, computes))
        self.give_sums(m, stages, lanes.acc)
        return m
