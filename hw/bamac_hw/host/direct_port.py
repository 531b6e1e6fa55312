"""The host's registers without a bus standard, for designs that count every LUT."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out, connect, flipped

from ..abi.registers import COUNTER_WINDOW
from ..geometry import Geometry
from .inside import inside
from .registers import Registers

__all__ = ["DirectPort"]


class DirectPort(wiring.Component):
    """The registers and windows of ``HostPort``, for one master that holds its request.

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
    irq, control, load, counters : the accelerator's side, see :mod:`bamac_hw.host.inside`
    """

    @staticmethod
    def bus(geometry: Geometry) -> dict[str, Member]:
        """Members of the host's side."""
        return {
            "host_index": In(geometry.bus_address_bits - 2), "host_write": In(1),
            "host_read": In(1),
            "host_data": In(32), "host_done": Out(1), "host_refused": Out(1), "host_word": Out(32),
        }

    def __init__(self, geometry: Geometry, *, autostart: bool = False):
        self._geometry, self._autostart = geometry, autostart
        super().__init__(self.bus(geometry) | inside(geometry))

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = Registers(self._geometry, autostart=self._autostart)
        connect(m, flipped(self.control), registers.control)
        m.d.comb += [
            self.irq.eq(registers.irq),
            registers.write.eq(self.host_write), registers.write_data.eq(self.host_data),
            registers.write_index.eq(self.host_index), registers.read_index.eq(self.host_index),
            self.load.descriptors.eq(self.host_write & registers.to_descriptors),
            self.load.weights.eq(self.host_write & registers.to_weights),
            self.load.addr.eq(self.host_index[:-1]), self.load.data.eq(self.host_data),
            self.counters.addr.eq(self.host_index[:COUNTER_WINDOW.bit_length() - 3]),
        ]

        settled = Signal()
        m.d.sync += settled.eq(self.host_read & ~self.host_done & ~self.counters.busy)
        m.d.comb += [
            self.host_word.eq(Mux(registers.from_counters, self.counters.data, registers.value)),
            self.host_refused.eq(~Mux(
                self.host_read, registers.from_register | registers.from_counters,
                registers.to_register | registers.to_descriptors | registers.to_weights)),
            self.host_done.eq(self.host_write | (self.host_read & (
                ~registers.from_counters | (settled & ~self.counters.busy)))),
        ]
        return m
