"""The accelerator behind a serial port: all that a board needs besides clock, reset and pins."""

from amaranth import *
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from ..accelerator import Accelerator
from ..geometry import Geometry
from ..host.axi import axi_stream_ports
from ..host.direct_port import DirectPort
from ..program import Program
from .serial_link import RECEIVE_BYTES
from .uart import UartReceiver, UartTransmitter
from .uart_bridge import UartBridge

__all__ = ["SerialAccelerator"]


class SerialAccelerator(wiring.Component):
    """An accelerator whose only interface is two serial lines.

    Received bytes are kept (``RECEIVE_BYTES``) while a command waits for the accelerator, so that
    frames can follow each other without a pause. A byte that finds no room resets the link and the
    accelerator, which is how a host ends a command that waits for ever.

    Parameters
    ----------
    geometry : Geometry
    program : Program, optional
        Goes into the memories' init; the accelerator then runs from the start.
    cycles : int
        Clock cycles of one bit of the serial lines.
    family : str or None
        See ``Accelerator``.

    Members
    -------
    rx, tx : serial lines, from and to the host
    fault : a command was damaged or refused
    """

    def __init__(self, geometry: Geometry, *, program: Program | None = None, cycles: int,
                 family: str | None = None):
        self._geometry, self._program, self._cycles = geometry, program, cycles
        self._family = family
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()

        # Resets by domain cost no logic in front of each register.
        m.domains.link = ClockDomain()
        m.domains.accelerator = ClockDomain()
        m.submodules.receiver = receiver = UartReceiver(cycles=self._cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(cycles=self._cycles)
        received = fifo.SyncFIFOBuffered(width=8, depth=RECEIVE_BYTES)
        bridge = UartBridge(self._geometry)
        accelerator = Accelerator(self._geometry, program=self._program, port=DirectPort,
                                  family=self._family)
        m.submodules.received = DomainRenamer("link")(received)
        m.submodules.bridge = DomainRenamer("link")(bridge)
        m.submodules.accelerator = DomainRenamer("accelerator")(accelerator)

        reset_link, reset_accelerator = Signal(init=1), Signal(init=1)
        overflow = Signal()
        m.d.comb += overflow.eq(receiver.o.valid & ~received.w_rdy)
        m.d.sync += [reset_link.eq(overflow), reset_accelerator.eq(overflow | bridge.reset)]
        m.d.comb += [
            ClockSignal("link").eq(ClockSignal()), ResetSignal("link").eq(reset_link),
            ClockSignal("accelerator").eq(ClockSignal()),
            ResetSignal("accelerator").eq(reset_accelerator),
            receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx), self.fault.eq(bridge.fault),
            received.w_en.eq(receiver.o.valid), received.w_data.eq(receiver.o.payload),
        ]
        wiring.connect(m, received.r_stream, bridge.i)
        wiring.connect(m, bridge.o, transmitter.i)
        for ports, theirs in ((DirectPort.bus(self._geometry), ""),
                              (axi_stream_ports("_axis_frames", bits=8, flow=In), "s"),
                              (axi_stream_ports("_axis_scores", bits=32, flow=Out), "m")):
            ours = {"s": "m", "m": "s"}.get(theirs, "")
            for name, member in ports.items():
                here, there = getattr(bridge, ours + name), getattr(accelerator, theirs + name)
                m.d.comb += there.eq(here) if member.flow is In else here.eq(there)
        return m
