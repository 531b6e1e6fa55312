"""The dense walk: every tap, channel and binary plane of every tile of one job.

The walk of each kind of lane is a class of its own; they share the loops and differ in the steps of
a word and in what happens between and behind a tile's steps.
"""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..abi.descriptors import READ_OUT, Emit, Source, layer_layout
from ..geometry import Geometry
from ..lib.small_count import one_more
from ..memory.window import BitFetchSignature
from ..pipeline import LANE_STAGE, PLANE_BITS
from .jobs import WalkJobSignature
from .window_walk import WindowWalk
from .work import CauseSignature, CollectSignature, WorkSignature

__all__ = ["DenseWalker", "Int8DenseWalker", "PairDenseWalker"]


class DenseWalker(wiring.Component):
    """Walks one job: the passes and tiles of one row of tiles of one layer.

    ::

        for each pass (group of output channels):          start_reads cycles
            for each tile along the columns:               1 cycle (start)
                for each kernel row, kernel column, word:  phases - 1 cycles
                    for each bit of the word:              1 cycle
                end                                        1 cycle, plus the wait below

    A tile of a globally pooled layer ends when the collector is free. A dense layer ends its
    only tile by waiting for the lanes, then for the collector to read every output.

    The fetch's bits are handed on to ``work`` in the same cycle.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    layer : the running layer's descriptor
    job : ``In(WalkJobSignature)``, from the scheduler
    fetch : ``Out(BitFetchSignature)``, to the window fetch
    work : ``Out(WorkSignature)``, to the datapath
    collect : ``Out(CollectSignature)``, to the collector
    causes : ``Out(CauseSignature)``, to the counters
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job": In(WalkJobSignature(geometry)),
            "fetch": Out(BitFetchSignature(geometry)),
            "work": Out(WorkSignature(geometry)),
            "collect": Out(CollectSignature(geometry)),
            "causes": Out(CauseSignature(geometry)),
        })

    def elaborate(self, platform):
        m = Module()
        walk = self._signals(m)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [walk.count.eq(0), walk.first_pass.eq(1)]
                with m.If(self.job.start):
                    m.next = "BYTES"
            self._bytes_state(m, walk)
            with m.State("START"):
                m.d.comb += [self.work.step.start.eq(1),
                             self.work.step.pass_.eq(walk.windows.first_tile),
                             self.causes.tiling.eq(1)]
                m.next = "WALK"
            self._walk_state(m, walk)
            self._end_states(m, walk)
            with m.State("COLLECT"):
                with m.If(self.collect.busy):
                    m.d.comb += self.causes.collecting.eq(1)
                with m.Else():
                    m.d.comb += [*self._clear(walk), self.causes.tiling.eq(1)]
                    self._next_tile(m, walk)
        return m

    # What lanes of other kinds do differently.

    def _steps_last(self, bits_last):
        """The last step of a word with so many bits (less one)."""
        return bits_last

    def _one_step(self):
        """Whether the layer's words take one step each, whatever bits they have."""
        return C(0)

    def _collects(self):
        """Whether the running layer is read out by the collector, one output after another."""
        if self._geometry.map_head:
            return Cat(self.layer.emit == emit for emit in READ_OUT).any()
        return self.layer.source == Source.VECTOR

    def _lane_wait(self) -> int:
        """Cycles from a walk's last step until its sums can be read."""
        return LANE_STAGE

    def _longest_wait(self) -> int:
        """Cycles that ``count`` must be able to count besides."""
        return 0

    def _begin_tile(self, m, walk):
        m.next = "START"

    def _end_round(self, m, walk):
        """Behind the last step of a tile."""
        m.next = "END"  # which leaves the tile's last window

    # The walk.

    def _signals(self, m):
        """The window walk, and the signals that states share."""
        g, layer, step = self._geometry, self.layer, self.work.step
        m.submodules.windows = windows = WindowWalk(g)
        m.d.comb += [
            windows.layer.eq(layer), self.fetch.window.eq(windows.window),
            self.fetch.step.eq(step), self.work.bits.eq(self.fetch.bits),
            self.collect.capture.eq(step.capture),
        ]
        connect(m, flipped(self.job.place), windows.place)
        if g.depthwise:
            m.d.comb += [to.eq(word) for to, word in zip(self.work.own, self.fetch.own,
                                                         strict=True)]

        walk = SimpleNamespace(
            windows=windows,
            count=Signal(range(max(g.start_bytes, self._lane_wait() + 1, self._longest_wait()))),
            first_pass=Signal(name="first_pass"),
            # The number of the next bit: one more than that of the bit at hand.
            next_bit=Signal(6, init=1, name="next_bit"), first_bit=Signal(init=1, name="first_bit"),
            last_bit=Signal(name="last_bit"), later_is_last=Signal(name="later_is_last"),
            is_global=Signal(name="is_global"), collects=Signal(name="collects"),
            is_line=Signal(name="is_line"), bits_last=Signal(6, name="bits_last"),
            planes=C(0))
        end_is_first, word_is_first = Signal(), Signal()
        m.d.comb += [
            walk.bits_last.eq(Mux(windows.last_word, layer.end_bits_last, layer.word_bits_last)),
            walk.last_bit.eq(Mux(walk.first_bit,
                                 Mux(windows.last_word, end_is_first, word_is_first),
                                 walk.later_is_last)),
            walk.is_line.eq(layer.source == Source.LINE),
        ]
        m.d.sync += [
            walk.is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)),
            walk.collects.eq(self._collects()),
            end_is_first.eq(self._one_step() | (self._steps_last(layer.end_bits_last) == 0)),
            word_is_first.eq(self._one_step() | (self._steps_last(layer.word_bits_last) == 0)),
        ]
        return walk

    def _bytes_state(self, m, walk):
        """Read a pass's start values."""
        step, count = self.work.step, walk.count
        with m.State("BYTES"):
            m.d.comb += [step.byte.eq(1), step.plane.eq(0), step.double.eq(0),
                         self.causes.loading.eq(1)]
            m.d.sync += count.eq(count + 1)
            with m.If(count == self._geometry.start_reads - 1):
                self._begin_tile(m, walk)
                m.d.comb += walk.windows.begin.eq(walk.first_pass)

    def _walk_state(self, m, walk):
        """Offer the bits of all words of a tile."""
        step, windows = self.work.step, walk.windows
        with m.State("WALK"):
            m.d.comb += [step.load.eq(walk.first_bit), step.plane.eq(walk.planes)]
            with m.If(walk.first_bit & ~windows.last_phase):
                m.d.comb += [self.causes.fetching.eq(1), windows.advance.eq(1)]
            with m.Else():
                m.d.comb += [
                    step.compute.eq(1),
                    step.shift.eq(~walk.first_bit),
                    step.row.eq(walk.first_bit | walk.is_line),
                ]
                m.d.sync += [
                    walk.next_bit.eq(one_more(walk.next_bit)), walk.first_bit.eq(0),
                    walk.later_is_last.eq(walk.next_bit == self._steps_last(walk.bits_last))]
                with m.If(walk.last_bit):
                    m.d.sync += [walk.next_bit.eq(1), walk.first_bit.eq(1)]
                    with m.If(windows.last_word & windows.last_tap):
                        m.d.sync += walk.count.eq(0)
                        self._end_round(m, walk)
                    with m.Else():
                        m.d.comb += windows.advance.eq(1)

    def _end_states(self, m, walk):
        """End a tile: hand its results over, or wait for the collector."""
        with m.State("END"):
            self._end_of_dense_layer(m, walk)
            with m.Elif(walk.is_global & self.collect.busy):
                m.d.comb += self.causes.collecting.eq(1)
            with m.Else():
                self._capture(m, walk)
                self._next_tile(m, walk)

    def _end_of_dense_layer(self, m, walk):
        """Wait for the lanes of a layer that the collector reads out."""
        with m.If(walk.collects):
            m.d.comb += self.causes.collecting.eq(1)
            m.d.sync += walk.count.eq(walk.count + 1)
            with m.If(walk.count == self._lane_wait() - 1):
                m.d.comb += self.collect.start.eq(1)
                m.next = "COLLECT"

    def _clear(self, walk):
        return [self.work.step.clear.eq(1), self.work.step.pass_.eq(walk.windows.last_tile)]

    def _capture(self, m, walk):
        m.d.comb += [self.work.step.capture.eq(1), *self._clear(walk), self.causes.tiling.eq(1)]

    def _next_tile(self, m, walk):
        """Leave a tile that has ended: on to the next tile, pass, or out."""
        windows = walk.windows
        m.d.comb += windows.advance.eq(1)
        self._begin_tile(m, walk)
        with m.If(windows.last_tile):
            m.d.sync += [walk.count.eq(0), walk.first_pass.eq(0)]
            m.next = "BYTES"
            with m.If(windows.last_pass):
                m.d.comb += self.job.done.eq(1)
                m.next = "IDLE"


