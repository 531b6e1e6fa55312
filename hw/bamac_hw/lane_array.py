"""The outer-product array: one weight row, broadcast to the pixels of a tile."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LaneArray"]


class LaneArray(wiring.Component):
    """``pixels * channels`` accumulators, each gated by its pixel's activation bit.

    In every cycle, accumulator ``(pixel, channel)`` adds ``operand[channel]`` if ``en[pixel]`` is
    set. The bit is the accumulators' clock enable and ``clear`` their synchronous reset, so
    neither costs logic. Latency: one cycle. There is no saturation: the compiler proves that no
    sum leaves ``acc_bits``. The accumulators have no other reset: ``clear`` must be held for a
    cycle before the first addition.

    Members
    -------
    en : one bit per pixel
    clear : set every accumulator to zero, whatever ``en`` is
    operand : ``signed(acc_bits)`` per channel
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    """

    def __init__(self, *, pixels, channels, acc_bits):
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        super().__init__({
            "en": In(pixels),
            "clear": In(1),
            "operand": In(signed(acc_bits)).array(channels),
            "acc": Out(signed(acc_bits)).array(pixels * channels),
        })

    def elaborate(self, platform):
        m = Module()
        for pixel in range(self._pixels):
            for channel in range(self._channels):
                acc = Signal(signed(self._acc_bits), name=f"acc_{pixel}_{channel}",
                             reset_less=True)
                with m.If(self.clear):
                    m.d.sync += acc.eq(0)
                with m.Elif(self.en[pixel]):
                    m.d.sync += acc.eq(acc + self.operand[channel])
                m.d.comb += self.acc[pixel * self._channels + channel].eq(acc)
        return m
