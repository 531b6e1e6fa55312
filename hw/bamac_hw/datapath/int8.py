"""Int8 lanes: a multiplier each, and a read-out that requantises."""

from amaranth import *
from amaranth.lib.wiring import connect, flipped

from ..abi.descriptors import Emit
from ..output.results import HeadReadSignature, WordsSignature
from ..traits import VALUE_BITS
from .base import Datapath
from .int8_lane_array import Int8LaneArray
from .int8_operands import Int8Operands
from .int8_read_out import Int8ReadOut
from .row_pointer import RowPointer

__all__ = ["Int8Datapath"]


class Int8Datapath(Datapath):
    """A lane multiplies a weight by a value of 8 bits; sums are read out word by word. ::

        weights ─▶ Int8Operands ─ weight ─▶ Int8LaneArray ─ acc ─▶ Int8ReadOut ─▶ results, head
           ▲            │                       ▲                      ▲
        RowPointer      └───────── bias ────────┼──────────────────────┘
                                              values

    A tile is read out as soon as all its sums are there. How lanes multiply is the geometry's
    ``traits.multiplier``.

    Ports and parameters are those of :class:`~bamac_hw.datapath.base.Datapath`.
    """

    Results = WordsSignature
    Head = HeadReadSignature

    def elaborate(self, platform):
        g, layer = self.geometry, self.layer
        m = Module()
        stages = self.step_stages(m)
        weights, = self.weights
        m.submodules.pointer = pointer = RowPointer(g)
        m.submodules.operands = operands = Int8Operands(g)
        m.submodules.lanes = lanes = Int8LaneArray(**self.lane_sizes,
                                                   multiplier=g.traits.multiplier)
        assert lanes.latency == g.traits.lane_latency, "the walk waits for as long"
        m.submodules.read_out = read_out = Int8ReadOut(g)
        m.d.comb += [
            pointer.set.eq(self.job_start), pointer.base.eq(layer.weight_base),
            pointer.step.eq(stages[3]),
            weights.en.eq(pointer.reading), weights.addr.eq(pointer.row),
            operands.data.eq(weights.data), operands.step_read.eq(stages[3]),
            *(to.eq(weight) for to, weight in zip(lanes.weight, operands.weight, strict=True)),
        ]

        # Stage 5 to 6.
        values = [self.work.bits.word_select(pixel, VALUE_BITS) for pixel in range(g.pixels)]
        self.count_hits(m, Cat(value.any() for value in values), stages[5])
        m.d.sync += [
            lanes.en.eq(stages[5].compute), lanes.clear.eq(stages[5].start | ~self.running),
            *(to.eq(value) for to, value in zip(lanes.value, values, strict=True)),
        ]

        # The end of a tile travels on until its sums are there.
        ends = [Cat(stages[4].capture, stages[4].pass_)]
        for stage in range(g.traits.sums_wait - 1 - 4):
            ends.append(Signal(2, name=f"ending_{stage}"))
            m.d.sync += ends[-1].eq(ends[-2])
        m.d.comb += [
            read_out.start.eq(ends[-1][0]), read_out.last.eq(ends[-1][1]),
            read_out.one_by_one.eq(layer.emit != Emit.MAP), read_out.shift.eq(layer.shift),
            read_out.choose.eq(layer.emit == Emit.RAW),
            *(to.eq(acc) for to, acc in zip(read_out.acc, lanes.acc, strict=True)),
            *(to.eq(bias) for to, bias in zip(read_out.bias, operands.bias, strict=True)),
        ]
        connect(m, flipped(self.results), read_out.words)
        connect(m, flipped(self.head), read_out.head)
        return m
