"""The outer-product array: one weight row, broadcast to the pixels of a tile."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .carry_chain import carry_chain, check_family

__all__ = ["LaneArray"]

# Of A (accumulator), B (operand), C (fill) and D (gate): the accumulator and D & (B | C) differ.
_CARRY_LUT = 0x56AA


class LaneArray(wiring.Component):
    """``pixels * channels`` accumulators, each gated by its pixel's activation bit.

    In every cycle, accumulator ``(pixel, channel)`` adds ``gate & (operand | fill)`` of its channel
    if ``en[pixel]`` is set. On ECP5 the lanes are built from the cells by hand: the two gates of
    each bit fit the LUT in front of its carry, but Yosys would give them LUTs of their own. The
    activation bit is the accumulators' clock enable and ``clear`` their synchronous reset, so
    neither costs logic.

    Latency: one cycle. There is no saturation: the compiler proves that no sum leaves ``acc_bits``.
    The accumulators have no other reset: ``clear`` must be held for a cycle before the first
    addition.

    Parameters
    ----------
    pixels, channels, acc_bits : int
    family : "ecp5" or None
        Build the lanes from this family's carry cells, or as an expression.
    own_bits : bool
        Whether each lane has an enable of its own, for depthwise layers.

    Members
    -------
    en : one bit per pixel, or one per lane
    clear : set every accumulator to zero, whatever ``en`` is
    operand, fill, gate : ``acc_bits`` bits per channel
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    """

    def __init__(self, *, pixels: int, channels: int, acc_bits: int, family: str | None = None,
                 own_bits: bool = False):
        check_family(family)
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        self._family, self._own_bits = family, own_bits
        super().__init__({
            "en": In(pixels * channels if own_bits else pixels),
            "clear": In(1),
            "operand": In(acc_bits).array(channels),
            "fill": In(acc_bits).array(channels),
            "gate": In(acc_bits).array(channels),
            "acc": Out(signed(acc_bits)).array(pixels * channels),
        })

    def elaborate(self, platform):
        m = Module()
        for pixel in range(self._pixels):
            for channel in range(self._channels):
                operand, fill, gate = self.operand[channel], self.fill[channel], self.gate[channel]
                acc = Signal(signed(self._acc_bits), name=f"acc_{pixel}_{channel}",
                             reset_less=True)
                after = Signal.like(acc, name=f"after_{pixel}_{channel}")
                if self._family == "ecp5":
                    m.d.comb += after.eq(carry_chain(
                        m, f"{pixel}_{channel}", _CARRY_LUT, list(acc), list(operand), list(fill),
                        list(gate)))
                else:
                    m.d.comb += after.eq(acc + (gate & (operand | fill)))
                with m.If(self.clear):
                    m.d.sync += acc.eq(0)
                with m.Elif(self.en[pixel * self._channels + channel if self._own_bits else
                                    pixel]):
                    m.d.sync += acc.eq(after)
                m.d.comb += self.acc[pixel * self._channels + channel].eq(acc)
        return m
