"""The whole accelerator: frames in, raw scores out."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .abi.counters import COUNTERS
from .abi.descriptors import Emit, Source
from .control.counters import Counters
from .control.dense_walker import DenseWalker
from .control.event_walker import EventWalker
from .control.scheduler import Scheduler
from .datapath.int8_lane_array import Int8LaneArray
from .datapath.int8_read_out import Int8ReadOut, multiplier_of, sums_wait
from .datapath.lane_array import LaneArray
from .datapath.loading_lane_array import LoadingLaneArray
from .datapath.pair_lane_array import PairLaneArray
from .geometry import Geometry, GeometryError
from .host.axi import axi_stream_ports
from .host.host_port import HostPort
from .lib.delay import delayed
from .memory.banked_memory import BankedMemory
from .memory.frame_writer import FrameWriter
from .memory.weight_feed import WeightFeed
from .memory.window_fetch import WindowFetch
from .output.collector import Collector
from .output.int8_collector import Int8Collector
from .output.int8_write_back import Int8WriteBack
from .output.write_back import WriteBack
from .pipeline import LANE_STAGE, WORD_STAGE, WRITE_STAGE, Addition, Step
from .traits import VALUE_BITS

__all__ = ["Accelerator"]


def trace_ports(geometry, *, accumulators):
    """Members that a trace build adds: output bits, dense outputs, and memory-port activity.

    A ``*_toggle`` flips with every record. With int8 lanes, a tile has a record for each word of
    values, and accumulators are not shown. See ``docs/simulation.md``.
    """
    g = geometry
    ports = {
        "trace_tile_toggle": 1, "trace_tile_layer": 4, "trace_tile_row": 16, "trace_tile_col": 16,
        "trace_tile_pass": 8, "trace_tile_bits": g.lanes,
        "trace_word_toggle": 1, "trace_word_layer": 4, "trace_word_index": 16,
        "trace_word_value": 32,
        "mon_layer": 4, "mon_flush": 1, "mon_weight_read": g.streams,
        "mon_input_read": g.pixels, "mon_input_write": 1,
        "mon_line_read": g.pixels, "mon_line_write": g.pixels,
        "mon_vector_read": 1, "mon_vector_write": 1, "mon_descriptor_read": 1,
        "mon_state_read": 1, "mon_state_write": 1,
    }
    if g.int8_maps:
        ports["trace_tile_group"] = 3  # of the words of a tile: 8 bits for each pixel and channel
    elif accumulators:
        ports["trace_tile_acc"] = g.lanes * g.acc_bits
    return {name: Out(width) for name, width in ports.items()}


class Accelerator(wiring.Component):
    """Streaming accelerator for networks with binary activation maps and int8 weights.

    Every layer keeps the few rows that its kernel needs in a ring; a row of tiles of a layer is
    computed as soon as its input rows exist. Tiles of ``tile_rows x tile_cols`` pixels by
    ``channels`` output channels are computed at once, one weight row per cycle.

    ::

        frames ─▶ FrameWriter ─▶ input buffer ─┐
                                 line buffers ─┼▶ WindowFetch ─ bits ─▶ LaneArray ─▶ WriteBack
                                vector memory ─┘                          ▲    │        │    │
                Scheduler ─▶ Walker ────── steps ─▶ WeightFeed ─ operands ┘    ▼        │    ▼
                                                                        Collector ◀─────┘  line
                                            scores ◀────────────────────────┘ │          buffers
                                                                vector memory ◀

    With int8 lanes, bits are values, and an ``Int8ReadOut`` stands between lanes and outputs.

    The walker is a ``DenseWalker`` or an ``EventWalker``, which chooses its steps by the words
    that the WindowFetch brings.

    Parameters
    ----------
    geometry : Geometry
    program : Program, optional
        Goes into the memories' init, and ``run`` is set after reset.
    trace, accumulators : bool
        Add trace ports, and the accumulators to them.
    port : HostPort or DirectPort
        The class of the host's registers.
    family : "ecp5", "ice40" or None
        Build for this family: lanes from ECP5's carry cells, where an expression would cost more;
        fewer registers on iCE40, where one without logic in front of it takes a cell for itself.

    Raises
    ------
    GeometryError
        If the family's memories cannot give the geometry's streams a read port each.

    Members
    -------
    s_axil_* : AXI4-Lite, see ``HostPort``; or the members of another ``port``'s ``bus()``
    s_axis_frames_* : AXI4-Stream, one int8 value per beat, ``tlast`` with a frame's last value
    m_axis_scores_* : AXI4-Stream, one int32 raw score per beat, ``tlast`` with a clip's last
    irq : a clip was scored
    """

    def __init__(self, geometry: Geometry, *, program=None, trace=False, accumulators=False,
                 port=HostPort, family=None):
        if geometry.streams > 1 and family == "ice40":
            raise GeometryError(f"streams must be 1 on iCE40, whose memories have one read port, "
                                f"not {geometry.streams}")
        self._geometry, self._program, self._family = geometry, program, family
        self._trace, self._accumulators, self._port = trace, accumulators, port
        super().__init__(
            port.bus()
            | axi_stream_ports("s_axis_frames", bits=8, flow=In)
            | axi_stream_ports("m_axis_scores", bits=32, flow=Out)
            | {"irq": Out(1)}
            | (trace_ports(geometry, accumulators=accumulators) if trace else {}))

    def elaborate(self, platform):
        g, program = self._geometry, self._program
        m = Module()

        m.submodules.host = host = self._port(g, autostart=program is not None)
        m.submodules.frames = frames = FrameWriter(g)
        m.submodules.scheduler = scheduler = Scheduler(
            g, init=program.descriptors.tolist() if program else (), family=self._family)
        event_driven = g.walk == "event"
        m.submodules.walker = walker = EventWalker(g) if event_driven else DenseWalker(g)
        m.submodules.fetch = fetch = WindowFetch(g, family=self._family)
        m.submodules.weights = weights = WeightFeed(
            g, init=program.weight_words() if program else (), family=self._family)
        m.submodules.lanes = lanes = self._lanes()
        m.submodules.write_back = write_back = (
            Int8WriteBack(g) if g.int8_maps else WriteBack(g, family=self._family))
        m.submodules.collector = collector = (
            Int8Collector(g) if g.int8_maps else Collector(g, family=self._family))
        m.submodules.input_buffer = input_buffer = BankedMemory(
            banks=g.pixels, width=g.input_word_bits, depth=g.input_words)
        m.submodules.line_buffers = line_buffers = BankedMemory(
            banks=g.pixels, width=g.channels, depth=g.line_words)
        m.submodules.vector = vector = Memory(
            shape=g.vector_bits, depth=g.vector_words, init=[], attrs={"no_rw_check": 1})
        vector_read, vector_write = vector.read_port(), vector.write_port()

        layer = scheduler.layer
        for block in (walker, fetch, write_back, collector):
            m.d.comb += block.layer.eq(layer)

        # A step travels down the pipeline, one stage per cycle.
        steps = [walker.step] + [Signal(Step, name=f"step_{n}") for n in range(1, WRITE_STAGE + 1)]
        for stage in range(WRITE_STAGE):
            m.d.sync += steps[stage + 1].eq(steps[stage])
        # In the event-driven walk, fetches run ahead of the steps and have a pipeline of their own.
        fetches = steps
        bits = fetch.bits
        more_steps = []  # of further streams of events
        if event_driven:
            for stream, first in enumerate(walker.more_steps, start=1):
                more_steps.append([first, *(Signal(Addition, name=f"step_{n}_of_{stream}")
                                            for n in range(1, LANE_STAGE))])
                m.d.sync += [to.eq(step) for to, step in zip(more_steps[-1][1:], more_steps[-1],
                                                             strict=False)]
            fetches = [Signal(Step, name=f"fetch_{n}") for n in range(WORD_STAGE)]
            bits = walker.bits
            m.d.comb += [fetches[0].load.eq(walker.load), weights.row.eq(walker.weight_row),
                         *(to.eq(row) for to, row in zip(weights.more_row, walker.more_weight_row,
                                                         strict=True)),
                         *(to.eq(word) for to, word in zip(walker.words, fetch.words,
                                                           strict=True))]
            m.d.sync += [fetches[n + 1].eq(fetches[n]) for n in range(WORD_STAGE - 1)]

        # Host.
        for name, member in self._port.bus().items():
            to, value = (self, host) if member.flow is Out else (host, self)
            m.d.comb += getattr(to, name).eq(getattr(value, name))
        m.d.comb += [
            self.irq.eq(host.irq),
            host.running.eq(scheduler.running), host.waiting.eq(scheduler.waiting),
            host.score_pending.eq(self.m_axis_scores_tvalid),
            host.clip_done.eq(scheduler.clip_done),
            host.errors.eq(Cat(frames.error_short, frames.error_long, frames.error_range)),
            scheduler.write_en.eq(host.descriptor_en), scheduler.write_addr.eq(host.write_addr),
            scheduler.write_data.eq(host.write_data),
            weights.write_en.eq(host.weight_en), weights.write_addr.eq(host.write_addr),
            weights.write_data.eq(host.write_data),
        ]

        # Frames.
        m.d.comb += [
            frames.i.payload.value.eq(self.s_axis_frames_tdata),
            frames.i.payload.last.eq(self.s_axis_frames_tlast),
            frames.i.valid.eq(self.s_axis_frames_tvalid),
            self.s_axis_frames_tready.eq(frames.i.ready),
            frames.header.eq(scheduler.header), frames.enable.eq(scheduler.running),
            frames.release.eq(scheduler.release), frames.released.eq(scheduler.released),
            frames.finish.eq(scheduler.finish), scheduler.missing.eq(frames.missing),
            scheduler.idle_input.eq(frames.idle),
            input_buffer.write_en.eq(frames.write_en),
            input_buffer.write_addr.eq(frames.write_addr),
            *(data.eq(frames.write_data) for data in input_buffer.write_data),
        ]

        # Walk.
        m.d.comb += [
            walker.prepare.eq(scheduler.prepare), walker.start.eq(scheduler.job_start),
            walker.slot.eq(scheduler.slot),
            walker.above.eq(scheduler.above), walker.ahead.eq(scheduler.ahead),
            scheduler.next_slot.eq(walker.next_slot),
            scheduler.walk_done.eq(walker.done),
            walker.collector_busy.eq(collector.busy),
            fetch.window.eq(walker.window),
            fetch.step_0.eq(fetches[0]), fetch.step_1.eq(fetches[1]),
            fetch.step_3.eq(fetches[3]), fetch.step_4.eq(fetches[4]),
            input_buffer.read_en.eq(fetch.input_en), line_buffers.read_en.eq(fetch.line_en),
            fetch.vector_data.eq(vector_read.data),
        ]
        for bank in range(g.pixels):
            m.d.comb += [
                input_buffer.read_addr[bank].eq(fetch.addr[bank]),
                line_buffers.read_addr[bank].eq(fetch.addr[bank]),
                fetch.input_data[bank].eq(input_buffer.read_data[bank]),
                fetch.line_data[bank].eq(line_buffers.read_data[bank]),
            ]

        # Lanes.
        m.d.comb += [
            weights.base_stb.eq(scheduler.job_start), weights.base.eq(layer.weight_base),
            weights.step_read.eq(steps[3]), weights.step_operand.eq(steps[5]),
            *(to.eq(more[3]) for to, more in zip(weights.more_read, more_steps, strict=True)),
            *(to.eq(more[5]) for to, more in zip(weights.more_operand, more_steps, strict=True)),
        ]
        hits = Signal(g.pixels * g.macs_per_lane)
        offered = bits if not g.int8_maps else Cat(bits.word_select(pixel, VALUE_BITS).any()
                                                for pixel in range(g.pixels))
        computes = Cat(stream[5].compute.replicate(len(hits) // g.streams)
                       for stream in (steps, *more_steps))
        m.d.sync += hits.eq(offered & computes)
        if event_driven:
            m.d.comb += lanes.add.eq(hits)
        else:
            clear = steps[5].start if g.int8_maps else steps[5].clear
            m.d.sync += lanes.clear.eq(clear | ~scheduler.running)
        if g.int8_maps:
            m.d.comb += [to.eq(weight)
                         for to, weight in zip(lanes.weight, weights.weight, strict=True)]
            m.d.sync += [lanes.en.eq(steps[5].compute),
                         *(to.eq(bits.word_select(pixel, VALUE_BITS))
                           for pixel, to in enumerate(lanes.value))]
        elif g.lane == "pair":
            m.d.comb += [
                lanes.step_5.eq(steps[5]), lanes.bits.eq(bits),
                weights.planes.eq(layer.source != Source.LINE),
                *(getattr(lanes, name)[channel].eq(getattr(weights, name)[channel])
                  for name in ("first", "second", "total") for channel in range(g.channels)),
            ]
        else:
            names = ("operand",) if event_driven else ("operand", "fill", "gate")
            m.d.comb += [getattr(lanes, name)[index].eq(value)
                         for name in names for index, value in enumerate(getattr(weights, name))]
            m.d.sync += lanes.en.eq((bits & computes) | steps[5].start.replicate(g.pixels))

        # Outputs.
        is_map = layer.emit == Emit.MAP
        is_global = (layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)
        if g.int8_maps:
            written = write_back.exists
            outputs = self._read_out(m, scheduler, steps, weights, lanes, write_back, collector)
            load, sums = [collector.load.eq(written & ~is_map)], []
        else:
            written = write_back.valid
            outputs = [write_back.step_6.eq(steps[6]),
                       write_back.positive.eq(Cat(~acc[-1] for acc in lanes.acc))]
            load = [collector.reserve.eq(walker.step.capture & is_global),
                    collector.load.eq(written & is_global)]
            sums = [to.eq(acc) for to, acc in zip(collector.acc, lanes.acc, strict=False)]
        m.d.comb += [
            write_back.job_start.eq(scheduler.output_start),
            write_back.out_slot.eq(scheduler.out_slot), write_back.out_low.eq(scheduler.out_low),
            write_back.out_left.eq(scheduler.out_left), *outputs,
            line_buffers.write_en.eq(write_back.write_mask
                                     & (written & is_map).replicate(g.pixels)),
            line_buffers.write_addr.eq(write_back.write_addr), *load,
            collector.first.eq(scheduler.first_job & write_back.first),
            collector.mask.eq(write_back.write_mask), collector.pass_.eq(write_back.pass_),
            collector.start.eq(walker.collector_start), *sums,
            scheduler.collector_busy.eq(collector.busy),
            collector.read_data.eq(vector_read.data),
            vector_read.en.eq(collector.read_en | fetch.vector_en),
            vector_read.addr.eq(Mux(collector.read_en, collector.read_addr, fetch.addr[0])),
            vector_write.en.eq(collector.write_en), vector_write.addr.eq(collector.write_addr),
            vector_write.data.eq(collector.write_data),
            self.m_axis_scores_tdata.eq(collector.scores.payload.value),
            self.m_axis_scores_tlast.eq(collector.scores.payload.last),
            self.m_axis_scores_tvalid.eq(collector.scores.valid),
            collector.scores.ready.eq(self.m_axis_scores_tready),
        ]
        for bank in range(g.pixels):
            m.d.comb += [
                line_buffers.write_data[bank].eq(write_back.write_data[bank]),
                collector.data[bank].eq(write_back.write_data[bank]),
            ]

        if not g.counters:
            m.d.comb += scheduler.run.eq(host.run)
        else:
            self._count(m, host, scheduler, walker, collector, weights, hits, {
                "input_reads": fetch.input_en, "input_writes": frames.write_en,
                "line_reads": fetch.line_en, "line_writes": line_buffers.write_en,
                "vector_reads": vector_read.en, "vector_writes": vector_write.en,
            })
        if self._trace:
            self._connect_trace(m, scheduler, write_back, collector, lanes, {
                # A job's last accesses are some cycles behind its flush, the next job's first ones
                # before that.
                "mon_layer": delayed(m, scheduler.current, WRITE_STAGE, "layer_later"),
                "mon_flush": delayed(m, scheduler.flush, WRITE_STAGE, "flush_later"),
                "mon_weight_read": weights.reading,
                "mon_input_read": fetch.input_en, "mon_input_write": frames.write_en.any(),
                "mon_line_read": fetch.line_en, "mon_line_write": line_buffers.write_en,
                "mon_vector_read": vector_read.en, "mon_vector_write": vector_write.en,
                "mon_descriptor_read": delayed(
                    m, scheduler.descriptor_reading & scheduler.running, WRITE_STAGE + 1,
                    "descriptor_reading_later"),
                "mon_state_read": delayed(m, scheduler.state_reading, WRITE_STAGE + 1,
                                         "state_reading_later"),
                "mon_state_write": delayed(m, scheduler.state_writing & scheduler.running,
                                          WRITE_STAGE + 1, "state_writing_later"),
            })
        return m

    def _lanes(self):
        g = self._geometry
        cells = self._family if self._family == "ecp5" else None
        sizes = {"pixels": g.pixels, "channels": g.channels, "acc_bits": g.acc_bits}
        if g.int8_maps:
            return Int8LaneArray(**sizes, multiplier=multiplier_of(g), family=cells)
        if g.walk == "event":
            return LoadingLaneArray(**sizes, streams=g.streams, family=cells)
        if g.lane == "pair":
            return PairLaneArray(**sizes, family=cells)
        return LaneArray(**sizes, family=cells)

    def _read_out(self, m, scheduler, steps, weights, lanes, write_back, collector):
        """Read the sums of int8 lanes out, word by word, as soon as a tile's are all there."""
        g, layer = self._geometry, scheduler.layer
        m.submodules.read_out = read_out = Int8ReadOut(g)
        ends = [Cat(steps[4].capture, steps[4].pass_)]
        for stage in range(sums_wait(g) - 1 - 4):
            ends.append(Signal(2, name=f"ending_{stage}"))
            m.d.sync += ends[-1].eq(ends[-2])
        # The last job of a clip puts out what is left.
        last_job = Signal()
        m.d.comb += last_job.eq(scheduler.out_left <= (g.tile_rows >> layer.pool_rows_log2))
        return [
            read_out.start.eq(ends[-1][0]), read_out.last.eq(ends[-1][1]),
            read_out.one_by_one.eq(layer.emit != Emit.MAP), read_out.shift.eq(layer.shift),
            *(to.eq(acc) for to, acc in zip(read_out.acc, lanes.acc, strict=True)),
            *(to.eq(bias) for to, bias in zip(read_out.bias, weights.bias, strict=True)),
            read_out.choose.eq(layer.emit == Emit.RAW), read_out.chosen.eq(collector.chosen),
            write_back.word.eq(read_out.valid), write_back.channel.eq(read_out.channel),
            write_back.end.eq(read_out.end), write_back.end_of_pass.eq(read_out.end_of_pass),
            *(to.eq(value) for to, value in
              zip(write_back.values, read_out.values, strict=True)),
            collector.index.eq(write_back.index),
            collector.final.eq(last_job & write_back.last_tile),
            *(to.eq(value) for to, value in zip(collector.sums, read_out.sums, strict=True)),
        ]

    def _count(self, m, host, scheduler, walker, collector, weights, hits, ports):
        g = self._geometry
        steps = [walker.step, *(walker.more_steps if g.walk == "event" else ())]
        m.submodules.counters = counters = Counters(g, family=self._family)
        running = scheduler.running
        amounts = {
            "cycles_compute": reduce(or_, (step.compute for step in steps)),
            "cycles_fetch": walker.fetching,
            "cycles_tile": walker.tiling,
            "cycles_collect": (walker.collecting | scheduler.draining) & ~collector.stalled,
            "cycles_load": scheduler.loading | walker.loading,
            "cycles_schedule": scheduler.scheduling,
            "cycles_wait_input": scheduler.waiting,
            "cycles_wait_output": (walker.collecting | scheduler.draining) & collector.stalled,
            "events": _ones(hits),
            "weight_reads": _ones(weights.reading),
            "descriptor_reads": scheduler.descriptor_reading & running,
            "state_reads": scheduler.state_reading,
            "state_writes": scheduler.state_writing & running,
            "scores": self.m_axis_scores_tvalid & self.m_axis_scores_tready,
        } | {name: _ones(enables) for name, enables in ports.items()}
        for to, name in zip(counters.add, COUNTERS, strict=True):
            m.d.comb += to.eq(amounts.pop(name))
        assert not amounts
        m.d.comb += [
            counters.flush.eq(scheduler.flush), counters.layer.eq(scheduler.current),
            counters.clear.eq(host.clear_counters),
            scheduler.run.eq(host.run & ~counters.clearing),
            counters.read_addr.eq(host.counter_addr), host.counter_data.eq(counters.read_data),
            host.counter_busy.eq(counters.busy),
        ]

    def _connect_trace(self, m, scheduler, write_back, collector, lanes, monitors):
        g = self._geometry
        job = Signal(16)
        layer = scheduler.layer
        # The scheduler is already at the next job when the last bits of one are written.
        current = delayed(m, scheduler.current, WRITE_STAGE, "current_later")
        m.d.comb += job.eq((layer.out_rows - scheduler.out_left)[:16]
                           >> (g.tile_rows.bit_length() - 1 - layer.pool_rows_log2)[:2])
        if g.int8_maps:
            # One by one, a word is there as often as it has channels.
            low = g.word_channels.bit_length() - 1
            record, signs = write_back.valid & ~write_back.index[:low].any(), write_back.seen
            with m.If(record):
                m.d.sync += self.trace_tile_group.eq(write_back.index[low:])
        else:
            record, signs = write_back.valid, write_back.signs
        with m.If(record):
            m.d.sync += [
                self.trace_tile_toggle.eq(~self.trace_tile_toggle),
                self.trace_tile_layer.eq(current), self.trace_tile_row.eq(job),
                self.trace_tile_col.eq(write_back.tile), self.trace_tile_pass.eq(write_back.pass_),
                self.trace_tile_bits.eq(signs),
            ]
        with m.If(collector.word_valid):
            m.d.sync += [
                self.trace_word_toggle.eq(~self.trace_word_toggle),
                self.trace_word_layer.eq(current),
                self.trace_word_index.eq(collector.word_index),
                self.trace_word_value.eq(collector.word_value),
            ]
        m.d.comb += [getattr(self, name).eq(value) for name, value in monitors.items()]
        if self._accumulators and not g.int8_maps:
            # The write-back holds a tile's signs two cycles after its accumulators.
            seen = Signal(g.lanes * g.acc_bits)
            held = Signal.like(seen)
            with m.If(write_back.step_6.capture):
                m.d.sync += seen.eq(Cat(lanes.acc))
            m.d.sync += held.eq(seen)
            with m.If(write_back.valid):
                m.d.sync += self.trace_tile_acc.eq(held)


def _ones(value):
    """Number of ones."""
    return sum(value[1:], start=value[0])
