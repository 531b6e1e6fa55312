"""Gated accumulators that take a start value in the cycle in which the sums before are read."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .carry_chain import carry_chain, check_family

__all__ = ["LoadingLaneArray"]

# Of A (accumulator), B (operand) and C (add): C = 1 adds them, C = 0 leaves the operand alone.
_CARRY_LUT = 0x006C


class LoadingLaneArray(wiring.Component):
    """``pixels * channels`` accumulators, each gated by its pixel's activation bit.

    The array of the event-driven walk. In every cycle, accumulator ``(pixel, channel)`` becomes
    ``acc + operand[channel]`` if ``en[pixel]`` and ``add[pixel]`` are set, and ``operand[channel]``
    if ``en[pixel]`` is set alone: a tile's start value takes the place of the sums of the tile
    before in one cycle. On ECP5 the choice fits the LUT in front of the carry, if it is built by
    hand. Latency: one cycle. There is no saturation: the compiler proves that no sum leaves
    ``acc_bits``. The accumulators have no reset: a start value must come first.

    With several streams, each has an equal part of the pixels, in order, and operands of its own.

    Parameters
    ----------
    pixels, channels, acc_bits : int
    streams : int
        Divides ``pixels``.
    family : "ecp5" or None
        Build the lanes from this family's carry cells, or as an expression.
    own_bits : bool
        Whether each lane has an enable of its own, for depthwise layers.

    Members
    -------
    en : one bit per pixel, or one per lane: its accumulators change
    add : one bit per pixel: they keep what they hold, and add
    operand : ``signed(acc_bits)`` per channel of each stream, ``stream * channels + channel``
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    """

    def __init__(self, *, pixels: int, channels: int, acc_bits: int, streams: int = 1,
                 family: str | None = None, own_bits: bool = False):
        check_family(family)
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        self._streams, self._family, self._own_bits = streams, family, own_bits
        super().__init__({
            "en": In(pixels * channels if own_bits else pixels),
            "add": In(pixels),
            "operand": In(signed(acc_bits)).array(streams * channels),
            "acc": Out(signed(acc_bits)).array(pixels * channels),
        })

    def elaborate(self, platform):
        m = Module()
        for pixel in range(self._pixels):
            add = self.add[pixel]
            stream = pixel * self._streams // self._pixels
            for channel in range(self._channels):
                operand = self.operand[stream * self._channels + channel]
                acc = Signal(signed(self._acc_bits), name=f"acc_{pixel}_{channel}",
                             reset_less=True)
                after = Signal.like(acc, name=f"after_{pixel}_{channel}")
                if self._family == "ecp5":
                    every = [add] * self._acc_bits
                    m.d.comb += after.eq(carry_chain(
                        m, f"{pixel}_{channel}", _CARRY_LUT, list(acc), list(operand), every,
                        [C(0, 1)] * self._acc_bits))
                else:
                    m.d.comb += after.eq(Mux(add, acc, 0) + operand)
                with m.If(self.en[pixel * self._channels + channel if self._own_bits else
                                  pixel]):
                    m.d.sync += acc.eq(after)
                m.d.comb += self.acc[pixel * self._channels + channel].eq(acc)
        return m
