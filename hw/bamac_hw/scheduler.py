"""Decides which layer runs next, and keeps every layer's place in its rings."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import (
    AHEAD_BITS,
    DESCRIPTOR_WORDS,
    HEADER,
    LAYER,
    Emit,
    header_layout,
    layer_layout,
    word_layout,
)
from .step import WRITE_STAGE

__all__ = ["DRAIN_CYCLES", "LOOK_CYCLES", "Scheduler"]

LOOK_CYCLES = 3  # for each layer looked at

# From the last step of a job until its bits are in the line buffers and can be read.
DRAIN_CYCLES = WRITE_STAGE + 1


def state_layout(geometry):
    """A layer's place in the clip, saved between its jobs.

    ``ahead`` is how many rows of the input map lie behind those that the next job looks at, and
    ``above`` how many rows of padding above the map it begins with. ``slot`` is the ring slot of
    its first kernel row; ``out_left`` counts the rows that are not yet put out, ``out_slot`` and
    ``out_low`` are the place of the next one. ``first`` marks the first job of a clip.
    """
    return data.StructLayout({
        "ahead": signed(AHEAD_BITS), "above": 3, "slot": geometry.address_bits,
        "out_left": 16, "out_slot": geometry.address_bits, "out_low": 2, "first": 1,
    })


class Scheduler(wiring.Component):
    """Runs the jobs of all layers, deepest first, as soon as their input rows exist.

    A job is one row of tiles of one layer. After a job of layer ``n``, layer ``n + 1`` is looked
    at, then ``n``, and so on up to layer 0, which waits for frames. Because a deeper layer always
    runs as soon as it can, no ring ever needs more rows than the compiler has worked out, and a
    clip has left every deeper layer before layer 0 begins the next one.

    Rows are counted by how many are missing: a job can run when no more rows of its input are
    missing than lie behind those that it looks at, or none at all.

    Cycles: 3 for each layer looked at, 13 to load the descriptor, 1 to start, then the walk,
    ``DRAIN_CYCLES`` (and the collector, if it is still busy), and 1 to save.

    Parameters
    ----------
    geometry : Geometry
    init : sequence of int
        Initial words of the descriptor memory.
    family : str or None
        On ``"ice40"`` the running layer's place stays where the state memory puts it out.

    Members
    -------
    run : level; a rising edge boots (reads the header, resets every layer's state)
    layer, header : descriptor of the running layer; the program's header
    prepare, job_start, slot, above, ahead, first_job : for the walker
    out_slot, out_low, out_left : for the write-back
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
    descriptor_reading, state_reading, state_writing : accesses of the memories
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
        g = self._geometry
        layer, header = self.layer, self.header
        held = layer_layout(g).members
        m = Module()

        # The host may write only while nothing runs.
        m.submodules.descriptors = descriptors = Memory(
            shape=32, depth=(g.max_layers + 1) * DESCRIPTOR_WORDS, init=list(self._init),
            attrs={"no_rw_check": 1})
        read, write = descriptors.read_port(), descriptors.write_port()
        # Block memories: as many registers and LUTs in their place would cost more. They are
        # written when a job is saved and read when the next is looked for, never at once.
        layout = state_layout(g)
        block = {"no_rw_check": 1, "ram_style": "block"}
        m.submodules.states = states = Memory(shape=layout, depth=16, init=[], attrs=block)
        state_read, state_write = states.read_port(), states.write_port()
        m.d.comb += [
            write.en.eq(self.write_en), write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            self.descriptor_reading.eq(read.en),
            self.state_reading.eq(state_read.en),
            self.state_writing.eq(state_write.en),
            read.en.eq(0), state_read.en.eq(0),
        ]

        # Rows that are missing at the input of each layer but the first, for which the frame
        # writer counts them. ``none`` is set while nothing of a clip has arrived.
        arrivals_layout = data.StructLayout({"missing": signed(AHEAD_BITS), "none": 1})
        m.submodules.arrivals = arrivals = Memory(shape=arrivals_layout, depth=16, init=[],
                                                  attrs=block)
        arrival_read, arrival_write = arrivals.read_port(), arrivals.write_port()
        candidate = Signal(4)
        current = Signal(4)
        seen = Signal(arrivals_layout)
        state = Signal(layout)
        m.d.comb += [
            arrival_read.en.eq(state_read.en), arrival_read.addr.eq(candidate),
            state_read.addr.eq(candidate), self.current.eq(current),
        ]
        with m.If(candidate == 0):
            m.d.sync += [seen.missing.eq(self.missing), seen.none.eq(self.idle_input)]
        with m.Else():
            m.d.sync += seen.eq(arrival_read.data)
        enough = Signal()
        m.d.comb += enough.eq(~seen.none & ((seen.missing <= state.ahead) | seen.missing[-1]
                                            | (seen.missing == 0)))

        # The running job's place, and the next job's, or a new clip's: what will be saved.
        following = state_write.data
        booting = Signal()
        restart = Signal()
        last_job = Signal()
        advance = Signal(4)
        rows = Signal(3)
        full = Signal()
        left = Signal(signed(17))
        m.d.comb += [
            self.slot.eq(state.slot), self.above.eq(state.above), self.ahead.eq(state.ahead),
            self.first_job.eq(state.first), self.out_slot.eq(state.out_slot),
            self.out_low.eq(state.out_low), self.out_left.eq(state.out_left),
            self.released.eq(advance), state_write.addr.eq(current),
            advance.eq(Mux(layer.stride2, 2 * g.tile_rows, g.tile_rows)),
            rows.eq(g.tile_rows >> layer.pool_rows_log2),
            full.eq(state.out_low + rows == g.tile_rows),
            left.eq(state.out_left - rows),
            last_job.eq((state.out_left[3:] == 0) & (state.out_left[:3] <= rows)),
            restart.eq(last_job | booting),
            following.ahead.eq(Mux(restart, layer.ahead_start, state.ahead - advance)),
            following.above.eq(Mux(restart, layer.padding_top,
                                   Mux(state.above > advance, state.above - advance, 0))),
            following.slot.eq(Mux(restart, layer.ring_start, self.next_slot)),
            following.out_slot.eq(
                Mux(restart | (full & (state.out_slot == layer.out_end)), layer.out_base,
                    state.out_slot + Mux(full, layer.out_pitch, 0))),
            following.out_low.eq(Mux(restart | full, 0, state.out_low + rows)),
            following.out_left.eq(Mux(restart, layer.out_rows, left)),
            following.first.eq(restart),
        ]
        count = Signal(range(max(DRAIN_CYCLES, len(LAYER) + 1) + 1))
        booted_entry = Signal(5)
        entry = Signal(5)
        m.d.comb += [
            entry.eq(Mux(booting, booted_entry, current + 1)),
            read.addr.eq(Cat(count[:4], entry)),
            self.running.eq(0),
        ]

        fetched = Signal()
        if self._family == "ice40":
            m.d.comb += state.eq(state_read.data)
        else:
            # Block RAM is slow to come out.
            with m.If(fetched):
                m.d.sync += state.eq(state_read.data)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [count.eq(0), booting.eq(1), booted_entry.eq(0), current.eq(0)]
                with m.If(self.run):
                    m.next = "LOAD"

            with m.State("LOAD"):
                m.d.comb += [read.en.eq(count != len(LAYER)), self.loading.eq(~booting)]
                m.d.sync += count.eq(count + 1)
                for word, fields in enumerate(LAYER):
                    with m.If(count == word + 1):
                        view = data.View(word_layout(fields), read.data)
                        m.d.sync += [getattr(layer, name).eq(getattr(view, name))
                                     for name in fields if name in held]
                        if "pitch" in fields:
                            m.d.comb += self.prepare.eq(1)  # the ring is known in the next cycle
                for word, fields in enumerate(HEADER):
                    with m.If((count == word + 1) & booting & (booted_entry == 0)):
                        view = data.View(word_layout(fields), read.data)
                        m.d.sync += [getattr(header, name).eq(getattr(view, name))
                                     for name in fields]
                with m.If(count == len(LAYER)):
                    m.d.sync += count.eq(0)
                    with m.If(booting):
                        m.next = "BOOT"
                    with m.Else():
                        m.next = "START"

            with m.State("BOOT"):
                m.d.sync += booted_entry.eq(booted_entry + 1)
                m.next = "LOAD"
                with m.If(booted_entry != 0):
                    m.d.comb += [state_write.en.eq(1), arrival_write.en.eq(1),
                                 arrival_write.addr.eq(current), arrival_write.data.none.eq(1)]
                    m.d.sync += current.eq(current + 1)
                    with m.If(current == header.layers_last):
                        m.d.sync += [booting.eq(0), candidate.eq(0)]
                        m.next = "LOOK"

            with m.State("LOOK"):
                m.d.comb += [self.scheduling.eq(1), state_read.en.eq(1)]
                m.next = "FETCH"

            with m.State("FETCH"):
                m.d.comb += self.scheduling.eq(1)
                m.next = "CHECK"

            with m.State("CHECK"):
                m.d.comb += self.scheduling.eq(~self.waiting)
                with m.If(enough):
                    m.d.sync += [current.eq(candidate), count.eq(0)]
                    m.next = "LOAD"
                with m.Elif(candidate != 0):
                    m.d.sync += candidate.eq(candidate - 1)
                    m.next = "LOOK"
                with m.Else():
                    m.d.comb += self.waiting.eq(1)
                    with m.If(~self.run):
                        m.next = "IDLE"

            with m.State("START"):
                m.d.comb += [self.job_start.eq(1), self.loading.eq(1)]
                m.next = "WALK"

            with m.State("WALK"):
                with m.If(self.walk_done):
                    m.next = "DRAIN"

            with m.State("DRAIN"):
                with m.If((count == 0) & ((layer.emit == Emit.MAP) | last_job)):
                    m.d.comb += [
                        arrival_write.en.eq(1), arrival_write.addr.eq(current + 1),
                        arrival_write.data.missing.eq(left),  # none or less after the last job
                    ]
                with m.If(count != DRAIN_CYCLES - 1):
                    m.d.comb += self.loading.eq(1)
                    m.d.sync += count.eq(count + 1)
                with m.Elif(self.collector_busy):
                    m.d.comb += self.draining.eq(1)
                with m.Else():
                    m.d.comb += self.loading.eq(1)
                    m.next = "SAVE"

            with m.State("SAVE"):
                m.d.comb += [self.loading.eq(1), self.flush.eq(1), state_write.en.eq(1)]
                with m.If(current == 0):
                    m.d.comb += [self.release.eq(1), self.finish.eq(last_job)]
                with m.Elif(last_job):
                    m.d.comb += [arrival_write.en.eq(1), arrival_write.addr.eq(current),
                                 arrival_write.data.none.eq(1)]
                m.d.comb += self.clip_done.eq(last_job & (current == header.layers_last))
                m.d.sync += candidate.eq(
                    Mux(current == header.layers_last, current, current + 1))
                m.next = "LOOK"

        m.d.comb += fetched.eq(fsm.ongoing("FETCH"))
        m.d.comb += self.running.eq(~fsm.ongoing("IDLE") & ~booting)
        return m