class PairDenseWalker(DenseWalker):
    """The dense walk of pair lanes.

    A step takes two bits of a word of channels. Values with binary planes are walked once for every
    two planes, from the most significant ones on; behind each of these rounds but the last, two
    cycles double the sums twice, and the start value is added before the last round::

        for each pass:                                     start_reads cycles
            for each tile:
                for each two planes:
                    for each kernel row, column, word:     phases cycles
                    double the sums, if not the last       2 cycles
                1 cycle (start), before the last two planes
                end                                        as of DenseWalker

    Ports and waits are those of :class:`DenseWalker`.
    """

    def _steps_last(self, bits_last):
        return bits_last >> 1

    def _one_step(self):
        return ~(self.layer.source == Source.LINE)

    def _signals(self, m):
        walk = super()._signals(m)
        # Half the number of the lower plane of the two at hand, and of the topmost two.
        walk.planes = Signal(PLANE_BITS - 1, name="planes")
        walk.top_planes = Signal(PLANE_BITS - 1, name="top_planes")
        walk.second = Signal(name="second")
        m.d.comb += walk.top_planes.eq(Mux(walk.is_line, 0, self.layer.word_bits_last[1:]))
        return walk

    def _begin_tile(self, m, walk):
        m.next = "START"
        m.d.sync += walk.planes.eq(walk.top_planes)
        with m.If(walk.top_planes != 0):
            m.next = "WALK"

    def _end_round(self, m, walk):
        m.next = "END"
        with m.If(walk.planes != 0):
            m.d.comb += [walk.windows.advance.eq(1), walk.windows.again.eq(1)]
            m.next = "DOUBLE"

    def _end_states(self, m, walk):
        with m.State("DOUBLE"):
            m.d.comb += [self.work.step.double.eq(1), self.causes.tiling.eq(1)]
            m.d.sync += walk.second.eq(~walk.second)
            with m.If(walk.second):
                m.d.sync += walk.planes.eq(walk.planes - 1)
                m.next = "WALK"
                with m.If(walk.planes == 1):
                    m.next = "START"
        super()._end_states(m, walk)


