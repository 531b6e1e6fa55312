"""The serial end of the accelerator: global pooling, and the outputs of dense layers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import Emit, layer_layout

__all__ = ["Collector"]


class Collector(wiring.Component):
    """Handles one channel per cycle, so that it needs one adder and one shifter for all lanes.

    *Global pool* (``load``): adds each channel's ones in the tile to its count in the vector
    memory, or ORs them into its bit. Takes one cycle per channel and one more.

    *Dense* (``start``): reads the accumulators of pixel 0 one by one, requantises
    (``clamp(acc >> shift, 0, 2**bits - 1)``, the sign's complement, or the raw sum) and writes
    the vector memory or the score stream. Takes one cycle per output and two more, and waits
    while a score is not taken.

    Members
    -------
    layer : the running layer's descriptor
    reserve : a global-pool tile enters the pipeline: ``busy`` from the next cycle on
    load, first, mask, data, pass_ : its pooled bits, ``data`` until the collector is no longer
        busy; ``first`` starts a new clip
    start, pass_dense : read out a dense layer's pass
    acc : accumulators of pixel 0
    busy : not ready for another
    stalled : waiting for a score to be taken
    read_en, read_addr, read_data, write_en, write_addr, write_data : vector memory
    scores : raw scores with ``last`` at the end of a clip
    word_valid, word_index, word_value : each dense output, as it leaves
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout()),
            "reserve": In(1),
            "load": In(1),
            "first": In(1),
            "mask": In(g.pixels),
            "data": In(g.channels).array(g.pixels),
            "pass_": In(8),
            "start": In(1),
            "acc": In(signed(g.acc_bits)).array(g.channels),
            "busy": Out(1),
            "stalled": Out(1),
            "read_en": Out(1),
            "read_addr": Out(16),
            "read_data": In(g.VECTOR_BITS),
            "write_en": Out(1),
            "write_addr": Out(16),
            "write_data": Out(g.VECTOR_BITS),
            "scores": Out(stream.Signature(_score_layout())),
            "word_valid": Out(1),
            "word_index": Out(16),
            "word_value": Out(32),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer = self.layer
        m = Module()

        # Which pass of a dense layer this is; a global pool's comes with its tile.
        dense_pass = Signal(8)
        index = Signal(range(g.channels))
        channels_last = Signal(6)

        def last_of(passes):
            return Mux(passes == layer.passes_last, layer.end_channels_last,
                       layer.pass_channels_last)

        counting = Signal()
        reading = Signal()
        busy = Signal()
        m.d.comb += self.busy.eq(busy)
        with m.If(self.reserve | self.start):
            m.d.sync += busy.eq(1)

        # Global pool: read, then add and write.
        mask = Signal(g.pixels)
        fresh = Signal()
        address = Signal(16)
        add = Signal()
        add_last = Signal()
        add_addr = Signal(16)
        ones = Signal(range(g.pixels + 1))
        with m.If(self.load):
            m.d.sync += [
                counting.eq(1), index.eq(0), channels_last.eq(last_of(self.pass_)),
                address.eq(layer.out_base + self.pass_ * g.channels),
                mask.eq(self.mask), fresh.eq(self.first),
            ]
        m.d.comb += [self.read_en.eq(counting & ~fresh), self.read_addr.eq(address)]
        m.d.sync += [add.eq(counting), add_last.eq(index == channels_last), add_addr.eq(address)]
        with m.If(counting):
            m.d.sync += [
                index.eq(index + 1), address.eq(address + 1),
                ones.eq(_count([self.data[q].bit_select(index, 1) & mask[q]
                                for q in range(g.pixels)])),
            ]
            with m.If(index == channels_last):
                m.d.sync += counting.eq(0)
        old = Signal(g.VECTOR_BITS)
        m.d.comb += old.eq(Mux(fresh, 0, self.read_data))

        # Dense: select, requantise, emit.
        advance = Signal()
        selected = Signal(signed(g.acc_bits))
        selected_valid = Signal()
        selected_last = Signal()
        result = Signal(32)
        result_valid = Signal()
        result_last = Signal()
        result_addr = Signal(16)
        result_index = Signal(16)
        raw = Signal()
        m.d.comb += [
            raw.eq(layer.emit == Emit.RAW),
            self.stalled.eq(result_valid & raw & ~self.scores.ready),
            advance.eq(~self.stalled),
        ]
        with m.If(self.start):
            m.d.sync += [reading.eq(1), index.eq(0), channels_last.eq(last_of(dense_pass))]
        with m.If(advance):
            m.d.sync += [
                selected_valid.eq(reading),
                selected.eq(Array(self.acc)[index]),
                selected_last.eq(index == channels_last),
                result_valid.eq(selected_valid),
                result_last.eq(selected_last),
                result.eq(_requantise(m, layer, selected)),
            ]
            with m.If(reading):
                m.d.sync += index.eq(index + 1)
                with m.If(index == channels_last):
                    m.d.sync += reading.eq(0)
            with m.If(result_valid):
                m.d.sync += result_index.eq(result_index + 1)
                with m.If(result_last):
                    m.d.sync += [busy.eq(0), dense_pass.eq(dense_pass + 1)]
                    with m.If(dense_pass == layer.passes_last):
                        m.d.sync += [dense_pass.eq(0), result_index.eq(0)]
        m.d.comb += [
            result_addr.eq(layer.out_base + result_index),
            self.scores.valid.eq(result_valid & raw),
            self.scores.payload.value.eq(result),
            self.scores.payload.last.eq(result_last & (dense_pass == layer.passes_last)),
            self.word_valid.eq(result_valid & advance),
            self.word_index.eq(result_index),
            self.word_value.eq(result),
        ]

        with m.If(add):
            m.d.comb += [
                self.write_en.eq(1),
                self.write_addr.eq(add_addr),
                self.write_data.eq(Mux(layer.emit == Emit.GLOBAL_SUM, old + ones,
                                       old | ones.any())),
            ]
            with m.If(add_last):
                m.d.sync += busy.eq(0)
        with m.Else():
            m.d.comb += [
                self.write_en.eq(result_valid & ~raw),
                self.write_addr.eq(result_addr),
                self.write_data.eq(result),
            ]
        return m


def _score_layout():
    return data.StructLayout({"value": signed(32), "last": 1})


def _count(terms):
    """Number of ones, as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[k + 1:k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]


def _requantise(m, layer, acc):
    """What a dense layer emits for an accumulator, 32 bits.

    A raw sum and a bit have ``shift`` 0 in their descriptors, and a bit has ``bits`` 1, so all
    three are the shifted accumulator, or zero, or all ones up to ``bits``.
    """
    shifted = Signal(signed(len(acc)))
    limit = Signal(len(acc) - 1)
    over = Signal()
    pass_on = Signal()
    fill = Signal()
    m.d.comb += [
        shifted.eq(acc >> layer.shift),
        limit.eq((1 << layer.bits) - 1),
        over.eq((shifted[:-1] & ~limit).any()),
    ]
    with m.Switch(layer.emit):
        with m.Case(Emit.RAW):
            m.d.comb += pass_on.eq(1)
        with m.Case(Emit.BIT):
            m.d.comb += fill.eq(acc >= 0)
        with m.Default():
            m.d.comb += [pass_on.eq((acc >= 0) & ~over), fill.eq((acc >= 0) & over)]
    return Mux(pass_on, shifted, 0) | Mux(fill, limit, 0)
