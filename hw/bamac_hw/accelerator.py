"""The whole accelerator: frames in, raw scores out."""

from __future__ import annotations

from functools import reduce
from operator import or_
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from .abi.counters import COUNTERS
from .control.counters import Counters
from .control.scheduler import Scheduler
from .datapath import variant_of
from .geometry import Geometry, GeometryError
from .host.axi import axi_stream_ports
from .host.host_port import HostPort
from .lib.delay import delayed
from .memory.frame_writer import FrameWriter
from .memory.memories import Memories
from .output.trace import TraceRecorder, record_ports
from .pipeline import WRITE_STAGE
from .program import Program

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """Streaming accelerator for networks with binary activation maps and int8 weights.

    Every layer keeps the few rows that its kernel needs in a ring; a row of tiles of a layer is
    computed as soon as its input rows exist. Tiles of ``tile_rows x tile_cols`` pixels by
    ``channels`` output channels are computed at once, one weight row per cycle.

    ::

        frames ─▶ FrameWriter ─▶ input buffer ─┐
                                 line buffers ─┼▶ fetch ◀──▶ walker ◀── Scheduler
                                vector memory ─┘               │ steps, bits
                                      ▲                        ▼
                                      │      weight store ─▶ datapath ── results ─▶ write-back
                                      │                        │ head                │      │
                        scores ◀─ collector ◀──────────────────┘                     │      ▼
                                      ▲                                              │    line
                                      └───────────────── pooled ─────────────────────┘   buffers

    Fetch, walker, datapath, write-back and collector are those of the geometry's variant
    (:mod:`bamac_hw.datapath`); each interface between blocks is a signature that is documented
    beside the block that drives it.

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
    memories : Memories, optional
        What the memories are built from: SRAM macros of an ASIC flow, for example.

    Raises
    ------
    GeometryError
        If the family's memories lack the read ports of the geometry's weight store.
    LookupError
        If there is no datapath for the geometry's lane and walk.

    Members
    -------
    s_axil_* : AXI4-Lite, see ``HostPort``; or the members of another ``port``'s ``bus``
    s_axis_frames_* : AXI4-Stream, one int8 value per beat, ``tlast`` with a frame's last value
    m_axis_scores_* : AXI4-Stream, one int32 raw score per beat, ``tlast`` with a clip's last
    irq : a clip was scored
    trace_*, mon_* : with ``trace``, see ``docs/simulation.md``
    """

    def __init__(self, geometry: Geometry, *, program: Program | None = None, trace: bool = False,
                 accumulators: bool = False, port: type = HostPort, family: str | None = None,
                 memories: Memories | None = None):
        if geometry.streams > 1 and family == "ice40":
            raise GeometryError(f"streams must be 1 on iCE40, whose memories have one read port, "
                                f"not {geometry.streams}")
        if geometry.zero_rows and family == "ice40":
            raise GeometryError("zero_rows must be false on iCE40, whose memories have one read "
                                "port")
        self._geometry, self._program, self._family = geometry, program, family
        self._trace, self._port, self._memories = trace, port, memories or Memories()
        self._accumulators = accumulators
        self._variant = variant_of(geometry)
        self._record = self._variant.write_back.record_signature(
            geometry, accumulators=accumulators)
        super().__init__(
            port.bus(geometry)
            | axi_stream_ports("s_axis_frames", bits=8, flow=In)
            | axi_stream_ports("m_axis_scores", bits=32, flow=Out)
            | {"irq": Out(1)}
            | (record_ports(self._record) | _monitor_ports(geometry) if trace else {}))

    def elaborate(self, platform):
        m = Module()
        parts = self._build(m)
        self._connect_ports(m, parts)
        self._connect_memories(m, parts)
        self._connect_blocks(m, parts)
        if self._geometry.counters:
            self._count(m, parts)
        else:
            m.d.comb += parts.scheduler.run.eq(parts.host.control.run)
        if self._trace:
            self._connect_trace(m, parts)
        return m

    def _build(self, m) -> SimpleNamespace:
        """Every block, as a submodule of its name."""
        g, program, variant = self._geometry, self._program, self._variant
        family, memories = self._family, self._memories
        parts = SimpleNamespace(
            host=self._port(g, autostart=program is not None),
            frames=FrameWriter(g),
            scheduler=Scheduler(g, init=program.descriptors.tolist() if program else (),
                                family=family, memories=memories),
            walker=variant.walker(g),
            fetch=variant.fetch(g, family=family),
            weights=memories.weight_store(g, init=program.weight_words() if program else ()),
            datapath=variant.datapath(g, family=family),
            write_back=variant.write_back(g, family=family, accumulators=self._accumulators),
            collector=variant.collector(g, family=family),
            input_buffer=memories.input_buffer(g), line_buffers=memories.line_buffers(g),
            vector=memories.vector(g))
        for name, part in vars(parts).items():
            m.submodules[name] = part
        return parts

    def _connect_ports(self, m, parts):
        """The accelerator's own ports: host, frames, scores."""
        host, frames, scheduler = parts.host, parts.frames, parts.scheduler
        for name, member in self._port.bus(self._geometry).items():
            to, value = (self, host) if member.flow is Out else (host, self)
            m.d.comb += getattr(to, name).eq(getattr(value, name))
        scores = parts.collector.scores
        m.d.comb += [
            self.irq.eq(host.irq),
            host.control.running.eq(scheduler.running), host.control.waiting.eq(scheduler.waiting),
            host.control.score_pending.eq(scores.valid),
            host.control.clip_done.eq(scheduler.clip_done),
            host.control.errors.eq(
                Cat(frames.error_short, frames.error_long, frames.error_range)),
            frames.i.payload.value.eq(self.s_axis_frames_tdata),
            frames.i.payload.last.eq(self.s_axis_frames_tlast),
            frames.i.valid.eq(self.s_axis_frames_tvalid),
            self.s_axis_frames_tready.eq(frames.i.ready),
            self.m_axis_scores_tdata.eq(scores.payload.value),
            self.m_axis_scores_tlast.eq(scores.payload.last),
            self.m_axis_scores_tvalid.eq(scores.valid),
            scores.ready.eq(self.m_axis_scores_tready),
        ]

    def _connect_memories(self, m, parts):
        """Every memory but the scheduler's and the counters', which are inside these."""
        load = parts.host.load
        for port, enable in ((parts.scheduler.write, load.descriptors),
                             (parts.weights.write, load.weights)):
            m.d.comb += [port.en.eq(enable), port.addr.eq(load.addr), port.data.eq(load.data)]
        for store, user in zip(parts.weights.read, self._weight_users(parts), strict=True):
            connect(m, store, user)
        connect(m, parts.frames.write, parts.input_buffer.write)
        connect(m, parts.fetch.input, parts.input_buffer.read)
        connect(m, parts.write_back.line, parts.line_buffers.write)
        connect(m, parts.fetch.line, parts.line_buffers.read)
        connect(m, parts.fetch.vector, parts.vector.fetch)
        connect(m, parts.collector.read, parts.vector.collect)
        connect(m, parts.collector.write, parts.vector.write)

    def _weight_users(self, parts) -> list:
        """What reads the weight store, a port each."""
        masks = [parts.walker.masks] if self._geometry.zero_rows else []
        return [*parts.datapath.weights, *masks]

    def _connect_blocks(self, m, parts):
        """What the blocks tell each other."""
        scheduler, walker, datapath = parts.scheduler, parts.walker, parts.datapath
        for block in (walker, parts.fetch, datapath, parts.write_back, parts.collector):
            m.d.comb += block.layer.eq(scheduler.layer)
        m.d.comb += [
            datapath.running.eq(scheduler.running), datapath.job_start.eq(scheduler.job.start),
            scheduler.collector_busy.eq(walker.collect.busy),
        ]
        connect(m, scheduler.frames, parts.frames.control)
        connect(m, scheduler.job, walker.job)
        connect(m, scheduler.output, parts.write_back.job)
        connect(m, walker.fetch, parts.fetch.request)
        connect(m, walker.work, datapath.work)
        connect(m, walker.collect, parts.collector.collect)
        connect(m, datapath.results, parts.write_back.results)
        connect(m, datapath.head, parts.collector.head)
        connect(m, parts.write_back.pooled, parts.collector.pooled)

    def _count(self, m, parts):
        """The performance counters."""
        scheduler, walker, collector = parts.scheduler, parts.walker, parts.collector
        m.submodules.counters = counters = Counters(
            self._geometry, family=self._family, memories=self._memories)
        running, causes = scheduler.running, walker.causes
        collecting = causes.collecting | scheduler.draining
        steps = [walker.work.step, *walker.work.additions]
        accesses = self._accesses(parts)
        amounts = {
            "cycles_compute": reduce(or_, (step.compute for step in steps)),
            "cycles_fetch": causes.fetching,
            "cycles_tile": causes.tiling,
            "cycles_collect": collecting & ~collector.stalled,
            "cycles_load": scheduler.loading | causes.loading,
            "cycles_schedule": scheduler.scheduling,
            "cycles_wait_input": scheduler.waiting,
            "cycles_wait_output": collecting & collector.stalled,
            "events": _ones(parts.datapath.hits),
            "descriptor_reads": scheduler.descriptor_reading & running,
            "state_reads": scheduler.state_reading,
            "state_writes": scheduler.state_writing & running,
            "scores": collector.scores.valid & collector.scores.ready,
        } | {f"{name}s": _ones(enables) for name, enables in accesses.items()}
        for to, name in zip(counters.add, COUNTERS, strict=True):
            m.d.comb += to.eq(amounts.pop(name))
        assert not amounts
        connect(m, parts.host.counters, counters.host)
        m.d.comb += [
            counters.flush.eq(scheduler.flush), counters.layer.eq(scheduler.current),
            counters.clear.eq(parts.host.control.clear_counters),
            scheduler.run.eq(parts.host.control.run & ~counters.clearing),
        ]

    def _accesses(self, parts) -> dict[str, Value]:
        """Enables of the ports of the memories that the pipeline uses, by access."""
        return {
            "weight_read": Cat(port.en for port in self._weight_users(parts)),
            "input_read": parts.fetch.input.en, "input_write": parts.frames.write.en,
            "line_read": parts.fetch.line.en, "line_write": parts.write_back.line.en,
            "vector_read": parts.collector.read.en | parts.fetch.vector.en,
            "vector_write": parts.collector.write.en,
        }

    def _connect_trace(self, m, parts):
        """Records of outputs, and activity of memory ports."""
        scheduler = parts.scheduler
        m.submodules.trace = trace = TraceRecorder(self._geometry, self._record)
        connect(m, parts.write_back.record, trace.tile)
        connect(m, parts.collector.record, trace.word)
        m.d.comb += [trace.layer.eq(scheduler.layer), trace.current.eq(scheduler.current),
                     trace.left.eq(scheduler.output.left),
                     *(getattr(self, name).eq(getattr(trace, name))
                       for name in record_ports(self._record))]

        # A job's last accesses are some cycles behind its flush, the next job's first ones before
        # that.
        running, later = scheduler.running, WRITE_STAGE + 1
        monitors = {
            "layer": delayed(m, scheduler.current, WRITE_STAGE, "layer_later"),
            "flush": delayed(m, scheduler.flush, WRITE_STAGE, "flush_later"),
            "descriptor_read": delayed(m, scheduler.descriptor_reading & running, later,
                                       "descriptor_reading_later"),
            "state_read": delayed(m, scheduler.state_reading, later, "state_reading_later"),
            "state_write": delayed(m, scheduler.state_writing & running, later,
                                   "state_writing_later"),
        } | self._accesses(parts)
        monitors["input_write"] = monitors["input_write"].any()  # one value per cycle
        m.d.comb += [getattr(self, f"mon_{name}").eq(value) for name, value in monitors.items()]


def _monitor_ports(geometry):
    """Members that show accesses of memories, of a trace build."""
    g = geometry
    widths = {
        "layer": 4, "flush": 1, "weight_read": g.weight_ports, "input_read": g.pixels,
        "input_write": 1,
        "line_read": g.pixels, "line_write": g.pixels, "vector_read": 1, "vector_write": 1,
        "descriptor_read": 1, "state_read": 1, "state_write": 1,
    }
    return {f"mon_{name}": Out(width) for name, width in widths.items()}


def _ones(value):
    """Number of ones."""
    return sum(value[1:], start=value[0])
