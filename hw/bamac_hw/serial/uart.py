"""An asynchronous serial port: 8 data bits, no parity, 1 stop bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter"]


def _check(cycles):
    if isinstance(cycles, bool) or not isinstance(cycles, int) or cycles < 4:
        raise TypeError(f"Clock cycles of a bit must be an integer of at least 4, not {cycles!r}")


class UartReceiver(wiring.Component):
    """Receives bytes.

    A start bit that is over by its middle, and a byte without a stop bit, are ignored.

    Parameters
    ----------
    cycles : int
        Clock cycles of one bit.

    Members
    -------
    rx : the line, asynchronous
    o : a byte, for one cycle, in the middle of its stop bit
    """

    def __init__(self, *, cycles: int):
        _check(cycles)
        self._cycles = cycles
        super().__init__({"rx": In(1, init=1),
                          "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)

        timer = Signal(range(self._cycles))
        busy = Signal()
        # Start bit and data come in from above; the 1 of the beginning falls out with them.
        bits = Signal(10)
        m.d.comb += self.o.payload.eq(bits[2:])
        with m.If(~busy):
            m.d.sync += [timer.eq(self._cycles // 2 - 1), bits.eq(1 << 9), busy.eq(~rx)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self._cycles - 1), bits.eq(Cat(bits[1:], rx))]
            with m.If(bits[0]):
                m.d.comb += self.o.valid.eq(rx)
                m.d.sync += busy.eq(0)
            with m.If(bits[9] & (bits[:9] == 0) & rx):
                m.d.sync += busy.eq(0)
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes.

    Parameters
    ----------
    cycles : int
        Clock cycles of one bit.

    Members
    -------
    i : bytes; one is taken every ``10 * cycles`` cycles at most
    tx : the line
    """

    def __init__(self, *, cycles: int):
        _check(cycles)
        self._cycles = cycles
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self._cycles))
        # The stop bit on top: when it is the only one left, the byte is sent.
        bits = Signal(10, init=1)
        m.d.comb += self.i.ready.eq((timer == 0) & ~bits[1:].any())
        m.d.sync += self.tx.eq(bits[0])
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(bits[1:].any()):
            m.d.sync += [timer.eq(self._cycles - 1), bits.eq(bits >> 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [timer.eq(self._cycles - 1), bits.eq(Cat(C(0, 1), self.i.payload, C(1, 1)))]
        return m
