"""What a walker asks of the window fetch, and what comes back."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ..lib.signature import SizedSignature
from ..pipeline import Step

__all__ = ["BitFetchSignature", "WordFetchSignature", "register_places", "strides", "window_layout"]


def window_layout(geometry) -> data.StructLayout:
    """Where the pixels of a tile see their input for one kernel tap.

    A window is as large as a tile, so each of its pixels lies in another bank. With stride 2, a
    tile needs up to four windows (phases) for each tap.

    ``slot_low`` and ``slot_high`` are the addresses of the ring slots of the window's first row
    and of the rows behind the next multiple of ``tile_rows``; ``group_low`` and ``group_high``
    the same for columns. ``row_low`` and ``col_low`` are the window's first row and column modulo
    the tile; ``rows_in`` and ``cols_in`` say which of its rows and columns lie in the map, the
    others are padding.
    """
    g = geometry
    return data.StructLayout({
        "slot_low": g.address_bits, "slot_high": g.address_bits,
        "group_low": g.address_bits, "group_high": g.address_bits,
        "row_low": 2, "col_low": 2, "rows_in": g.tile_rows, "cols_in": g.tile_cols,
        "phase_row": 1, "phase_col": 1,
    })


def strides(layer, geometry) -> tuple:
    """Whether the layer's stride is 2, along the rows and along the columns."""
    return layer.stride2, layer.stride2_cols if geometry.axis_strides else layer.stride2


def register_places(low, size: int, stride2) -> list:
    """For each pixel of a tile along an axis of ``size`` banks: the index of its word's register.

    ``low`` is the window's first row or column modulo ``size``, see :func:`window_layout`.
    """
    bits = (size - 1).bit_length()
    if not bits:
        return [C(0, 0)]
    result = []
    for k in range(size):
        phase, second = 2 * k // size, 2 * k % size // 2
        strided = Cat(C(phase, 1), ((low >> 1) + second)[:bits - 1])
        result.append(Mux(stride2, strided, (low + k)[:bits]))
    return result


class BitFetchSignature(SizedSignature):
    """Windows whose words are shifted out bit by bit, as the walker sees them.

    Members
    -------
    window : the place that is fetched, in each cycle whose step has ``load``
    step : the walk's step (stage 0); ``load``, ``shift`` and ``plane`` matter here
    bits : ``step_bits`` activation bits per pixel, ``WORD_STAGE`` cycles after the step
    own : with the geometry's ``depthwise``, a pixel's bits of all channels, in the same cycle
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        own = {"own": In(g.channels).array(g.pixels)} if g.depthwise else {}
        return {"window": Out(window_layout(g)), "step": Out(Step),
                "bits": In(g.pixels * g.step_bits)} | own


class WordFetchSignature(SizedSignature):
    """Windows whose words are handed over whole, as the walker sees them.

    Members
    -------
    window, load : the place that is fetched, in each cycle with ``load``
    words : the activation words, ``WORD_STAGE`` cycles after their last window;
        :func:`register_places` says which pixel each belongs to
    """

    @classmethod
    def sizes(cls, geometry):
        return {"window": Out(window_layout(geometry)), "load": Out(1),
                "words": In(geometry.word_bits).array(geometry.pixels)}
