"""Gated lanes under the dense walk."""

from amaranth import *

from .base import Datapath
from .doubled_operands import DoubledOperands
from .lane_array import LaneArray
from .row_pointer import RowPointer

__all__ = ["GatedDatapath"]


class GatedDatapath(Datapath):
    """A lane adds its channel's operand, or not. ::

        weights ─▶ DoubledOperands ─ operand, fill, gate ─▶ LaneArray ─ acc ─▶ results, head
           ▲                                                    ▲
        RowPointer ◀─ steps                                    bits

    The weight row of a value with binary planes is read once, with the first plane, and doubled
    for each further one.

    Ports and parameters are those of :class:`~bamac_hw.datapath.base.Datapath`. A variant with
    other lanes behind the same operands overrides :meth:`build_lanes`.
    """

    def build_lanes(self) -> LaneArray:
        """The array of lanes: a component with the ports of :class:`LaneArray`."""
        return LaneArray(**self.lane_sizes)

    def elaborate(self, platform):
        g = self.geometry
        m = Module()
        stages = self.step_stages(m)
        weights, = self.weights
        m.submodules.pointer = pointer = RowPointer(g)
        m.submodules.operands = operands = DoubledOperands(g, family=self.family)
        m.submodules.lanes = lanes = self.build_lanes()
        m.d.comb += [
            pointer.set.eq(self.job_start), pointer.base.eq(self.layer.weight_base),
            pointer.step.eq(stages[3]),
            weights.en.eq(pointer.reading), weights.addr.eq(pointer.row),
            operands.data.eq(weights.data),
            operands.step_read.eq(stages[3]), operands.step_operand.eq(stages[5]),
            *(getattr(lanes, name)[channel].eq(getattr(operands, name)[channel])
              for name in ("operand", "fill", "gate") for channel in range(g.channels)),
        ]

        # Stage 5 to 6.
        bits = self.work.bits
        offered = bits
        if g.depthwise:
            offered = Mux(self.layer.depthwise, Cat(own.any() for own in self.work.own), bits)
        computes = self.count_hits(m, offered, stages[5])
        m.d.sync += [
            lanes.en.eq(self.lane_enables(bits, stages[5].start, computes)),
            lanes.clear.eq(stages[5].clear | ~self.running),
        ]
        self.give_sums(m, stages, lanes.acc)
        return m
