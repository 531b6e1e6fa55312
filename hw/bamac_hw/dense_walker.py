"""The dense walk: every tap, channel and binary plane of every tile of one job."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import AHEAD_BITS, Emit, Source, layer_layout
from .step import LANE_STAGE, Step
from .window_fetch import window_layout
from .window_walk import WindowWalk

__all__ = ["DenseWalker"]


class DenseWalker(wiring.Component):
    """Walks one job: the passes and tiles of one row of tiles of one layer.

    ::

        for each pass (group of output channels):          start_bytes cycles
            for each tile along the columns:               1 cycle (start)
                for each kernel row, kernel column, word:  phases - 1 cycles
                    for each bit of the word:              1 cycle
                end                                        1 cycle, plus the wait below

    A tile of a globally pooled layer ends when the collector is free. A dense layer ends its
    only tile by waiting for the lanes, then for the collector to read every output.

    Members
    -------
    start : begin a job; ``layer``, ``slot``, ``above``, ``ahead`` must stay until ``done``
    slot, above, ahead : place of the job's first kernel row, see ``WindowWalk``
    next_slot : ring slot of the next job; valid from the third cycle on
    done : in the last cycle of the walk
    step, window : what enters the pipeline in this cycle
    collector_busy : a collection is under way; collector_start : begin one (dense layers)
    fetching, tiling, collecting, loading : the cause of a cycle that is not ``step.compute``
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
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
            self.next_slot.eq(windows.next_slot), self.window.eq(windows.window),
        ]

        count = Signal(range(max(g.start_bytes, LANE_STAGE + 1)))
        first_pass = Signal()
        bit = Signal(6)
        last_bit = Signal()
        first_bit = Signal()
        is_global = Signal()
        m.d.comb += [
            first_bit.eq(bit == 0),
            last_bit.eq(bit == Mux(windows.last_word, layer.end_bits_last, layer.word_bits_last)),
            is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)),
        ]

        def next_tile():
            """Leave a tile that has ended: on to the next tile, pass, or out."""
            m.d.comb += windows.advance.eq(1)
            m.next = "START"
            with m.If(windows.last_tile):
                m.d.sync += [count.eq(0), first_pass.eq(0)]
                m.next = "BYTES"
                with m.If(windows.last_pass):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [count.eq(0), bit.eq(0), first_pass.eq(1)]
                with m.If(self.start):
                    m.next = "BYTES"

            with m.State("BYTES"):
                # Planes come one after the other, by doubling: no step ever names one.
                m.d.comb += [step.byte.eq(1), step.plane.eq(0), self.loading.eq(1)]
                m.d.sync += count.eq(count + 1)
                with m.If(count == g.start_bytes - 1):
                    m.next = "START"

            with m.State("START"):
                m.d.comb += [step.start.eq(1), step.pass_.eq(windows.first_tile),
                             self.tiling.eq(1)]
                # The job's own slots are known only now.
                m.d.comb += windows.begin.eq(first_pass & windows.first_tile)
                m.next = "WALK"

            with m.State("WALK"):
                m.d.comb += step.load.eq(first_bit)
                with m.If(first_bit & ~windows.last_phase):
                    m.d.comb += [self.fetching.eq(1), windows.advance.eq(1)]
                with m.Else():
                    m.d.comb += [
                        step.compute.eq(1),
                        step.shift.eq(~first_bit),
                        step.row.eq(first_bit | (layer.source == Source.LINE)),
                    ]
                    m.d.sync += bit.eq(bit + 1)
                    with m.If(last_bit):
                        m.d.sync += bit.eq(0)
                        with m.If(windows.last_word & windows.last_tap):
                            m.d.sync += count.eq(0)
                            m.next = "END"  # which leaves the tile's last window
                        with m.Else():
                            m.d.comb += windows.advance.eq(1)

            with m.State("END"):
                with m.If(layer.source == Source.VECTOR):
                    m.d.comb += self.collecting.eq(1)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == LANE_STAGE - 1):
                        m.d.comb += self.collector_start.eq(1)
                        m.next = "COLLECT"
                with m.Elif(is_global & self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += [step.capture.eq(1), step.clear.eq(1), self.tiling.eq(1),
                                 step.pass_.eq(windows.last_tile)]
                    next_tile()

            with m.State("COLLECT"):
                with m.If(self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += [step.clear.eq(1), self.tiling.eq(1)]
                    next_tile()
        return m
