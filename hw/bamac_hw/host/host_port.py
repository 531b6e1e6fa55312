"""AXI4-Lite side: registers, and windows to load the program and to read the counters."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Member, connect, flipped

from ..abi.registers import COUNTER_WINDOW
from ..geometry import Geometry
from .axi import axi_lite_ports
from .inside import inside
from .registers import Registers

__all__ = ["HostPort"]

OKAY, SLVERR = 0, 2


class HostPort(wiring.Component):
    """Registers (see ``Register``) and windows, 32-bit accesses only.

    Writes with partial strobes, to unknown addresses, or into the program while it runs answer
    SLVERR and change nothing; so do reads of unknown addresses (the program is write only). Reads
    of the counter window ignore the two low address bits.

    A write takes 1 cycle to the answer, a read 3, and a read of the counter window up to 24 more
    while a job's counts are being booked.

    Parameters
    ----------
    geometry : Geometry
    autostart : bool
        ``run`` is set after reset, for designs with the program in the memories' init.

    Members
    -------
    s_axil_* : the bus
    irq, control, load, counters : the accelerator's side, see :mod:`bamac_hw.host.inside`; a word
        is loaded in the cycle behind its write's transfer
    """

    @staticmethod
    def bus(geometry: Geometry) -> dict[str, Member]:
        """Members of the host's side."""
        return axi_lite_ports("s_axil", address_bits=geometry.bus_address_bits)

    def __init__(self, geometry: Geometry, *, autostart: bool = False):
        self._geometry, self._autostart = geometry, autostart
        super().__init__(self.bus(geometry) | inside(geometry))

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = Registers(self._geometry, autostart=self._autostart)
        connect(m, flipped(self.control), registers.control)
        m.d.comb += self.irq.eq(registers.irq)

        # Writes: address and data are taken together, while no answer is pending.
        address, wdata = self.s_axil_awaddr, self.s_axil_wdata
        taken = Signal()
        m.d.comb += [
            taken.eq(self.s_axil_awvalid & self.s_axil_wvalid
                     & (~self.s_axil_bvalid | self.s_axil_bready)),
            self.s_axil_awready.eq(taken), self.s_axil_wready.eq(taken),
        ]
        # The memories are written a cycle later, from registers.
        m.d.sync += [
            self.load.descriptors.eq(0), self.load.weights.eq(0), self.load.data.eq(wdata),
            self.load.addr.eq(address[2:-1]),  # behind the bases of both windows
        ]
        with m.If(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        usable = Signal()
        m.d.comb += [
            usable.eq((self.s_axil_wstrb == 0xF) & (address[:2] == 0)),
            registers.write.eq(taken & usable), registers.write_data.eq(wdata),
            registers.write_index.eq(address[2:]),
        ]
        with m.If(taken):
            m.d.sync += [self.s_axil_bvalid.eq(1), self.s_axil_bresp.eq(SLVERR)]
            with m.If(usable):
                m.d.sync += [self.load.descriptors.eq(registers.to_descriptors),
                             self.load.weights.eq(registers.to_weights)]
                with m.If(registers.to_register | registers.to_descriptors
                          | registers.to_weights):
                    m.d.sync += self.s_axil_bresp.eq(OKAY)

        # Reads: the address is held until the data is there.
        raddr = Signal(self._geometry.bus_address_bits)
        reading = Signal()
        settled = Signal()
        is_counter = Signal()
        m.d.comb += [
            self.s_axil_arready.eq(~reading & ~self.s_axil_rvalid),
            registers.read_index.eq(raddr[2:]), is_counter.eq(registers.from_counters),
            self.counters.addr.eq(raddr[2:COUNTER_WINDOW.bit_length() - 1]),
        ]
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [raddr.eq(self.s_axil_araddr), reading.eq(1), settled.eq(0)]
        # A register's value is taken one cycle before the answer; a counter's is added to it.
        value, known = Signal(32), Signal()
        m.d.sync += [value.eq(0), known.eq(is_counter)]
        with m.If(registers.from_register & (raddr[:2] == 0)):
            m.d.sync += [value.eq(registers.value), known.eq(1)]
        with m.If(reading):
            m.d.sync += settled.eq(~is_counter | ~self.counters.busy)
        with m.If(reading & settled & ~(is_counter & self.counters.busy)):
            m.d.sync += [
                reading.eq(0), self.s_axil_rvalid.eq(1),
                self.s_axil_rresp.eq(Mux(known, OKAY, SLVERR)),
                self.s_axil_rdata.eq(value | Mux(is_counter, self.counters.data, 0)),
            ]
        with m.Elif(self.s_axil_rvalid & self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        return m
