"""From int8 lanes' sums to pooled 8-bit activations."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Int8ReadOut"]


class Int8ReadOut(wiring.Component):
    """Reads out a tile: ``clamp((acc + bias) >> shift, 0, 255)``, then the tile's max pool.

    ``at_once`` channels of all pixels are handled per cycle. The rounding constant is part of the
    bias. The lanes must hold their sums for ``steps`` cycles from ``start`` on.

    Latency: the channels that are read in a cycle are at ``values`` four cycles later, with
    ``valid``; a tile takes ``steps`` cycles.

    Parameters
    ----------
    pixels, channels, acc_bits : int
    at_once : int
        Channels per cycle, a divisor of ``channels``.

    Members
    -------
    start : a tile is complete; not before the tile before it has been read
    index : the channels ``at_once * index`` and up are read in this cycle
    bias : ``signed(acc_bits)`` for each of them, in this cycle
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    shift : of the layer
    pool : the tile's maximum takes the place of pixel 0
    valid, values : 8 bits per pixel and channel, ``pixel * at_once + channel``
    """

    def __init__(self, *, pixels, channels, acc_bits, at_once):
        if at_once < 1 or channels % at_once:
            raise ValueError(f"Channels at once must divide {channels}, not {at_once!r}")
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        self._at_once = at_once
        super().__init__({
            "start": In(1),
            "index": Out(range(self.steps)),
            "bias": In(signed(acc_bits)).array(at_once),
            "acc": In(signed(acc_bits)).array(pixels * channels),
            "shift": In(5),
            "pool": In(1),
            "valid": Out(1),
            "values": Out(8).array(pixels * at_once),
        })

    @property
    def steps(self):
        """Cycles per tile."""
        return self._channels // self._at_once

    def elaborate(self, platform):
        k = self._at_once
        m = Module()

        reading = Signal()
        index = Signal.like(self.index)
        last = index == self.steps - 1
        m.d.comb += self.index.eq(index)
        with m.If(self.start):
            m.d.sync += [reading.eq(1), index.eq(0)]
        with m.Elif(reading):
            m.d.sync += [index.eq(index + 1), reading.eq(~last)]

        valid = reading
        for stage in range(1, 4):
            following = Signal(name=f"valid_{stage}")
            m.d.sync += following.eq(valid)
            valid = following
        m.d.sync += self.valid.eq(valid)

        for channel in range(k):
            clamped = []
            for pixel in range(self._pixels):
                name = f"{pixel}_{channel}"
                first = pixel * self._channels + channel
                choices = Array(self.acc[first + k * step] for step in range(self.steps))
                biased = Signal(signed(self._acc_bits + 1), name=f"biased_{name}")
                shifted = Signal.like(biased, name=f"shifted_{name}")
                value = Signal(8, name=f"clamped_{name}")
                m.d.sync += [
                    biased.eq(choices[index] + self.bias[channel]),
                    shifted.eq(biased >> self.shift),
                    value.eq(Mux(shifted[-1], 0, shifted[:8] | shifted[8:].any().replicate(8))),
                ]
                clamped.append(value)
            best = clamped
            while len(best) > 1:
                best = [Mux(a > b, a, b) for a, b in zip(best[::2], best[1::2], strict=True)]
            m.d.sync += [self.values[pixel * k + channel].eq(
                Mux(self.pool, best[0], value) if pixel == 0 else value)
                for pixel, value in enumerate(clamped)]
        return m
