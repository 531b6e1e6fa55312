"""Performance counters: every cycle by cause, every access of every memory port, per layer."""

from functools import reduce
from operator import or_
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.counters import COUNTER_SLOTS, COUNTERS
from ..geometry import Geometry
from ..host.inside import CounterReadSignature
from ..lib.small_count import one_more
from ..memory.memories import COUNT_BITS, Memories

__all__ = ["Counters"]

# Counts of COUNT_BITS bits wrap, which differences of two readings survive.

NAMES = list(COUNTERS)
# Grow by up to one for each bank or pixel in a cycle; all others but weight_reads by one.
BY_PIXEL = {"events", "input_reads", "line_reads", "line_writes"}

# Counters in the order in which a round visits them: the counter at position ``n`` is read out
# ``n + 1`` cycles after the flush. By then it must have counted all of the job before, whose last
# bits are written seven cycles after the flush, and nothing yet of the next: that job's descriptor
# is read from the cycle of the flush on, its weights 11 cycles later, its outputs later still.
ORDER = ("cycles_wait_input", "cycles_load", "descriptor_reads", "state_reads", "input_reads",
         "line_reads", "cycles_tile", "cycles_compute", "cycles_fetch", "vector_reads",
         "weight_reads", "cycles_collect", "cycles_schedule", "events", "scores",
         "cycles_wait_output", "line_writes", "state_writes", "vector_writes", "input_writes")
# To keep to that, the inputs of some are delayed by so many cycles.
LATE = {"cycles_wait_input": 1, "cycles_load": 2, "descriptor_reads": 3, "cycles_collect": 1,
        "cycles_schedule": 1}
FIRST_LAYER = ("cycles_wait_input", "input_writes")  # booked to it, whichever layer runs
IDLE_SLOTS = 4  # of a round: for the host

# A counter is visited at least once in two rounds, as a flush may begin a new one.
ROUND_CYCLES = len(ORDER) + IDLE_SLOTS
BETWEEN_VISITS = 2 * ROUND_CYCLES


