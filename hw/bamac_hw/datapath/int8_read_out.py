"""From int8 lanes' sums to 8-bit activations."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import LANE_STAGE
from ..traits import VALUE_BITS
from .int8_lane_array import lane_latency

__all__ = ["Int8ReadOut", "multiplier_of", "read_out_wait", "sums_wait"]

_BEHIND = 4  # cycles that the collector takes longer than the write-back


def multiplier_of(geometry):
    """The multiplier of the geometry's int8 lanes."""
    return "dsp" if geometry.lane == "int8_dsp" else "shift-add"


def sums_wait(geometry):
    """Cycles from a walk's last step until all sums of the tile are there."""
    return LANE_STAGE - 1 + lane_latency(multiplier_of(geometry))


def read_out_wait(geometry, *, one_by_one, last):
    """Cycles in which the walk stands still behind the end of a tile.

    The next tile's first step clears the sums when they have been read. Behind the last tile of a
    pass, the start values change, or another job begins: until the vector memory or line buffer is
    written.
    """
    cycles = Int8ReadOut.cycles(geometry, one_by_one=one_by_one)
    return cycles + (lane_latency(multiplier_of(geometry)) + _BEHIND if last else -2)


class Int8ReadOut(wiring.Component):
    """Reads out the sums of a tile: ``clamp((acc + start) >> shift, 0, 255)``.

    A word of the line buffers is read in each cycle: ``word_channels`` channels of all pixels. For
    the collector, which takes one channel at a time, a word stays as many cycles. The rounding
    constant is part of the start value. The lanes must hold their sums, and the start values must
    stay, for ``cycles`` from the cycle behind ``start`` on.

    Latency: what is read in a cycle is at ``values`` three cycles later, with ``valid``.

    Members
    -------
    start : a tile is complete in the next cycle; not before the tile before it has been read
    last : with ``start``: the tile is the last of its pass
    one_by_one : the layer's channels are read one by one
    shift : of the layer
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    bias : ``signed(acc_bits)`` per channel, the start values
    choose, chosen : read this channel, whatever the tile's turn is; without ``valid``
    sums : of pixel 0, ``acc + start`` for each channel of the word, one cycle after it is chosen
    valid, channel, end, end_of_pass : a word is at ``values``; its first channel (one by one: the
        channel whose turn it is); it is the tile's last; and the pass's
    values : 8 bits per pixel and channel of the word, ``pixel * word_channels + channel``
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "start": In(1),
            "last": In(1),
            "one_by_one": In(1),
            "shift": In(4),
            "acc": In(signed(g.acc_bits)).array(g.lanes),
            "bias": In(signed(g.acc_bits)).array(g.channels),
            "choose": In(1),
            "chosen": In(range(g.channels)),
            "sums": Out(signed(g.acc_bits + 1)).array(g.word_channels),
            "valid": Out(1),
            "channel": Out(range(g.channels)),
            "end": Out(1),
            "end_of_pass": Out(1),
            "values": Out(VALUE_BITS).array(g.pixels * g.word_channels),
        })

    @staticmethod
    def cycles(geometry, *, one_by_one):
        """Cycles in which a tile is read."""
        return geometry.channels // (1 if one_by_one else geometry.word_channels)

    def elaborate(self, platform):
        g = self._geometry
        at_once = g.word_channels
        low = at_once.bit_length() - 1  # bits of a channel's number inside its word
        m = Module()

        reading, last = Signal(), Signal()
        channel = Signal.like(self.channel)
        end = Signal()
        m.d.comb += end.eq(channel[low:].all() & (channel[:low].all() | ~self.one_by_one))
        with m.If(self.start):
            m.d.sync += [reading.eq(1), channel.eq(0), last.eq(self.last)]
        with m.Elif(reading):
            m.d.sync += [reading.eq(~end),
                         channel.eq(channel + Mux(self.one_by_one, 1, at_once))]

        state = (reading, channel, reading & end, reading & end & last)
        outputs = (self.valid, self.channel, self.end, self.end_of_pass)
        for stage in range(2):
            following = tuple(Signal.like(output, name=f"{output.name}_{stage}")
                              for output in outputs)
            m.d.sync += [to.eq(value) for to, value in zip(following, state, strict=True)]
            state = following
        m.d.sync += [to.eq(value) for to, value in zip(outputs, state, strict=True)]

        word = Mux(self.choose, self.chosen, channel)[low:]
        words = g.channels // at_once
        for k in range(at_once):
            bias = Signal(signed(g.acc_bits), name=f"bias_{k}")
            m.d.comb += bias.eq(Array(self.bias[at_once * n + k] for n in range(words))[word])
            for pixel in range(g.pixels):
                name = f"{pixel}_{k}"
                first = pixel * g.channels + k
                choices = Array(self.acc[first + at_once * n] for n in range(words))
                biased = Signal(signed(g.acc_bits + 1), name=f"biased_{name}")
                shifted = Signal(VALUE_BITS, name=f"shifted_{name}")
                over, negative = Signal(name=f"over_{name}"), Signal(name=f"negative_{name}")
                kept, lost = _shifted(biased[:-1], self.shift)
                m.d.sync += [
                    biased.eq(choices[word] + bias),
                    shifted.eq(kept), over.eq(lost), negative.eq(biased[-1]),
                    self.values[pixel * at_once + k].eq(
                        Mux(negative, 0, shifted | over.replicate(VALUE_BITS))),
                ]
                if pixel == 0:
                    m.d.comb += self.sums[k].eq(biased)
        return m


def _shifted(value, shift):
    """The low bits of ``value >> shift``, and whether there are ones above them.

    The largest steps come first: behind each, fewer bits are left that can still become low ones.
    """
    width = VALUE_BITS + (1 << len(shift)) - 1  # what can be reached at all
    lost = value[width:].any()
    kept = (value | C(0, width))[:width]
    for bit in reversed(range(len(shift))):
        step = 1 << bit
        left = len(kept) - step
        lost = lost | (~shift[bit] & kept[left:].any())
        kept = Mux(shift[bit], kept[step:], kept[:left])
    return kept, lost
