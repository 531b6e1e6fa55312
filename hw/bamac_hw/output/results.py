"""What leaves a datapath: sums whose signs are the outputs, or requantised words of int8 maps.

Each has a signature for the results of a tile, which go to the write-back, and one for the sums
that the collector reads of the head's dense layers.
"""

from amaranth import *
from amaranth.lib.wiring import In, Out

from ..lib.signature import SizedSignature
from ..traits import VALUE_BITS

__all__ = ["HeadReadSignature", "HeadSumsSignature", "SumsSignature", "WordsSignature"]


class SumsSignature(SizedSignature):
    """The sums of a tile, all in one cycle (stage 6), as the datapath sees them.

    Members
    -------
    capture : a tile's sums are complete in this cycle
    last : with ``capture``: the tile is the last of its pass
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``, start value included
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        return {"capture": Out(1), "last": Out(1),
                "acc": Out(signed(g.acc_bits)).array(g.lanes)}


class HeadSumsSignature(SizedSignature):
    """The sums of a dense layer's pass, as the datapath sees them.

    Members
    -------
    acc : ``signed(acc_bits)`` per channel, of pixel 0; complete ``LANE_STAGE`` cycles after the
        pass's last step
    """

    @classmethod
    def sizes(cls, geometry):
        return {"acc": Out(signed(geometry.acc_bits)).array(geometry.channels)}


class WordsSignature(SizedSignature):
    """A tile's 8-bit values, word by word, as the datapath sees them.

    Members
    -------
    valid : a word is at ``values``
    channel : its first channel; if the layer is read one by one, the channel whose turn it is
    end, end_of_pass : with ``valid``: it is the tile's last word; and the tile its pass's last
    values : 8 bits per pixel and channel of the word, ``pixel * word_channels + channel``
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        return {"valid": Out(1), "channel": Out(range(g.channels)), "end": Out(1),
                "end_of_pass": Out(1),
                "values": Out(VALUE_BITS).array(g.pixels * g.word_channels)}


class HeadReadSignature(SizedSignature):
    """The sums of a dense layer's pass, read word by word, as the datapath sees them.

    Members
    -------
    chosen : channel whose sum is wanted, in a layer that emits scores
    sums : of pixel 0, for each channel of the chosen one's word, one cycle later
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        return {"chosen": In(range(g.channels)),
                "sums": Out(signed(g.acc_bits + 1)).array(g.word_channels)}