class Counters(wiring.Component):
    """Adds up what happens during a job, and books it to the job's layer.

    A counter has only its low bits in a register. A round visits one counter per cycle: the
    register's content is added to the running job's layer in the counter memory, and the register
    starts again from zero. At ``flush`` a round begins for the job that has ended. It visits each
    counter before the next job makes it grow, so counting costs no time.

    Cycles that wait for input are booked after the next job, because behind the last clip the wait
    may never end. It may be of any length, so that counter is kept whole.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"`` a count is picked, added and written without registers in between.
    memories : Memories, optional
        What the memory is built from.

    Members
    -------
    add : how much each counter grows in this cycle, in the order of ``COUNTERS``: at most
        ``pixels * macs_per_lane`` for ``events``, ``pixels`` for the reads and writes of the banked
        memories, ``streams`` for ``weight_reads``, 1 for the others
    flush, layer : a job of this layer ends; two flushes are at least ``len(COUNTERS)`` cycles apart
    clear : set all counters to zero; takes ``max_layers * 32`` cycles (``clearing``)
    host : ``In(CounterReadSignature)``, the counter window
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None,
                 memories: Memories | None = None):
        g = self._geometry = geometry
        self._family, self._memories = family, memories or Memories()
        self._words = g.max_layers * COUNTER_SLOTS
        super().__init__({
            "add": In(range(g.pixels * g.macs_per_lane + 1)).array(len(COUNTERS)),
            "flush": In(1),
            "layer": In(4),
            "clear": In(1),
            "clearing": Out(1),
            "host": In(CounterReadSignature(geometry)),
        })

    def elaborate(self, platform):
        m = Module()
        visit = self._round(m)
        taken = [self._count(m, visit, n, name) for n, name in enumerate(ORDER)]
        self._book(m, visit, taken)
        return m

    def _round(self, m):
        """Which counter is visited, and for which layer."""
        slots = ROUND_CYCLES
        others = (1 << slots) - 2
        # ``turn`` is high for the counter that is visited, ``rest`` low.
        turn = Signal(slots, init=1, name="turn")
        rest = Signal(slots, init=others, name="rest")
        slot = Signal(range(slots), name="slot")
        booking = Signal(name="booking")  # until the job that has ended is booked
        booked = Signal(4, name="booked")
        with m.If(self.flush):
            m.d.sync += [turn.eq(1), slot.eq(0), booking.eq(1), booked.eq(self.layer)]
        with m.Else():
            m.d.sync += [turn.eq(turn.rotate_left(1)), slot.eq(Mux(turn[-1], 0, slot + 1))]
            with m.If(turn[len(ORDER) - 1]):
                m.d.sync += booking.eq(0)
        if self._family == "ice40":
            m.d.comb += rest.eq(~turn)
        else:
            # Registers instead of inverters.
            m.d.sync += rest.eq(Mux(self.flush, others, rest.rotate_left(1)))

        visits = Signal(name="visits")
        layer = Signal(4, name="visited_layer")
        of_first = Cat(turn[ORDER.index(name)] for name in FIRST_LAYER).any()
        m.d.comb += [
            visits.eq(slot < len(ORDER)),
            layer.eq(Mux(of_first, 0, Mux(booking, booked, self.layer))),
        ]
        return SimpleNamespace(turn=turn, rest=rest, slot=slot, booking=booking, visits=visits,
                               layer=layer)

    def _count(self, m, visit, n, name):
        """What the counter at position ``n`` has counted, in the cycle behind its visit; else 0."""
        g = self._geometry
        most = (g.pixels * g.macs_per_lane if name in BY_PIXEL else
                g.weight_ports if name == "weight_reads" else 1)
        waits = name == "cycles_wait_input"
        bits = COUNT_BITS if waits else (BETWEEN_VISITS * most).bit_length()
        local = Signal(bits, name=f"local_{name}")
        count = Signal(bits, name=f"count_{name}")
        amount = self.add[NAMES.index(name)]
        for stage in range(LATE.get(name, 0)):
            later = Signal(name=f"late_{name}_{stage}")
            m.d.sync += later.eq(amount)
            amount = later
        begins, stays = visit.turn[n], visit.rest[n]
        if waits:
            stays = visit.rest[n] | ~visit.booking
            begins = ~stays | self.clear
        elif n == 1:
            # Not again before the memory is written.
            stays = visit.rest[n] | self.flush
            begins = ~stays
        if most == 1:
            # What comes in this cycle is the first of the next visit, so that the sum has one use:
            # its logic and its register are one cell of an iCE40.
            one = amount[0]
            more = one_more(local, one) if bits <= 8 else (local + one)[:bits]
            m.d.comb += count.eq(local)
            first = one & ~self.clear if waits else one
            m.d.sync += local.eq(Cat(first ^ (local[0] & ~begins), more[1:]))
            with m.If(begins):
                m.d.sync += local[1:].eq(0)
        elif self._family == "ice40" or name == "weight_reads":
            # Weights of the next job may be read in this cycle.
            m.d.comb += count.eq(local)
            m.d.sync += local.eq(local + amount)
            with m.If(begins):
                m.d.sync += local.eq(amount)
        else:
            m.d.comb += count.eq(local + amount)
            m.d.sync += local.eq(count)
            with m.If(begins):
                m.d.sync += local.eq(0)
        take = Signal(bits, name=f"taken_{name}", reset_less=True)
        if self._family == "ice40":
            m.d.comb += take.eq(count & ~stays.replicate(bits))
        else:
            # All registers but one are in reset, so an OR takes the place of a selection.
            with m.If(stays):
                m.d.sync += take.eq(0)
            with m.Else():
                m.d.sync += take.eq(count)
        return take

    def _book(self, m, visit, taken):
        """Add the visited count to its word of the memory; clear the memory; let the host read.

        A word is read, and written one cycle later (with registers on the way: three); no other
        access of it is in between. While clearing, both operands are zero.
        """
        m.submodules.memory = memory = self._memories.counters(self._geometry)
        read, write = memory.read, memory.write
        read_addr = Signal.like(self.host.addr, name="read_addr")
        clear_addr = Signal(range(self._words + 1), init=0)
        slots = Array(NAMES.index(name) for name in ORDER)
        m.d.comb += [
            read_addr.eq(visit.layer * COUNTER_SLOTS + slots[visit.slot]),
            read.addr.eq(Mux(visit.visits, read_addr, self.host.addr)), read.en.eq(1),
            self.host.data.eq(read.data),
            self.clearing.eq(clear_addr != self._words),
        ]
        with m.If(self.clear):
            m.d.sync += clear_addr.eq(0)
        with m.Elif(self.clearing):
            m.d.sync += clear_addr.eq(clear_addr + 1)

        def later(value, name, cycles):
            """The value in each of the next cycles."""
            stages = [value]
            for n in range(cycles):
                stages.append(Signal.like(Value.cast(value), name=f"{name}_{n}"))
                m.d.sync += stages[-1].eq(stages[-2])
            return stages[1:]

        addend = Signal(COUNT_BITS)
        picked = reduce(or_, taken)
        if self._family == "ice40":
            adding = later(visit.visits, "adding", 1)
            address, = later(read_addr, "address", 1)
            clear_now, clear_at = self.clearing, clear_addr
            m.d.sync += addend.eq(picked)
            total = Mux(self.clearing, 0, read.data + addend)
        else:
            # Block RAM is slow to come out.
            adding = later(visit.visits, "adding", 2)
            *_, address = later(read_addr, "address", 2)
            (clear_now,), (clear_at,) = later(self.clearing, "clear_now", 1), later(
                clear_addr, "clear_at", 1)
            old = Signal(COUNT_BITS)
            with m.If(self.clearing):
                m.d.sync += [old.eq(0), addend.eq(0)]
            with m.Else():
                m.d.sync += [old.eq(read.data), addend.eq(picked)]
            total = old + addend
        m.d.comb += [
            self.host.busy.eq(reduce(or_, adding, visit.booking | visit.visits)),
            write.en.eq(adding[-1] | clear_now),
            write.addr.eq(Mux(clear_now, clear_at, address)),
            write.data.eq(total),
        ]
