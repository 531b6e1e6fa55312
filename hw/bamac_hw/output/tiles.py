"""What a write-back tells of a tile: to the collector, and to a trace."""

from amaranth.lib.wiring import Out

from ..lib.signature import SizedSignature
from ..traits import VALUE_BITS

__all__ = ["PooledTileSignature", "PooledWordSignature", "SumRecordSignature",
           "TileRecordSignature", "WordRecordSignature"]


class PooledTileSignature(SizedSignature):
    """The pooled bits of a tile of a globally pooled layer, as the write-back sees them.

    Members
    -------
    load : a tile is at the members below
    first : it is the first tile of its pass in a clip
    mask, data : banks that count, and a word of bits for each; ``data`` stays for as long as the
        collector is busy
    pass_ : number of the tile's pass
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        return {"load": Out(1), "first": Out(1), "mask": Out(g.pixels),
                "data": Out(g.channels).array(g.pixels), "pass_": Out(8)}


class PooledWordSignature(PooledTileSignature):
    """A channel's values in a tile, of int8 maps, as the write-back sees them.

    Members
    -------
    load : a channel is at the members below
    first, final : its tile is the first of its pass in a clip; the last one
    mask, data : banks that count, and a word of values for each
    pass_, index : number of the tile's pass, and of the channel in the pass
    """

    @classmethod
    def sizes(cls, geometry):
        return {**super().sizes(geometry), "final": Out(1), "index": Out(range(geometry.channels))}


class TileRecordSignature(SizedSignature):
    """The outputs of a tile before pooling, for traces, as the write-back sees them.

    Members
    -------
    valid : a record is at the members below
    tile, pass_ : number of the tile in its job and pass; of the pass
    bits : an output bit per lane
    """

    @classmethod
    def sizes(cls, geometry):
        return {"valid": Out(1), "tile": Out(16), "pass_": Out(8), "bits": Out(geometry.lanes)}


class SumRecordSignature(TileRecordSignature):
    """The same with the accumulators.

    Members
    -------
    valid, tile, pass_, bits : as of :class:`TileRecordSignature`
    acc : ``acc_bits`` bits per lane, start value included
    """

    @classmethod
    def sizes(cls, geometry):
        return {**super().sizes(geometry), "acc": Out(geometry.lanes * geometry.acc_bits)}


class WordRecordSignature(TileRecordSignature):
    """The values of a word of a tile of int8 maps, before pooling.

    Members
    -------
    valid, tile, pass_ : as of :class:`TileRecordSignature`
    bits : 8 bits for each pixel and channel of the word
    group : number of the word in its pass
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        words = g.channels // g.word_channels
        return {**super().sizes(g), "bits": Out(VALUE_BITS * g.pixels * g.word_channels),
                "group": Out(range(words))}
