"""Decides which layer runs next, and keeps every layer's place in its rings."""

from collections.abc import Sequence
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import (
    DESCRIPTOR_WORDS,
    HEADER,
    WALK_WORDS,
    Emit,
    header_layout,
    layer_layout,
    layer_words,
    walk_words,
    word_layout,
)
from ..abi.layer_state import ahead_shape, arrival_layout, output_state_layout, walk_state_layout
from ..geometry import Geometry
from ..memory.frame_writer import FrameControlSignature
from ..memory.memories import Memories
from ..memory.ports import write_signature
from ..pipeline import WRITE_STAGE
from .jobs import OutputJobSignature, WalkJobSignature

__all__ = ["POLL_CYCLES", "SAVE_CYCLES", "START_CYCLES", "Scheduler", "start_cycles"]

# From the cycle in which a job is chosen, and its descriptor's first word is read:
RING_CYCLES = 2                 # until the slots of its kernel rows can be found
START_CYCLES = WALK_WORDS + 1   # until its walk starts: the words that it needs are there
# Until the place of the layer's next job is saved and the search for the next job begins. By then
# Counters have booked the job before, however soon the search finds another.
SAVE_CYCLES = 18
POLL_CYCLES = 4  # for each layer that is polled
HEADER_ENTRY = 15  # the layer before the first, modulo 16

# A job may be chosen in the cycle after the previous walk. That walk's last bits are written
# WRITE_STAGE cycles after its end: until then, neither an output word of the descriptor nor the
# place of outputs may change.
assert WRITE_STAGE - 1 <= START_CYCLES


def start_cycles(geometry: Geometry) -> int:
    """``START_CYCLES``, and one more with extended descriptors."""
    return walk_words(geometry) + 1