class Int8DenseWalker(DenseWalker):
    """The dense walk of int8 lanes: the bits of a word are values.

    The sums cannot be handed over in one cycle: after the end of each tile the walk waits for
    ``read_out_wait`` cycles of the geometry's traits, and only a layer that emits scores waits for
    the collector (:mod:`bamac_hw.datapath.int8_read_out`). All else is as of :class:`DenseWalker`.
    """

    def _collects(self):
        return self.layer.emit == Emit.RAW

    def _lane_wait(self):
        return self._geometry.traits.sums_wait

    def _wait(self, *, one_by_one, last):
        return self._geometry.traits.read_out_wait(self._geometry, one_by_one=one_by_one, last=last)

    def _longest_wait(self):
        return self._wait(one_by_one=True, last=True)

    def _end_states(self, m, walk):
        count = walk.count
        with m.State("END"):
            self._end_of_dense_layer(m, walk)
            with m.Else():
                self._capture(m, walk)
                m.next = "READ-OUT"

        with m.State("READ-OUT"):
            waits = [[self._wait(one_by_one=one_by_one, last=last) - 1
                      for last in (False, True)] for one_by_one in (False, True)]
            wait = Signal.like(count, name="wait")
            last_tile = walk.windows.last_tile
            m.d.comb += [self.causes.tiling.eq(1), wait.eq(
                Mux(self.layer.emit == Emit.MAP, Mux(last_tile, *waits[0][::-1]),
                    Mux(last_tile, *waits[1][::-1])))]
            m.d.sync += count.eq(count + 1)
            with m.If(count == wait):
                m.d.sync += count.eq(0)
                self._next_tile(m, walk)
