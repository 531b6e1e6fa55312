"""Performance counters: every cycle by cause, every access of every memory port, per layer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .geometry import Geometry
from .layout import COUNTER_SLOTS, COUNTERS

__all__ = ["Counters"]

COUNT_BITS = 32  # counts wrap modulo 2**32, which differences of two readings survive

NAMES = list(COUNTERS)
DIRECT = NAMES.index("input_writes")
WAITING = NAMES.index("cycles_wait_input")
# Grow by up to one for each bank or pixel in a cycle; all others by one.
BY_PIXEL = {"events", "input_reads", "input_writes", "line_reads", "line_writes"}

# Cycles in which a counter's low bits cannot overflow twice. An overflow waits for at most a scan
# of all counters, and after a flush for the longest search for a layer (2 * 15 cycles) before it.
SCAN_CYCLES = 64


class Counters(wiring.Component):
    """Adds up what happens during a job, and books it to the job's layer when the job ends.

    A counter has only its low bits in a register; when they overflow, a bit is set. A scan passes
    one counter per cycle and adds such an overflow to the running job's layer in the counter
    memory. At ``flush`` all low bits move to a shift chain, which is added to the memory in the
    next cycles, one counter per cycle. A job is longer than that takes, so counting costs no time.

    Two counters differ. Waiting for input may take forever while it is not known yet to which
    layer it belongs, so that count is kept whole, and booked first. Input writes go on while
    other layers run: their count is never moved, and read as layer 0's.

    Members
    -------
    add : how much each counter grows in this cycle, in the order of ``COUNTERS``: at most
        ``pixels`` for ``events`` and the banked memories, at most 1 for the others
    settled : ``layer`` is that of the running job; needed in all but 32 of the cycles between
        two flushes (not counting those that wait for input)
    flush, layer : end of a job of this layer
    clear : set all counters to zero; takes ``max_layers * 32`` cycles (``clearing``)
    read_addr, read_data : the counter window; one cycle, if not ``busy`` at its begin
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        self._words = g.max_layers * COUNTER_SLOTS
        super().__init__({
            "add": In(range(g.pixels + 1)).array(len(COUNTERS)),
            "settled": In(1),
            "flush": In(1),
            "layer": In(4),
            "clear": In(1),
            "clearing": Out(1),
            "busy": Out(1),
            "read_addr": In(range(self._words)),
            "read_data": Out(32),
        })

    def elaborate(self, platform):
        g = self._geometry
        m = Module()

        # Each read is of another word than the write beside it, or its result is not used.
        m.submodules.memory = memory = Memory(shape=COUNT_BITS, depth=self._words, init=[],
                                              attrs={"no_rw_check": 1})
        read, write = memory.read_port(), memory.write_port()

        frames = Signal(COUNT_BITS)
        waiting = Signal(COUNT_BITS)
        booking = Signal()
        first = Signal()
        slot = Signal(range(len(NAMES)))
        layer = Signal(4)
        adding = Signal()
        addend = Signal(COUNT_BITS)
        m.d.sync += frames.eq(frames + self.add[DIRECT])
        with m.If(first):
            m.d.sync += waiting.eq(self.add[WAITING][0])
        with m.Else():
            m.d.sync += waiting.eq(waiting + self.add[WAITING][0])

        # All slots in turn; a booking begins with the one that waiting cycles are kept in.
        m.d.sync += slot.eq(Mux(slot == len(NAMES) - 1, 0, slot + 1))
        m.d.sync += first.eq(0)
        with m.If(slot == (WAITING - 1) % len(NAMES)):
            m.d.sync += booking.eq(0)
        with m.If(self.flush):
            m.d.sync += [slot.eq(WAITING), first.eq(1), booking.eq(1), layer.eq(self.layer)]

        # Low bits, the bit behind them that says they have overflowed, and the chain.
        order = [(WAITING + k) % len(NAMES) for k in range(1, len(NAMES))]
        low_bits = {k: ceil_log2(SCAN_CYCLES * (g.pixels if NAMES[k] in BY_PIXEL else 1))
                    for k in order}
        widths = [1 + max(low_bits[k] for k in order[n:]) for n in range(len(order))]
        chain = [Signal(width, name=f"booked_{NAMES[k]}")
                 for k, width in zip(order, widths, strict=True)]
        overflowed = Signal(len(NAMES))
        scanned = Signal()
        m.d.comb += scanned.eq(~booking & ~self.flush & self.settled
                               & overflowed.bit_select(slot, 1))
        for n, k in enumerate(order):
            behind = chain[n + 1] if n + 1 < len(chain) else 0
            if k == DIRECT:
                with m.If(self.flush):
                    m.d.sync += chain[n].eq(0)
                with m.Elif(~first):
                    m.d.sync += chain[n].eq(behind)
                continue
            bits = low_bits[k]
            local = Signal(bits, name=f"local_{NAMES[k]}")
            over = Signal(name=f"over_{NAMES[k]}")
            grown = Signal(bits + 1, name=f"grown_{NAMES[k]}")
            amount = self.add[k] if NAMES[k] in BY_PIXEL else self.add[k][0]
            m.d.comb += [grown.eq(local + amount), overflowed[k].eq(over)]
            with m.If(self.flush):
                # What happens in the cycle of the flush still belongs to this job.
                m.d.sync += [chain[n].eq(Cat(grown[:-1], grown[-1] | over)), local.eq(0),
                             over.eq(0)]
            with m.Else():
                m.d.sync += [local.eq(grown),
                             over.eq(grown[-1] | (over & ~(scanned & (slot == k))))]
                with m.If(~first):  # the chain stands still while the waiting cycles are booked
                    m.d.sync += chain[n].eq(behind)

        # Background addition: read in one cycle, write in the next.
        many = Signal()
        m.d.comb += many.eq(Cat(C(int(name in BY_PIXEL), 1) for name in NAMES).bit_select(slot, 1))
        write_addr = Signal.like(self.read_addr)
        host_direct = Signal()
        carry = Mux(many, 1 << max(low_bits.values()), 1 << min(low_bits.values()))
        m.d.sync += [
            adding.eq(booking | scanned), write_addr.eq(read.addr),
            addend.eq(Mux(booking, Mux(first, waiting, chain[0]), carry)),
            host_direct.eq(self.read_addr == DIRECT),
        ]
        m.d.comb += [
            self.busy.eq(booking | scanned | adding),
            read.addr.eq(Mux(booking | scanned,
                             Mux(booking, layer, self.layer) * COUNTER_SLOTS + slot,
                             self.read_addr)),
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
