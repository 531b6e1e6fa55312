"""Performance counters: every cycle by cause, every access of every memory port, per layer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import COUNTER_SLOTS, COUNTERS

__all__ = ["Counters"]

COUNT_BITS = 32  # counts wrap modulo 2**32, which differences of two readings survive


class Counters(wiring.Component):
    """Adds up what happens during a job, and books it to the job's layer when the job ends.

    Each counter has a small register of its own for the running job. At ``flush`` these move to
    a shift chain, which is added to the counter memory in the background, one per cycle. A job is
    longer than that takes, so counting costs no time.

    ``input_writes`` is different: frames arrive while other layers run, so it has a register of
    its own and is booked to layer 0 when read.

    Members
    -------
    add : how much each counter grows in this cycle, in the order of ``COUNTERS``
    flush, layer : end of a job of this layer
    clear : set all counters to zero; takes ``max_layers * 32`` cycles (``clearing``)
    read_addr, read_data : the counter window, one cycle, while not ``busy``
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        self._words = g.max_layers * COUNTER_SLOTS
        super().__init__({
            "add": In(range(g.pixels + 1)).array(len(COUNTERS)),
            "flush": In(1),
            "layer": In(4),
            "clear": In(1),
            "clearing": Out(1),
            "busy": Out(1),
            "read_addr": In(range(self._words)),
            "read_data": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        names = list(COUNTERS)
        direct = names.index("input_writes")

        m.submodules.memory = memory = Memory(shape=COUNT_BITS, depth=self._words, init=[])
        read, write = memory.read_port(), memory.write_port()

        booked = [Signal(COUNT_BITS, name=f"booked_{name}") for name in names]
        layer = Signal(4)
        index = Signal(range(COUNTER_SLOTS + 1), init=len(names))
        frames = Signal(32)
        m.d.sync += frames.eq(frames + self.add[direct])
        for k, name in enumerate(names):
            local = Signal(COUNT_BITS, name=f"local_{name}")
            grown = local + (self.add[k] if k != direct else 0)
            m.d.sync += local.eq(grown)
            with m.If(self.flush):
                # What happens in the cycle of the flush still belongs to this job.
                m.d.sync += [booked[k].eq(grown), local.eq(0)]
            with m.Else():
                m.d.sync += booked[k].eq(booked[k + 1] if k + 1 < len(names) else 0)

        # Background addition: read in one cycle, write in the next.
        adding = Signal()
        addend = Signal(COUNT_BITS)
        write_addr = Signal.like(self.read_addr)
        busy = Signal()
        m.d.comb += [busy.eq(index != len(names)), self.busy.eq(busy | adding)]
        with m.If(self.flush):
            m.d.sync += [index.eq(0), layer.eq(self.layer)]
        with m.Elif(busy):
            m.d.sync += index.eq(index + 1)
        host_direct = Signal()
        m.d.sync += [
            adding.eq(busy), addend.eq(booked[0]), write_addr.eq(read.addr),
            host_direct.eq(self.read_addr == direct),
        ]
        m.d.comb += [
            read.addr.eq(Mux(busy, layer * COUNTER_SLOTS + index, self.read_addr)),
            read.en.eq(1),
            self.read_data.eq(Mux(host_direct, frames, read.data)),
        ]

        clear_addr = Signal(range(self._words + 1), init=0)
        m.d.comb += self.clearing.eq(clear_addr != self._words)
        with m.If(self.clear):
            m.d.sync += [clear_addr.eq(0), frames.eq(0)]
        with m.If(self.clearing):
            m.d.sync += clear_addr.eq(clear_addr + 1)
            m.d.comb += [write.en.eq(1), write.addr.eq(clear_addr), write.data.eq(0)]
        with m.Else():
            m.d.comb += [write.en.eq(adding), write.addr.eq(write_addr),
                         write.data.eq(read.data + addend)]
        return m
