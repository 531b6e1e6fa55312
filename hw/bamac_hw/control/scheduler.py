"""Decides which layer runs next, and keeps every layer's place in its rings."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import (
    AHEAD_BITS,
    DESCRIPTOR_WORDS,
    HEADER,
    LAYER,
    WALK_WORDS,
    Emit,
    header_layout,
    layer_layout,
    word_layout,
)
from ..abi.layer_state import (
    STATE_WORDS,
    ahead_shape,
    arrival_layout,
    output_state_layout,
    walk_state_layout,
)
from ..geometry import Geometry
from ..pipeline import WRITE_STAGE

__all__ = ["LOOK_CYCLES", "SAVE_CYCLES", "START_CYCLES", "Scheduler"]

# From the cycle in which a job is chosen, and its descriptor's first word is read:
RING_CYCLES = 2                 # until the slots of its kernel rows can be found
START_CYCLES = WALK_WORDS + 1   # until its walk starts: the words that it needs are there
# Until the place of the layer's next job is saved and the search for the next job begins: so late
# that Counters have booked the job before, whatever is found at once.
SAVE_CYCLES = 18
LOOK_CYCLES = 4  # for each layer looked at
HEADER_ENTRY = 15  # the layer before the first, modulo 16

# The cycle of the choice is the first behind the walk before. The last bits of that are written
# WRITE_STAGE cycles behind its end: no output word of the descriptor, nor the place of outputs, may
# change before.
assert WRITE_STAGE - 1 <= START_CYCLES


class Scheduler(wiring.Component):
    """Runs the jobs of all layers, deepest first, as soon as their input rows exist.

    A job is one row of tiles of one layer. After a job of layer ``n``, layer ``n + 1`` is looked
    at, then ``n``, and so on up to layer 0, which waits for frames. Because a deeper layer always
    runs as soon as it can, no ring ever needs more rows than the compiler has worked out, and a
    clip has left every deeper layer before layer 0 begins the next one.

    Rows are counted by how many are missing: a job can run when no more rows of its input are
    missing than lie behind those that it looks at, or none at all.

    The search for the next job runs beside the walk: what a job needs is known before the job that
    makes it has ended. So does the end of the pipeline beside the next job's descriptor, whose
    words come in an order in which none is overwritten before the job before has done with it. ::

        cycle   0        1 ... WALK_WORDS     START_CYCLES   ...      SAVE_CYCLES    ...
                chosen   words of the walk    walk starts    others   place saved    search

    Cycles: ``START_CYCLES`` and one from a job's choice until its walk, then the walk; behind it
    none, if the collector is free and the search is over, which ends ``SAVE_CYCLES`` and
    ``LOOK_CYCLES`` for each layer looked at behind the choice.

    Parameters
    ----------
    geometry : Geometry
    init : sequence of int
        Initial words of the descriptor memory.
    family : str or None
        On ``"ice40"`` the running layer's place stays where the memories put it out.

    Members
    -------
    run : level; a rising edge boots (reads the header, resets every layer's state)
    layer, header : descriptor of the running layer; the program's header
    prepare, job_start, slot, above, ahead, first_job : for the walker
    output_start, out_slot, out_low, out_left : for the write-back; from ``output_start`` on, those
        of the running job
    next_slot, walk_done, collector_busy : from the walker and the collector
    missing : rows of the current clip that layer 0 needs and that are not in the input buffer
        (negative: there are more)
    idle_input : and none of them may be used (the first layer has finished with the clip)
    release, released, finish : for the frame writer
    write_en, write_addr, write_data : load the descriptor memory
    flush, current : the running layer's job ends in this cycle
    clip_done : and with it the clip
    running, waiting : booted; nothing can run until a frame arrives
    loading, scheduling, draining : the cause of a cycle outside a walk
    descriptor_reading, state_reading, state_writing : accesses of the memories; a job's place is
        one word, which is read in two parts and counted with the second
    """

    def __init__(self, geometry: Geometry, *, init=(), family=None):
        g = self._geometry = geometry
        self._init, self._family = init, family
        super().__init__({
            "run": In(1),
            "layer": Out(layer_layout(geometry)),
            "header": Out(header_layout(geometry)),
            "prepare": Out(1),
            "job_start": Out(1),
            "slot": Out(g.address_bits),
            "above": Out(3),
            "ahead": Out(signed(AHEAD_BITS)),
            "first_job": Out(1),
            "output_start": Out(1),
            "out_slot": Out(g.address_bits),
            "out_low": Out(2),
            "out_left": Out(16),
            "next_slot": In(g.address_bits),
            "walk_done": In(1),
            "collector_busy": In(1),
            "missing": In(signed(AHEAD_BITS)),
            "idle_input": In(1),
            "release": Out(1),
            "released": Out(4),
            "finish": Out(1),
            "write_en": In(1),
            "write_addr": In(range((g.max_layers + 1) * DESCRIPTOR_WORDS)),
            "write_data": In(32),
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
        header = self.header
        m = Module()

        # The layer that is looked at, and from its choice until the next search the running one;
        # before the first layer, -1 is the header.
        candidate = Signal(4)
        booting = Signal()
        begin = Signal()                        # a descriptor's first word is read
        count = Signal(range(SAVE_CYCLES + 1))  # cycles since then, 0 behind the last that matters
        save = Signal()
        m.d.comb += save.eq(count == SAVE_CYCLES)
        with m.If(begin | (count != 0)):
            m.d.sync += count.eq(count + 1)
        with m.If(save):
            m.d.sync += [count.eq(0), candidate.eq(
                Mux(candidate == header.layers_last, candidate, candidate + 1))]
        with m.If(begin):
            m.d.sync += self.current.eq(candidate)
        with m.If(~booting):
            m.d.comb += [self.prepare.eq(count == RING_CYCLES),
                         self.output_start.eq(count == len(LAYER) + 1)]

        reset_place = Signal()  # of the layer that was read, when booting
        restart_search = Signal()
        end_search = Signal()
        waits = Signal()        # nothing runs
        last_job = Signal()
        left = Signal(signed(17))
        self._load_words(m, candidate, begin, count, booting)
        ahead = self._keep_places(m, candidate, begin, count, last_job, left, save=save,
                                  reset=reset_place)
        searched, found = self._search(m, candidate, count, last_job, left, ahead, save=save,
                                       reset=reset_place, restart=restart_search,
                                       end=end_search, waits=waits)

        is_first = Signal()
        m.d.comb += [
            is_first.eq(self.current == 0),
            self.clip_done.eq(self.flush & last_job & (self.current == header.layers_last)),
            self.released.eq(self._advance()),
        ]
        # The walk's last window is read until a cycle behind its end.
        m.d.sync += [self.release.eq(self.flush & is_first),
                     self.finish.eq(self.flush & is_first & last_job)]

        def choose():
            """Begin the job that was found, or wait for its input."""
            with m.If(found):
                m.d.comb += [begin.eq(1), end_search.eq(1), self.loading.eq(1)]
                m.next = "LOAD"
            with m.Else():
                m.d.comb += self.waiting.eq(1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [booting.eq(1), candidate.eq(-1)]
                with m.If(self.run):
                    m.next = "BOOT"

            with m.State("BOOT"):
                m.d.comb += begin.eq(1)
                m.next = "BOOT-LOAD"

            with m.State("BOOT-LOAD"):
                with m.If(count == len(LAYER) + 1):
                    m.d.sync += [count.eq(0), candidate.eq(candidate + 1)]
                    m.next = "BOOT"
                    with m.If(candidate != HEADER_ENTRY):
                        m.d.comb += reset_place.eq(1)
                        with m.If(candidate == header.layers_last):
                            m.d.comb += restart_search.eq(1)
                            m.d.sync += [booting.eq(0), candidate.eq(0), self.current.eq(0)]
                            m.next = "WAIT"

            with m.State("LOAD"):
                m.d.comb += self.loading.eq(1)
                with m.If(count == START_CYCLES):
                    m.d.comb += self.job_start.eq(1)
                    m.next = "WALK"

            with m.State("WALK"):
                with m.If(self.walk_done):
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
                        m.d.comb += end_search.eq(1)
                        m.next = "IDLE"
                    choose()

        m.d.comb += [waits.eq(fsm.ongoing("WAIT")),
                     self.running.eq(~fsm.ongoing("IDLE") & ~booting)]
        return m

    def _advance(self):
        """Input rows from one job of the layer to the next."""
        g = self._geometry
        return Mux(self.layer.stride2, 2 * g.tile_rows, g.tile_rows)

    def _load_words(self, m, candidate, begin, count, booting):
        """Read a descriptor, one word per cycle, into the registers of its fields."""
        g, layer, header = self._geometry, self.layer, self.header
        held = layer_layout(g).members
        # The host may write only while nothing runs.
        m.submodules.descriptors = descriptors = Memory(
            shape=32, depth=(g.max_layers + 1) * DESCRIPTOR_WORDS, init=list(self._init),
            attrs={"no_rw_check": 1})
        read, write = descriptors.read_port(), descriptors.write_port()
        m.d.comb += [
            write.en.eq(self.write_en), write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            read.en.eq(begin | ((count != 0) & (count < len(LAYER)))),
            read.addr.eq(Cat(count[:4], (candidate + 1)[:4])),
            self.descriptor_reading.eq(read.en),
        ]
        for word, fields in enumerate(LAYER):
            with m.If(count == word + 1):
                view = data.View(word_layout(fields), read.data)
                m.d.sync += [getattr(layer, name).eq(getattr(view, name))
                             for name in fields if name in held]
        for word, fields in enumerate(HEADER):
            with m.If((count == word + 1) & booting & (candidate == HEADER_ENTRY)):
                view = data.View(word_layout(fields), read.data)
                m.d.sync += [getattr(header, name).eq(getattr(view, name)) for name in fields]

    def _keep_places(self, m, candidate, begin, count, last_job, left, *, save, reset):
        """Put the running job's place out, and save that of the layer's next job or next clip.

        Returns how many rows lie behind those that the layer's next job looks at.
        """
        g, layer = self._geometry, self.layer
        # Block memories: as many registers and LUTs in their place would cost more. They are
        # never written and read at once.
        block = {"no_rw_check": 1, "ram_style": "block"}
        walk_layout, output_layout = walk_state_layout(g), output_state_layout(g)
        m.submodules.walks = walks = Memory(shape=walk_layout, depth=STATE_WORDS, init=[],
                                            attrs=block)
        m.submodules.outputs = outputs = Memory(shape=output_layout, depth=STATE_WORDS, init=[],
                                                attrs=block)
        # The same for the search, which goes on while the job needs its own place.
        m.submodules.aheads = aheads = Memory(shape=ahead_shape(), depth=STATE_WORDS, init=[],
                                              attrs=block)
        walk_read, output_read, ahead_read = (each.read_port() for each in (walks, outputs, aheads))
        writes = [each.write_port() for each in (walks, outputs, aheads)]
        next_walk, next_output, next_ahead = (write.data for write in writes)
        output_cycle = Signal()
        m.d.comb += [
            output_cycle.eq(self.job_start),
            walk_read.en.eq(begin), walk_read.addr.eq(candidate),
            output_read.en.eq(output_cycle), output_read.addr.eq(candidate),
            ahead_read.en.eq(1), ahead_read.addr.eq(candidate),
            *(write.addr.eq(self.current) for write in writes),
            *(write.en.eq(save | reset) for write in writes),
            self.state_writing.eq(save | reset),
        ]
        walk, output, ahead = (Signal(walk_layout), Signal(output_layout),
                               Signal(signed(AHEAD_BITS)))
        if self._family == "ice40":
            m.d.comb += [walk.eq(walk_read.data), output.eq(output_read.data),
                         ahead.eq(ahead_read.data)]
        else:
            # Block RAM is slow to come out.
            m.d.sync += ahead.eq(ahead_read.data)
            with m.If(count == 1):
                m.d.sync += walk.eq(walk_read.data)
            with m.If(count == START_CYCLES + 1):
                m.d.sync += output.eq(output_read.data)

        restart = Signal()
        advance = Signal(4)
        rows = Signal(3)
        full = Signal()
        m.d.comb += [
            self.slot.eq(walk.slot), self.above.eq(walk.above), self.ahead.eq(walk.ahead),
            self.first_job.eq(output.first), self.out_slot.eq(output.out_slot),
            self.out_low.eq(output.out_low), self.out_left.eq(output.out_left),
            advance.eq(self._advance()),
            rows.eq(g.tile_rows >> layer.pool_rows_log2),
            full.eq(output.out_low + rows == g.tile_rows),
            left.eq(output.out_left - rows),
            last_job.eq((output.out_left[3:] == 0) & (output.out_left[:3] <= rows)),
            restart.eq(last_job | reset),
            next_walk.ahead.eq(Mux(restart, layer.ahead_start, walk.ahead - advance)),
            next_walk.above.eq(Mux(restart, layer.padding_top,
                                   Mux(walk.above > advance, walk.above - advance, 0))),
            next_walk.slot.eq(Mux(restart, layer.ring_start, self.next_slot)),
            next_ahead.eq(next_walk.ahead),
            next_output.out_slot.eq(
                Mux(restart | (full & (output.out_slot == layer.out_end)), layer.out_base,
                    output.out_slot + Mux(full, layer.out_pitch, 0))),
            next_output.out_low.eq(Mux(restart | full, 0, output.out_low + rows)),
            next_output.out_left.eq(Mux(restart, layer.out_rows, left)),
            next_output.first.eq(restart),
        ]
        return ahead

    def _search(self, m, candidate, count, last_job, left, ahead, *, save, reset, restart, end,
                waits):
        """Look for a layer whose next job can run, from ``candidate`` up.

        Returns ``(searched, found)``: the search is over, though the first layer's input may still
        come; and ``candidate`` can run.
        """
        # Rows that are missing at the input of each layer but the first, for which the frame
        # writer counts them. ``none`` is set while nothing of a clip has arrived.
        layout = arrival_layout()
        m.submodules.arrivals = arrivals = Memory(
            shape=layout, depth=STATE_WORDS, init=[], attrs={"no_rw_check": 1, "ram_style": "block"})
        read, write = arrivals.read_port(), arrivals.write_port()
        closing = Signal()  # the running job is the last of the first layer's clip
        m.d.comb += [
            read.en.eq(1), read.addr.eq(candidate),
            closing.eq((last_job & (self.current == 0) & ~waits) | self.finish),
        ]
        # What has been put out when this job has ended.
        with m.If((count == SAVE_CYCLES - 1) & ((self.layer.emit == Emit.MAP) | last_job)):
            m.d.comb += [write.en.eq(1), write.addr.eq(self.current + 1),
                         write.data.missing.eq(left)]  # none or less after the last job
        with m.If(reset | (save & last_job & (self.current != 0))):
            m.d.comb += [write.en.eq(1), write.addr.eq(self.current), write.data.none.eq(1)]

        seen = Signal(layout)
        fits, lowest = Signal(), Signal()
        found, searched = Signal(), Signal()
        with m.If(candidate == 0):
            m.d.sync += [seen.missing.eq(self.missing), seen.none.eq(self.idle_input | closing)]
        with m.Else():
            m.d.sync += seen.eq(read.data)
        m.d.comb += [
            fits.eq(~seen.none & ((seen.missing <= ahead) | seen.missing[-1]
                                  | (seen.missing == 0))),
            lowest.eq(candidate == 0),
        ]
        # Much hangs on the choice, so it begins at registers.
        m.d.sync += found.eq(fits)
        with m.FSM() as fsm:
            with m.State("OFF"):
                with m.If(save | restart):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += searched.eq(fits | lowest)
                m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(end):
                    m.d.sync += searched.eq(0)
                    m.next = "OFF"
                with m.Elif(~searched):
                    m.d.sync += candidate.eq(candidate - 1)
                    m.next = "LOOK"
        m.d.comb += self.state_reading.eq(fsm.ongoing("LOOK") | self.job_start)
        return searched, found
