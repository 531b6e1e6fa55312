"""Pair lanes."""

from amaranth import *

from ..abi.descriptors import Source
from .base import Datapath
from .pair_lane_array import PairLaneArray
from .pair_operands import PairOperands
from .row_pointer import PairRowPointer

__all__ = ["PairDatapath"]


class PairDatapath(Datapath):
    """A lane adds 0, one of two weights, or both. ::

        weights ─▶ PairOperands ─ first, second, total ─▶ PairLaneArray ─ acc ─▶ results, head
           ▲                                                   ▲
        PairRowPointer ◀─ steps                               bits

    Ports and parameters are those of :class:`~bamac_hw.datapath.base.Datapath`.
    """

    def elaborate(self, platform):
        g = self.geometry
        m = Module()
        stages = self.step_stages(m)
        weights, = self.weights
        m.submodules.pointer = pointer = PairRowPointer(g)
        m.submodules.operands = operands = PairOperands(g)
        m.submodules.lanes = lanes = PairLaneArray(**self.lane_sizes)
        m.d.comb += [
            pointer.set.eq(self.job_start), pointer.base.eq(self.layer.weight_base),
            pointer.step.eq(stages[3]),
            weights.en.eq(pointer.reading), weights.addr.eq(pointer.row),
            operands.data.eq(weights.data), operands.step_read.eq(stages[3]),
            operands.planes.eq(self.layer.source != Source.LINE),
            *(getattr(lanes, name)[channel].eq(getattr(operands, name)[channel])
              for name in ("first", "second", "total") for channel in range(g.channels)),
            lanes.step_5.eq(stages[5]), lanes.bits.eq(self.work.bits),
        ]
        self.count_hits(m, self.work.bits, stages[5])
        m.d.sync += lanes.clear.eq(stages[5].clear | ~self.running)
        self.give_sums(m, stages, lanes.acc)
        return m
