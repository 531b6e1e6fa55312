"""From int8 lanes' sums to 8-bit activations."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..output.results import HeadReadSignature, WordsSignature
from ..traits import VALUE_BITS

__all__ = ["Int8ReadOut"]


class Int8ReadOut(wiring.Component):
    """Reads out the sums of a tile: ``clamp((acc + start) >> shift, 0, 255)``.

    A word of the line buffers is read in each cycle: ``word_channels`` channels of all pixels. For
    the collector, which takes one channel at a time, a word stays as many cycles. The rounding
    constant is part of the start value. The lanes must hold their sums, and the start values must
    stay, for ``cycles`` from the cycle behind ``start`` on.

    Latency: what is read in a cycle is at ``words.values`` three cycles later, with ``valid``.

    Members
    -------
    start : a tile is complete in the next cycle; not before the tile before it has been read
    last : with ``start``: the tile is the last of its pass
    one_by_one : the layer's channels are read one by one
    shift : of the layer
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    bias : ``signed(acc_bits)`` per channel, the start values
    choose : read the channel ``head.chosen``, whatever the tile's turn is; without ``words.valid``
    words : ``Out(WordsSignature)``
    head : ``Out(HeadReadSignature)``
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
            "words": Out(WordsSignature(g)),
            "head": Out(HeadReadSignature(g)),
        })

    @staticmethod
    def cycles(geometry: Geometry, *, one_by_one: bool) -> int:
        """Cycles in which a tile is read."""
        return geometry.traits.read_out_cycles(geometry, one_by_one=one_by_one)

    def elaborate(self, platform):
        g = self._geometry
        at_once = g.word_channels
        low = at_once.bit_length() - 1  # bits of a channel's number inside its word
        m = Module()

        reading, last = Signal(), Signal()
        channel = Signal.like(self.words.channel)
        end = Signal()
        m.d.comb += end.eq(channel[low:].all() & (channel[:low].all() | ~self.one_by_one))
        with m.If(self.start):
            m.d.sync += [reading.eq(1), channel.eq(0), last.eq(self.last)]
        with m.Elif(reading):
            m.d.sync += [reading.eq(~end),
                         channel.eq(channel + Mux(self.one_by_one, 1, at_once))]

        state = (reading, channel, reading & end, reading & end & last)
        outputs = (self.words.valid, self.words.channel, self.words.end, self.words.end_of_pass)
        for stage in range(2):
            following = tuple(Signal.like(output, name=f"{output.name}_{stage}")
                              for output in outputs)
            m.d.sync += [to.eq(value) for to, value in zip(following, state, strict=True)]
            state = following
        m.d.sync += [to.eq(value) for to, value in zip(outputs, state, strict=True)]

        word = Mux(self.choose, self.head.chosen, channel)[low:]
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
                    self.words.values[pixel * at_once + k].eq(
                        Mux(negative, 0, shifted | over.replicate(VALUE_BITS))),
                ]
                if pixel == 0:
                    m.d.comb += self.head.sums[k].eq(biased)
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
