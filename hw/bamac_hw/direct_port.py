"""The host's registers without a bus standard, for designs that count every LUT."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .host_port import HostPort
from .layout import (
    ADDRESS_BITS,
    COUNTER_SLOTS,
    COUNTER_WINDOW,
    DESCRIPTOR_WINDOW,
    DESCRIPTOR_WORDS,
    FORMAT_VERSION,
    ID_VALUE,
    WEIGHT_WINDOW,
    Register,
)

__all__ = ["DirectPort"]


class DirectPort(wiring.Component):
    """The registers and windows of :class:`HostPort`, for one master that holds what it asks.

    An access is ``read`` or ``write`` with ``index`` and ``data``, all held until ``done``. A write
    takes 1 cycle, a read 1, and a read of the counter window 2 and up to 24 more while a job's
    counts are being booked. What is refused changes nothing.

    Parameters
    ----------
    geometry : Geometry
    autostart : bool
        ``run`` is set after reset.

    Members
    -------
    host_index : an AXI4-Lite address divided by 4
    host_write, host_read, host_data : the access
    host_done, host_refused, host_word : its answer
    others : as of ``HostPort``
    """

    @staticmethod
    def bus():
        """Members of the host's side."""
        return {
            "host_index": In(ADDRESS_BITS - 2), "host_write": In(1), "host_read": In(1),
            "host_data": In(32), "host_done": Out(1), "host_refused": Out(1), "host_word": Out(32),
        }

    def __init__(self, geometry: Geometry, *, autostart=False):
        self._geometry, self._autostart = geometry, autostart
        super().__init__(self.bus() | HostPort.inside())

    def elaborate(self, platform):
        g = self._geometry
        m = Module()

        run = Signal(init=int(self._autostart))
        irq_enable = Signal()
        interrupt = Signal()
        error = Signal(3)
        clips = Signal(16)
        m.d.comb += [self.run.eq(run), self.irq.eq(irq_enable & interrupt)]
        m.d.sync += [error.eq(error | self.errors), clips.eq(clips + self.clip_done)]
        with m.If(self.clip_done):
            m.d.sync += interrupt.eq(1)

        index, data = self.host_index, self.host_data

        def in_window(base, words):
            bits = (words - 1).bit_length()
            assert (base >> 2) % (1 << bits) == 0
            whole = words == 1 << bits
            return (index[bits:] == base >> bits + 2) & (whole or index[:bits] < words)

        is_register = index[3:] == 0
        is_counter = in_window(COUNTER_WINDOW, g.max_layers * COUNTER_SLOTS) if g.counters else 0
        m.d.comb += [self.write_addr.eq(index[:-1]), self.write_data.eq(data),
                     self.counter_addr.eq(index[:COUNTER_WINDOW.bit_length() - 3])]

        refused_write = Signal()
        m.d.comb += refused_write.eq(1)
        with m.If(is_register):
            with m.Switch(index[:3]):
                with m.Case(Register.CONTROL >> 2):
                    m.d.comb += [refused_write.eq(0),
                                 self.clear_counters.eq(self.host_write & data[1])]
                    with m.If(self.host_write):
                        m.d.sync += [run.eq(data[0]), irq_enable.eq(data[2])]
                with m.Case(Register.ERROR >> 2):
                    m.d.comb += refused_write.eq(0)
                    with m.If(self.host_write):
                        m.d.sync += error.eq((error & ~data[:3]) | self.errors)
                with m.Case(Register.INTERRUPT >> 2):
                    m.d.comb += refused_write.eq(0)
                    with m.If(self.host_write):
                        m.d.sync += interrupt.eq((interrupt & ~data[0]) | self.clip_done)
        with m.Elif(in_window(DESCRIPTOR_WINDOW, (g.max_layers + 1) * DESCRIPTOR_WORDS) & ~run):
            m.d.comb += [refused_write.eq(0), self.descriptor_en.eq(self.host_write)]
        with m.Elif(in_window(WEIGHT_WINDOW, g.weight_bytes // 4) & ~run):
            m.d.comb += [refused_write.eq(0), self.weight_en.eq(self.host_write)]

        settled = Signal()
        value = Signal(32)
        m.d.sync += settled.eq(self.host_read & ~self.host_done & ~self.counter_busy)
        with m.Switch(index[:3]):
            for register, content in {
                Register.ID: C(ID_VALUE, 32),
                Register.VERSION: C(FORMAT_VERSION, 32),
                Register.GEOMETRY: C(int(g.digest()[:8], 16), 32),
                Register.CONTROL: Cat(run, C(0, 1), irq_enable),
                Register.STATUS: Cat(self.running, self.waiting, self.score_pending),
                Register.ERROR: error,
                Register.CLIPS: clips,
                Register.INTERRUPT: interrupt,
            }.items():
                with m.Case(register >> 2):
                    m.d.comb += value.eq(content)
        m.d.comb += [
            self.host_word.eq(Mux(is_counter, self.counter_data,
                                  value & is_register.replicate(32))),
            self.host_refused.eq(Mux(self.host_read, ~(is_register | is_counter), refused_write)),
            self.host_done.eq(self.host_write | (self.host_read & (
                ~is_counter | (settled & ~self.counter_busy)))),
        ]
        return m
