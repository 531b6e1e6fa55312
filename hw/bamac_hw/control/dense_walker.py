"""The dense walk: every tap, channel and binary plane of every tile of one job."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import AHEAD_BITS, Emit, Source, layer_layout
from ..datapath.int8_read_out import read_out_wait, sums_wait
from ..geometry import Geometry
from ..lib.small_count import one_more
from ..memory.window_fetch import window_layout
from ..pipeline import LANE_STAGE, PLANE_BITS, Step
from .window_walk import WindowWalk

__all__ = ["DenseWalker"]


class DenseWalker(wiring.Component):
    """Walks one job: the passes and tiles of one row of tiles of one layer.

    ::

        for each pass (group of output channels):          start_reads cycles
            for each tile along the columns:               1 cycle (start)
                for each kernel row, kernel column, word:  phases - 1 cycles
                    for each bit of the word:              1 cycle
                end                                        1 cycle, plus the wait below

    With pair lanes, a step takes two bits of a word of channels. Values with binary planes are
    walked once for every two planes, from the most significant ones on; behind each walk but the
    last, two cycles double the sums twice, and the start value is added before the last one::

        for each pass:                                     start_reads cycles
            for each tile:
                for each two planes:
                    for each kernel row, column, word:     phases cycles
                    double the sums, if not the last       2 cycles
                1 cycle (start), before the last two planes
                end                                        as above

    A tile of a globally pooled layer ends when the collector is free. A dense layer ends its
    only tile by waiting for the lanes, then for the collector to read every output.

    With int8 lanes, the bits of a word are values. Their sums cannot be handed over in one cycle:
    behind its end each tile stands still for ``read_out_wait`` cycles, and only a layer that emits
    scores waits for the collector (:mod:`bamac_hw.datapath.int8_read_out`).

    Members
    -------
    prepare : comes four cycles before ``start``, or earlier, see ``WindowWalk``
    start : begin a job; ``slot``, ``above``, ``ahead`` and the first four descriptor words'
        ``layer`` must be stable from two cycles before it until ``done``, the other words of the
        walk (``WALK_WORDS``) from ``start``, the rest from five cycles behind it
    slot, above, ahead : place of the job's first kernel row, see ``WindowWalk``
    next_slot : ring slot of the next job; valid from four cycles behind ``prepare`` on
    done : in the last cycle of the walk
    step, window : what enters the pipeline in this cycle
    collector_busy : a collection is under way; collector_start : begin one (dense layers)
    fetching, tiling, collecting, loading : the cause of a cycle that is not ``step.compute``
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "prepare": In(1),
            "start": In(1),
            "slot": In(geometry.address_bits),
            "above": In(3),
            "ahead": In(signed(AHEAD_BITS)),
            "next_slot": Out(geometry.address_bits),
            "done": Out(1),
            "step": Out(Step),
            "window": Out(window_layout(geometry)),
            "collector_busy": In(1),
            "collector_start": Out(1),
            "fetching": Out(1),
            "tiling": Out(1),
            "collecting": Out(1),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer, step = self.layer, self.step
        m = Module()

        m.submodules.windows = windows = WindowWalk(g)
        m.d.comb += [
            windows.layer.eq(layer), windows.slot.eq(self.slot),
            windows.above.eq(self.above), windows.ahead.eq(self.ahead),
            windows.prepare.eq(self.prepare),
            self.next_slot.eq(windows.next_slot), self.window.eq(windows.window),
        ]

        lane_wait = sums_wait(g) if g.int8_maps else LANE_STAGE
        longest = read_out_wait(g, one_by_one=True, last=True) if g.int8_maps else 0
        count = Signal(range(max(g.start_bytes, lane_wait + 1, longest)))
        first_pass = Signal()
        second = Signal()
        bit_ahead = Signal(6, init=1)  # the bit's number and one
        first_bit = Signal(init=1)
        last_bit = Signal()
        end_is_first, word_is_first, later_is_last = Signal(), Signal(), Signal()
        is_global, collects = Signal(), Signal()
        is_line = Signal()
        bits_last = Signal(6)
        pair = g.lane == "pair"
        m.d.comb += [
            bits_last.eq(Mux(windows.last_word, layer.end_bits_last, layer.word_bits_last)),
            last_bit.eq(Mux(first_bit, Mux(windows.last_word, end_is_first, word_is_first),
                            later_is_last)),
            is_line.eq(layer.source == Source.LINE),
        ]
        def steps_last(bits_last):
            """The last step of a word with so many bits (less one), of ``step_bits`` each."""
            return bits_last >> 1 if pair else bits_last

        one_step = ~is_line if pair else C(0)
        m.d.sync += [
            is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)),
            collects.eq(layer.emit == Emit.RAW if g.int8_maps else layer.source == Source.VECTOR),
            end_is_first.eq(one_step | (steps_last(layer.end_bits_last) == 0)),
            word_is_first.eq(one_step | (steps_last(layer.word_bits_last) == 0)),
        ]
        # Gated lanes walk a tile once: planes come one after the other, by doubling the operand.
        planes = Signal(PLANE_BITS - 1) if pair else C(0)  # half the number of the lower plane
        top_planes = Signal(PLANE_BITS - 1)
        if pair:
            m.d.comb += top_planes.eq(Mux(is_line, 0, layer.word_bits_last[1:]))

        clear = [step.clear.eq(1), step.pass_.eq(windows.last_tile)]

        def begin_tile():
            m.next = "START"
            if pair:
                m.d.sync += planes.eq(top_planes)
                with m.If(top_planes != 0):
                    m.next = "WALK"

        def next_tile():
            """Leave a tile that has ended: on to the next tile, pass, or out."""
            m.d.comb += windows.advance.eq(1)
            begin_tile()
            with m.If(windows.last_tile):
                m.d.sync += [count.eq(0), first_pass.eq(0)]
                m.next = "BYTES"
                with m.If(windows.last_pass):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [count.eq(0), first_pass.eq(1)]
                with m.If(self.start):
                    m.next = "BYTES"

            with m.State("BYTES"):
                m.d.comb += [step.byte.eq(1), step.plane.eq(0), step.double.eq(0),
                             self.loading.eq(1)]
                m.d.sync += count.eq(count + 1)
                with m.If(count == g.start_reads - 1):
                    begin_tile()
                    m.d.comb += windows.begin.eq(first_pass)

            with m.State("START"):
                m.d.comb += [step.start.eq(1), step.pass_.eq(windows.first_tile),
                             self.tiling.eq(1)]
                m.next = "WALK"

            with m.State("WALK"):
                m.d.comb += [step.load.eq(first_bit), step.plane.eq(planes)]
                with m.If(first_bit & ~windows.last_phase):
                    m.d.comb += [self.fetching.eq(1), windows.advance.eq(1)]
                with m.Else():
                    m.d.comb += [
                        step.compute.eq(1),
                        step.shift.eq(~first_bit),
                        step.row.eq(first_bit | is_line),
                    ]
                    m.d.sync += [bit_ahead.eq(one_more(bit_ahead)), first_bit.eq(0),
                                 later_is_last.eq(bit_ahead == steps_last(bits_last))]
                    with m.If(last_bit):
                        m.d.sync += [bit_ahead.eq(1), first_bit.eq(1)]
                        with m.If(windows.last_word & windows.last_tap):
                            m.d.sync += count.eq(0)
                            m.next = "END"  # which leaves the tile's last window
                            if pair:
                                with m.If(planes != 0):
                                    m.d.comb += [windows.advance.eq(1), windows.again.eq(1)]
                                    m.next = "DOUBLE"
                        with m.Else():
                            m.d.comb += windows.advance.eq(1)

            if pair:
                with m.State("DOUBLE"):
                    m.d.comb += [step.double.eq(1), self.tiling.eq(1)]
                    m.d.sync += second.eq(~second)
                    with m.If(second):
                        m.d.sync += planes.eq(planes - 1)
                        m.next = "WALK"
                        with m.If(planes == 1):
                            m.next = "START"

            with m.State("END"):
                with m.If(collects):
                    m.d.comb += self.collecting.eq(1)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == lane_wait - 1):
                        m.d.comb += self.collector_start.eq(1)
                        m.next = "COLLECT"
                if g.int8_maps:
                    with m.Else():
                        m.d.comb += [step.capture.eq(1), *clear, self.tiling.eq(1)]
                        m.next = "READ-OUT"
                else:
                    with m.Elif(is_global & self.collector_busy):
                        m.d.comb += self.collecting.eq(1)
                    with m.Else():
                        m.d.comb += [step.capture.eq(1), *clear, self.tiling.eq(1)]
                        next_tile()

            if g.int8_maps:
                with m.State("READ-OUT"):
                    waits = [[read_out_wait(g, one_by_one=one_by_one, last=last) - 1
                              for last in (False, True)] for one_by_one in (False, True)]
                    wait = Signal.like(count)
                    m.d.comb += [self.tiling.eq(1), wait.eq(
                        Mux(layer.emit == Emit.MAP, Mux(windows.last_tile, *waits[0][::-1]),
                            Mux(windows.last_tile, *waits[1][::-1])))]
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == wait):
                        m.d.sync += count.eq(0)
                        next_tile()

            with m.State("COLLECT"):
                with m.If(self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += [*clear, self.tiling.eq(1)]
                    next_tile()
        return m
