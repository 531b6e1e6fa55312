"""The way of a frame from the stream into the input buffer."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import AHEAD_BITS, header_layout
from ..geometry import Geometry
from ..lib.signature import SizedSignature
from .ports import BankedWriteSignature

__all__ = ["FrameControlSignature", "FrameWriter", "frame_beat_layout"]


class FrameControlSignature(SizedSignature):
    """How frames and jobs of the first layer keep pace, as the scheduler sees it.

    Members
    -------
    header : the program's header
    enable : accept values; when low, what has arrived of a clip is forgotten
    release, released : the first layer has finished with this many rows
    finish : the first layer has finished with the clip
    missing : rows of the current clip that the first layer needs and that are not complete
        (negative: there are more)
    idle : the first layer has finished with the clip, whose remaining rows it does not use
    """

    @classmethod
    def sizes(cls, geometry):
        return {"header": Out(header_layout(geometry)), "enable": Out(1), "release": Out(1),
                "released": Out(4), "finish": Out(1), "missing": In(signed(AHEAD_BITS)),
                "idle": In(1)}


def frame_beat_layout() -> data.StructLayout:
    """One value of a frame; ``last`` marks the frame's last value."""
    return data.StructLayout({"value": 8, "last": 1})


class FrameWriter(wiring.Component):
    """Writes frames into the ring of the input buffer while there is room.

    Values are stored as ``value + offset``, so that a signed input becomes unsigned and its sign
    plane needs no subtraction; the compiler takes ``offset * sum(weights)`` out of the start value,
    and padding reads as ``offset``. A datapath whose traits say ``stores_signs`` gets magnitude (8
    bits) and sign (the highest bit) instead: values near zero have few ones. With the geometry's
    ``zero_points`` these are of the value less the input's zero point.

    Values fill a row's words bank by bank, in the order in which they come. A row of several
    channels has a word for each of them, so their order is that of
    :func:`bamac_hw.abi.frames.stream_rows`. With the geometry's ``interleaved``, the channels of a
    column follow each other instead, and go to the words of its column in one bank.

    One value per cycle. A row begins when a ring row is free (*credit*): ``credit`` rows at the
    start of a clip, and more as the first layer's jobs release them. Once the first layer has
    finished with a clip, the clip's remaining rows (if any) are accepted without credit.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    control : ``In(FrameControlSignature)``, from the scheduler
    i : ``In(stream.Signature(frame_beat_layout()))``, values of frames
    write : ``Out(BankedWriteSignature)``, to the input buffer, a cycle behind the value's transfer
    error_short, error_long, error_range : a frame ended early, or late; a value has too many bits
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "control": In(FrameControlSignature(geometry)),
            "i": In(stream.Signature(frame_beat_layout())),
            "write": Out(BankedWriteSignature(banks=g.pixels, width=g.input_word_bits,
                                              address_bits=g.address_bits)),
            "error_short": Out(1),
            "error_long": Out(1),
            "error_range": Out(1),
        })

    def elaborate(self, platform):
        g, control = self._geometry, self.control
        header = control.header
        m = Module()

        started = Signal()
        finished = Signal()
        rows = Signal(16)
        col = Signal.like(header.cols_last)
        slot = Signal(g.address_bits)
        row_low = Signal(2)
        group = Signal(g.address_bits)
        col_low = Signal(2)
        # Rows in the ring that are complete and not given back; meaningless once the first layer
        # has finished.
        held = Signal.like(header.credit)
        complete = Signal()
        last_col = Signal()
        m.d.comb += [
            last_col.eq(col == header.cols_last),
            control.missing.eq(header.rows_needed - rows), control.idle.eq(finished),
            self.i.ready.eq(started & ~complete & ((held != header.credit) | finished)),
        ]

        # A register on the way to the banks, which are far from each other. They are read long
        # after a row is complete.
        value = Signal(8)
        stored = Signal(g.input_word_bits)
        m.d.comb += [value.eq(self.i.payload.value + header.offset),
                     *(data.eq(stored) for data in self.write.data)]
        m.d.sync += [self.write.addr.eq(slot + group), self.write.en.eq(0)]
        if g.traits.stores_signs:
            given = self.i.payload.value
            negative = Signal()
            m.d.comb += negative.eq((header.offset != 0) & given[-1])
            magnitude = Mux(negative, -given, given)[:8]
            if g.zero_points:
                signed_given = Signal(signed(9))
                difference, reverse = Signal(signed(10)), Signal(signed(10))
                m.d.comb += [
                    signed_given.eq(Cat(given, negative)),
                    difference.eq(signed_given - header.zero_point),
                    reverse.eq(header.zero_point - signed_given),
                ]
                negative = difference[-1]
                magnitude = Mux(negative, reverse, difference)[:8]
            m.d.sync += stored.eq(Cat(magnitude, negative))
        else:
            m.d.sync += stored.eq(value)

        row_done = Signal()
        with m.If(self.i.valid & self.i.ready):
            bank = Signal(range(g.pixels))
            m.d.comb += [
                bank.eq(row_low * g.tile_cols + col_low),
                self.error_short.eq(self.i.payload.last & ~last_col),
                self.error_long.eq(last_col & ~self.i.payload.last),
                self.error_range.eq((value & header.high_mask).any()),
                row_done.eq(last_col),
            ]
            m.d.sync += [self.write.en.eq(1 << bank), col.eq(col + 1)]
            further = self._next_value(m, col_low, group)
            with m.If(last_col):
                m.d.sync += [col.eq(0), col_low.eq(0), group.eq(0), rows.eq(rows + 1),
                             complete.eq(rows == header.rows_last)]
                with m.If(row_low == g.tile_rows - 1):
                    m.d.sync += row_low.eq(0)
                    m.d.sync += slot.eq(Mux(slot == header.ring_end, header.ring_base,
                                            slot + header.pitch))
                with m.Else():
                    m.d.sync += row_low.eq(row_low + 1)
        change = Signal(signed(5))
        m.d.comb += change.eq(row_done - Mux(control.release, control.released, 0))
        m.d.sync += held.eq(held + change)

        with m.If(control.finish):
            m.d.sync += finished.eq(1)
        with m.If(~started | (finished & complete)):
            m.d.sync += [
                started.eq(control.enable), finished.eq(0), rows.eq(0), col.eq(0), group.eq(0),
                col_low.eq(0), row_low.eq(0), complete.eq(0), slot.eq(header.ring_base),
                held.eq(0), *(signal.eq(0) for signal in further),
            ]
        with m.If(~control.enable):
            m.d.sync += started.eq(0)
        return m

    def _next_value(self, m, col_low, group):
        """Go on to the place of a row's next value; returns what counts it besides."""
        g = self._geometry
        last_col = col_low == g.tile_cols - 1
        if not g.interleaved:
            with m.If(last_col):
                m.d.sync += [col_low.eq(0), group.eq(group + 1)]
            with m.Else():
                m.d.sync += col_low.eq(col_low + 1)
            return []
        channels_last = self.control.header.channels_last
        channel = Signal.like(channels_last, name="channel")
        m.d.sync += [channel.eq(channel + 1), group.eq(group + 1)]
        with m.If(channel == channels_last):
            m.d.sync += [channel.eq(0), col_low.eq(Mux(last_col, 0, col_low + 1))]
            with m.If(~last_col):
                m.d.sync += group.eq(group - channels_last)
        return [channel]
