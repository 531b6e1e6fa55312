"""Decides which layer runs next, and keeps every layer's place in its rings."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .frame_writer import header_layout
from .geometry import Geometry
from .layout import DESCRIPTOR_WORDS, HEADER, LAYER, Emit, layer_layout, word_layout
from .step import WRITE_STAGE
from .window_fetch import POSITION_BITS

__all__ = ["DRAIN_CYCLES", "LayerState", "Scheduler"]

# From the last step of a job until its bits are in the line buffers and can be read.
DRAIN_CYCLES = WRITE_STAGE + 1


class LayerState(data.Struct):
    """A layer's place in the clip, saved between its jobs.

    ``need`` input rows must have arrived before the next job can run. ``row`` is that job's first
    kernel row in the input map (negative: padding) and ``slot`` its ring slot; ``out_row``,
    ``out_slot`` and ``out_low`` are the output's; ``jobs`` counts the jobs done.
    """

    need: 17
    row: signed(POSITION_BITS)
    slot: 16
    out_slot: 16
    out_low: 2
    out_row: 16
    jobs: 16


class Scheduler(wiring.Component):
    """Runs the jobs of all layers, deepest first, as soon as their input rows exist.

    A job is one row of tiles of one layer. After a job of layer ``n``, layer ``n + 1`` is looked
    at, then ``n``, and so on up to layer 0, which waits for frames. Because a deeper layer always
    runs as soon as it can, no ring ever needs more rows than the compiler has worked out, and a
    clip has left every deeper layer before layer 0 begins the next one.

    Cycles: 2 for each layer looked at, 13 to load the descriptor, 1 to start, then the walk,
    ``DRAIN_CYCLES`` (and the collector, if it is still busy), and 1 to save.

    Members
    -------
    run : level; a rising edge boots (reads the header, resets every layer's state)
    layer, header : descriptor of the running layer; the program's header
    job_start, row, slot, first_job, jobs : for the walker; ``jobs`` were done before this one
    out_slot, out_low, out_row : for the write-back
    next_slot, walk_done, collector_busy : from the walker and the collector
    arrived : rows of the current clip in the input buffer
    release, released, finish : for the frame writer
    write_en, write_addr, write_data : load the descriptor memory
    flush, current : the running layer's job ends in this cycle
    clip_done : and with it the clip
    running, waiting : booted; nothing can run until a frame arrives
    loading, scheduling, draining : the cause of a cycle outside a walk
    descriptor_reading, state_reading, state_writing : accesses of the memories
    """

    def __init__(self, geometry: Geometry, *, init=()):
        g = self._geometry = geometry
        self._init = init
        super().__init__({
            "run": In(1),
            "layer": Out(layer_layout()),
            "header": Out(header_layout()),
            "job_start": Out(1),
            "row": Out(signed(POSITION_BITS)),
            "slot": Out(16),
            "first_job": Out(1),
            "jobs": Out(16),
            "out_slot": Out(16),
            "out_low": Out(2),
            "out_row": Out(16),
            "next_slot": In(16),
            "walk_done": In(1),
            "collector_busy": In(1),
            "arrived": In(17),
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
        m = Module()

        # The host may write only while nothing runs.
        m.submodules.descriptors = descriptors = Memory(
            shape=32, depth=(g.max_layers + 1) * DESCRIPTOR_WORDS, init=list(self._init),
            attrs={"no_rw_check": 1})
        read, write = descriptors.read_port(), descriptors.write_port()
        # Written when a job is saved and read when the next is looked for, never at once.
        m.submodules.states = states = Memory(shape=LayerState, depth=g.max_layers, init=[],
                                              attrs={"no_rw_check": 1})
        state_read, state_write = states.read_port(), states.write_port()
        m.d.comb += [
            write.en.eq(self.write_en), write.addr.eq(self.write_addr),
            write.data.eq(self.write_data),
            self.descriptor_reading.eq(read.en),
            self.state_reading.eq(state_read.en),
            self.state_writing.eq(state_write.en),
            read.en.eq(0), state_read.en.eq(0),
        ]

        # Rows that have arrived at the input of each layer; the frame writer counts layer 0's.
        m.submodules.arrivals = arrivals = Memory(shape=17, depth=16, init=[],
                                                  attrs={"no_rw_check": 1})
        arrival_read, arrival_write = arrivals.read_port(), arrivals.write_port()
        candidate = Signal(4)
        current = Signal(4)
        arrived = Signal(17)
        m.d.comb += [
            arrival_read.en.eq(state_read.en), arrival_read.addr.eq(candidate),
            arrived.eq(Mux(candidate == 0, self.arrived, arrival_read.data)),
            self.current.eq(current),
        ]

        # The running job's state stays at the read port. The next job's, or a new clip's, is ready
        # long before it is saved.
        state = state_read.data
        following = Signal(LayerState)
        booting = Signal()
        restart = Signal()
        last_job = Signal()
        advance = Signal(4)
        block = Signal(3)
        full = Signal()
        end = Signal(signed(POSITION_BITS + 1))
        out_top = Signal(17)
        rows = Signal(17)
        m.d.comb += [
            self.row.eq(state.row), self.slot.eq(state.slot), self.out_slot.eq(state.out_slot),
            self.out_low.eq(state.out_low), self.out_row.eq(state.out_row),
            self.first_job.eq(state.jobs == 0), self.jobs.eq(state.jobs),
            rows.eq(layer.rows),
            advance.eq(Mux(layer.stride2, 2 * g.tile_rows, g.tile_rows)),
            block.eq(g.tile_rows >> layer.pool_rows_log2),
            full.eq(state.out_low + block == g.tile_rows),
            restart.eq(last_job | booting),
            end.eq(following.row + layer.span),
        ]
        m.d.sync += [
            last_job.eq(state.jobs == layer.jobs_last),
            following.row.eq(Mux(restart, layer.row_start, state.row + advance)),
            following.need.eq(Mux(end > rows, rows, end[:17])),
            following.slot.eq(Mux(restart, layer.ring_start, self.next_slot)),
            following.out_slot.eq(state.out_slot + Mux(full, layer.out_pitch, 0)),
            out_top.eq(Mux(state.out_row + block > layer.out_rows, layer.out_rows,
                           state.out_row + block)),
        ]
        with m.If(restart | (full & (state.out_slot == layer.out_end))):
            m.d.sync += following.out_slot.eq(layer.out_base)
        with m.If(restart):
            m.d.sync += [following.out_row.eq(0), following.out_low.eq(0), following.jobs.eq(0)]
        with m.Else():
            m.d.sync += [following.out_row.eq(state.out_row + block),
                         following.out_low.eq(Mux(full, 0, state.out_low + block)),
                         following.jobs.eq(state.jobs + 1)]

        m.d.comb += [self.released.eq(advance), state_write.addr.eq(current),
                     state_read.addr.eq(candidate), state_write.data.eq(following)]
        count = Signal(range(max(DRAIN_CYCLES, len(LAYER) + 1) + 1))
        booted_entry = Signal(5)
        entry = Signal(5)
        m.d.comb += [
            entry.eq(Mux(booting, booted_entry, current + 1)),
            read.addr.eq(Cat(count[:4], entry)),
            self.running.eq(0),
        ]

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
                                     for name in fields]
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
                # Two cycles for row and need to settle, then the state is written.
                m.d.sync += count.eq(count + 1)
                with m.If(count == 2):
                    m.d.sync += [count.eq(0), booted_entry.eq(booted_entry + 1)]
                    m.next = "LOAD"
                    with m.If(booted_entry != 0):
                        m.d.comb += [state_write.en.eq(1), arrival_write.en.eq(1),
                                     arrival_write.addr.eq(current)]
                        m.d.sync += current.eq(current + 1)
                        with m.If(current == header.layers_last):
                            m.d.sync += [booting.eq(0), candidate.eq(0)]
                            m.next = "LOOK"

            with m.State("LOOK"):
                m.d.comb += [self.scheduling.eq(1), state_read.en.eq(1)]
                m.next = "CHECK"

            with m.State("CHECK"):
                m.d.comb += self.scheduling.eq(~self.waiting)
                with m.If(arrived >= state_read.data.need):
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
                        arrival_write.data.eq(Mux(layer.emit == Emit.MAP, out_top, 1)),
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
                    m.d.comb += [arrival_write.en.eq(1), arrival_write.addr.eq(current)]
                m.d.comb += self.clip_done.eq(last_job & (current == header.layers_last))
                m.d.sync += candidate.eq(
                    Mux(current == header.layers_last, current, current + 1))
                m.next = "LOOK"

        m.d.comb += self.running.eq(~fsm.ongoing("IDLE") & ~booting)
        return m