class Scheduler(wiring.Component):
    """Runs the jobs of all layers, deepest first, as soon as their input rows exist.

    A job is one row of tiles of one layer. After a job of layer ``n``, the scheduler polls layer
    ``n + 1``, then ``n``, and so on down to layer 0, which waits for frames. Because a deeper layer
    always runs as soon as it can, no ring ever needs more rows than the compiler has worked out,
    and a clip has left every deeper layer before layer 0 begins the next one.

    Rows are counted by how many are missing. A job can run when the rows of its input that are
    missing all lie behind those that it reads, or when none is missing.

    The next job is chosen during the current walk, from the row counts that will hold when it ends.
    The end of the pipeline overlaps with the next job's descriptor in the same way: its words come
    in an order in which none is overwritten while the job before still needs it. ::

        cycle   0        1 ... walk_words     start_cycles   ...      SAVE_CYCLES    ...
                chosen   words of the walk    walk starts    others   place saved    search

    Latency: a job's walk starts ``start_cycles(geometry)`` behind its choice, so its first step
    comes one cycle later. The search for the next job begins ``SAVE_CYCLES`` behind the choice and
    takes ``POLL_CYCLES`` for each layer that is polled. A job ends, and the next one is chosen, in
    the cycle behind the walk's last one, or as soon as the collector is free and the search is
    over. Booting reads the header and every descriptor, in ``len(layer_words(geometry)) + 2``
    cycles each.

    Parameters
    ----------
    geometry : Geometry
    init : sequence of int
        Initial words of the descriptor memory.
    family : str or None
        On ``"ice40"`` the running layer's place has no registers behind the memories.
    memories : Memories, optional
        What the memories are built from.

    Members
    -------
    run : level; a rising edge boots (reads the header, resets every layer's state); when low, the
        scheduler stops when nothing can run
    layer : descriptor of the running layer
    job : ``Out(WalkJobSignature)``, to the walker
    output : ``Out(OutputJobSignature)``, to the write-back
    frames : ``Out(FrameControlSignature)``, to the frame writer
    write : ``Out(WritePort.Signature)``: load the descriptor memory, while nothing runs
    collector_busy : from the collector
    flush, current : the job of the running layer ends in this cycle
    clip_done : and with it the clip
    running, waiting : booted; nothing can run until a frame arrives
    loading, scheduling, draining : the cause of a cycle outside a walk
    descriptor_reading, state_reading, state_writing : accesses of the memories; a job's place is
        one word, which is read in two parts and counted with the second
    """

    def __init__(self, geometry: Geometry, *, init: Sequence[int] = (), family: str | None = None,
                 memories: Memories | None = None):
        g = self._geometry = geometry
        self._words = layer_words(geometry)
        self._init, self._family, self._memories = init, family, memories or Memories()
        super().__init__({
            "run": In(1),
            "layer": Out(layer_layout(geometry)),
            "job": Out(WalkJobSignature(geometry)),
            "output": Out(OutputJobSignature(geometry)),
            "frames": Out(FrameControlSignature(geometry)),
            "write": Out(write_signature(depth=(g.max_layers + 1) * DESCRIPTOR_WORDS, shape=32)),
            "collector_busy": In(1),
            "flush": Out(1),
            "current": Out(4),
            "clip_done": Out(1),
            "running": Out(1),
            "waiting": Out(1),
            "loading": Out(1),
            "scheduling": Out(1),
            "draining": Out(1),
            "descriptor_reading": Out(1),
            "state_reading": Out(1),
            "state_writing": Out(1),
        })

    def elaborate(self, platform):
        header = self.frames.header
        m = Module()

        job = SimpleNamespace(
            # The layer that is polled, and from its choice until the next search the running one;
            # before the first layer, -1 is the header.
            candidate=Signal(4, name="candidate"),
            booting=Signal(name="booting"),
            begin=Signal(name="begin"),  # a descriptor's first word is read
            # Cycles since then; 0 behind the last that matters.
            count=Signal(range(SAVE_CYCLES + 1), name="count"),
            save=Signal(name="save"),
            reset=Signal(name="reset_place"),  # of the layer that was read, when booting
            restart=Signal(name="restart_search"), end_search=Signal(name="end_search"),
            waits=Signal(name="waits"),        # nothing runs
            last=Signal(name="last_job"),
            left=Signal(signed(17), name="left"))
        candidate, count, save = job.candidate, job.count, job.save
        m.d.comb += save.eq(count == SAVE_CYCLES)
        with m.If(job.begin | (count != 0)):
            m.d.sync += count.eq(count + 1)
        with m.If(save):
            m.d.sync += [count.eq(0), candidate.eq(
                Mux(candidate == header.layers_last, candidate, candidate + 1))]
        with m.If(job.begin):
            m.d.sync += self.current.eq(candidate)
        with m.If(~job.booting):
            m.d.comb += [self.job.place.prepare.eq(count == RING_CYCLES),
                         self.output.start.eq(count == len(self._words) + 1)]

        self._load_words(m, job)
        ahead = self._keep_places(m, job)
        searched, found = self._search(m, job, ahead)

        is_first = Signal()
        m.d.comb += [
            is_first.eq(self.current == 0),
            self.clip_done.eq(self.flush & job.last & (self.current == header.layers_last)),
            self.frames.released.eq(self._advance()), self.frames.enable.eq(self.running),
        ]
        # The walk's last window is read until a cycle behind its end.
        m.d.sync += [self.frames.release.eq(self.flush & is_first),
                     self.frames.finish.eq(self.flush & is_first & job.last)]

        self._sequence(m, job, searched, found)
        return m

    def _sequence(self, m, job, searched, found):
        """Boot, and run one job after the other."""
        candidate, count = job.candidate, job.count

        def choose():
            """Begin the job that was found, or wait for its input."""
            with m.If(found):
                m.d.comb += [job.begin.eq(1), job.end_search.eq(1), self.loading.eq(1)]
                m.next = "LOAD"
            with m.Else():
                m.d.comb += self.waiting.eq(1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [job.booting.eq(1), candidate.eq(-1)]
                with m.If(self.run):
                    m.next = "BOOT"

            with m.State("BOOT"):
                m.d.comb += job.begin.eq(1)
                m.next = "BOOT-LOAD"

            with m.State("BOOT-LOAD"):
                with m.If(count == len(self._words) + 1):
                    m.d.sync += [count.eq(0), candidate.eq(candidate + 1)]
                    m.next = "BOOT"
                    with m.If(candidate != HEADER_ENTRY):
                        m.d.comb += job.reset.eq(1)
                        with m.If(candidate == self.frames.header.layers_last):
                            m.d.comb += job.restart.eq(1)
                            m.d.sync += [job.booting.eq(0), candidate.eq(0), self.current.eq(0)]
                            m.next = "WAIT"

            with m.State("LOAD"):
                m.d.comb += self.loading.eq(1)
                with m.If(count == start_cycles(self._geometry)):
                    m.d.comb += self.job.start.eq(1)
                    m.next = "WALK"

            with m.State("WALK"):
                with m.If(self.job.done):
                    m.next = "LEAVE"

            with m.State("LEAVE"):
                with m.If(self.collector_busy):
                    m.d.comb += self.draining.eq(1)
                with m.Elif(~searched):
                    m.d.comb += self.scheduling.eq(1)
                with m.Else():
                    m.d.comb += self.flush.eq(1)
                    m.d.sync += self.current.eq(candidate)  # the first layer, if none can run
                    m.next = "WAIT"
                    choose()

            with m.State("WAIT"):
                with m.If(~searched):
                    m.d.comb += self.scheduling.eq(1)
                with m.Else():
                    with m.If(~self.run):
                        m.d.comb += job.end_search.eq(1)
                        m.next = "IDLE"
                    choose()

        m.d.comb += [job.waits.eq(fsm.ongoing("WAIT")),
                     self.running.eq(~fsm.ongoing("IDLE") & ~job.booting)]

    def _advance(self):
        """Input rows from one job of the layer to the next."""
        g = self._geometry
        return Mux(self.layer.stride2, 2 * g.tile_rows, g.tile_rows)

    def _load_words(self, m, job):
        """Read a descriptor, one word per cycle, into the registers of its fields."""
        g, layer, header, count = self._geometry, self.layer, self.frames.header, job.count
        held = layer_layout(g).members
        # The host may write only while nothing runs.
        m.submodules.descriptors = descriptors = self._memories.descriptors(g, init=self._init)
        read, write = descriptors.read, descriptors.write
        m.d.comb += [
            write.en.eq(self.write.en), write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
            read.en.eq(job.begin | ((count != 0) & (count < len(self._words)))),
            read.addr.eq(Cat(count[:4], (job.candidate + 1)[:4])),
            self.descriptor_reading.eq(read.en),
        ]
        for word, fields in enumerate(self._words):
            with m.If(count == word + 1):
                view = data.View(word_layout(fields), read.data)
                m.d.sync += [getattr(layer, name).eq(getattr(view, name))
                             for name in fields if name in held]
        for word, fields in enumerate(HEADER):
            kept = [name for name in fields if name in header_layout(g).members]
            if not kept:
                continue
            with m.If((count == word + 1) & job.booting & (job.candidate == HEADER_ENTRY)):
                view = data.View(word_layout(fields), read.data)
                m.d.sync += [getattr(header, name).eq(getattr(view, name)) for name in kept]

    def _keep_places(self, m, job):
        """Give the running job's place, and save that of the layer's next job or next clip.

        Returns how many rows lie behind those that the polled layer's next job reads.
        """
        g, count = self._geometry, job.count
        # They are never written and read at once.
        state = self._memories.layer_state
        walks, outputs = state(g, walk_state_layout(g)), state(g, output_state_layout(g))
        # A copy for the search, which goes on while the job needs its own place.
        aheads = state(g, ahead_shape())
        m.submodules.walks, m.submodules.outputs, m.submodules.aheads = walks, outputs, aheads
        m.d.comb += [
            walks.read.en.eq(job.begin), walks.read.addr.eq(job.candidate),
            outputs.read.en.eq(self.job.start), outputs.read.addr.eq(job.candidate),
            aheads.read.en.eq(1), aheads.read.addr.eq(job.candidate),
            *(memory.write.addr.eq(self.current) for memory in (walks, outputs, aheads)),
            *(memory.write.en.eq(job.save | job.reset) for memory in (walks, outputs, aheads)),
            self.state_writing.eq(job.save | job.reset),
        ]
        walk, output, ahead = (Signal(walk_state_layout(g), name="place"),
                               Signal(output_state_layout(g), name="output_place"),
                               Signal(ahead_shape(), name="polled_ahead"))
        if self._family == "ice40":
            m.d.comb += [walk.eq(walks.read.data), output.eq(outputs.read.data),
                         ahead.eq(aheads.read.data)]
        else:
            # Block RAM is slow to come out.
            m.d.sync += ahead.eq(aheads.read.data)
            with m.If(count == 1):
                m.d.sync += walk.eq(walks.read.data)
            with m.If(count == start_cycles(g) + 1):
                m.d.sync += output.eq(outputs.read.data)
        place = self.job.place
        m.d.comb += [
            place.slot.eq(walk.slot), place.above.eq(walk.above), place.ahead.eq(walk.ahead),
            self.output.first.eq(output.first), self.output.slot.eq(output.out_slot),
            self.output.low.eq(output.out_low), self.output.left.eq(output.out_left),
        ]
        self._next_places(m, job, walk, output, walks.write.data, outputs.write.data)
        m.d.comb += aheads.write.data.eq(walks.write.data.ahead)
        return ahead

    def _next_places(self, m, job, walk, output, next_walk, next_output):
        """Work out the place of the layer's next job, or of the next clip's first one."""
        g, layer = self._geometry, self.layer
        restart = Signal()
        advance = Signal(4)
        rows = Signal(3)
        full = Signal()
        m.d.comb += [
            advance.eq(self._advance()),
            rows.eq(g.tile_rows >> layer.pool_rows_log2),
            full.eq(output.out_low + rows == g.tile_rows),
            job.left.eq(output.out_left - rows),
            job.last.eq((output.out_left[3:] == 0) & (output.out_left[:3] <= rows)),
            restart.eq(job.last | job.reset),
            next_walk.ahead.eq(Mux(restart, layer.ahead_start, walk.ahead - advance)),
            next_walk.above.eq(Mux(restart, layer.padding_top,
                                   Mux(walk.above > advance, walk.above - advance, 0))),
            next_walk.slot.eq(Mux(restart, layer.ring_start, self.job.place.next_slot)),
            next_output.out_slot.eq(
                Mux(restart | (full & (output.out_slot == layer.out_end)), layer.out_base,
                    output.out_slot + Mux(full, layer.out_pitch, 0))),
            next_output.out_low.eq(Mux(restart | full, 0, output.out_low + rows)),
            next_output.out_left.eq(Mux(restart, layer.out_rows, job.left)),
            next_output.first.eq(restart),
        ]

    def _search(self, m, job, ahead):
        """Poll layers for one whose next job can run, from ``candidate`` down to layer 0.

        Returns ``(searched, found)``: the search is over, though the first layer's input may still
        come; and ``candidate`` can run.
        """
        candidate = job.candidate
        # Rows that are missing at the input of each layer but the first, for which the frame
        # writer counts them.
        m.submodules.arrivals = arrivals = self._memories.layer_state(
            self._geometry, arrival_layout())
        read, write = arrivals.read, arrivals.write
        closing = Signal()  # the running job is the last of the first layer's clip
        m.d.comb += [
            read.en.eq(1), read.addr.eq(candidate),
            closing.eq((job.last & (self.current == 0) & ~job.waits) | self.frames.finish),
        ]
        # Rows that exist when this job has ended.
        with m.If((job.count == SAVE_CYCLES - 1)
                  & ((self.layer.emit == Emit.MAP) | job.last)):
            m.d.comb += [write.en.eq(1), write.addr.eq(self.current + 1),
                         write.data.missing.eq(job.left)]  # none or less after the last job
        with m.If(job.reset | (job.save & job.last & (self.current != 0))):
            m.d.comb += [write.en.eq(1), write.addr.eq(self.current), write.data.none.eq(1)]

        seen = Signal(arrival_layout())
        fits, lowest = Signal(), Signal()
        found, searched = Signal(), Signal()
        with m.If(candidate == 0):
            m.d.sync += [seen.missing.eq(self.frames.missing),
                         seen.none.eq(self.frames.idle | closing)]
        with m.Else():
            m.d.sync += seen.eq(read.data)
        m.d.comb += [
            fits.eq(~seen.none & ((seen.missing <= ahead) | seen.missing[-1]
                                  | (seen.missing == 0))),
            lowest.eq(candidate == 0),
        ]
        # Long paths begin at the choice, so it is a register.
        m.d.sync += found.eq(fits)
        with m.FSM() as fsm:
            with m.State("OFF"):
                with m.If(job.save | job.restart):
                    m.next = "POLL"
            with m.State("POLL"):
                m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += searched.eq(fits | lowest)
                m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(job.end_search):
                    m.d.sync += searched.eq(0)
                    m.next = "OFF"
                with m.Elif(~searched):
                    m.d.sync += candidate.eq(candidate - 1)
                    m.next = "POLL"
        m.d.comb += self.state_reading.eq(fsm.ongoing("POLL") | self.job.start)
        return searched, found
