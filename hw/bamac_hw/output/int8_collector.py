"""The serial end of the accelerator with int8 lanes: global pools, hidden vectors, and scores."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Emit, layer_layout
from ..geometry import Geometry
from ..traits import VALUE_BITS
from .collector import collector_outputs

__all__ = ["Int8Collector"]



class Int8Collector(wiring.Component):
    """Handles one channel at a time.

    *Vector* (``load``): adds a channel's values in the tile to its sum in the vector memory, or
    takes the maximum. The last tile of a clip leaves ``min(sum >> pool_shift, 255)``. A hidden
    dense layer is a tile of one pixel under a global maximum. One channel per cycle; its word is
    written five cycles later.

    *Scores* (``start``): has the sums of pixel 0 read out one by one, and sends them. Takes
    ``SCORE_CYCLES`` per score, and waits while one is not taken.

    Members
    -------
    layer : the running layer's descriptor
    load : a channel's values are at ``data``
    first, final : it is of the clip's first tile; of its last one
    mask, data, index, pass_ : banks that count, their words, and which channel of which pass it is
    start : send a pass's scores
    chosen : channel whose sum is wanted
    sums : of the channels of its word, one cycle later
    busy : scores are being sent
    stalled : waiting for a score to be taken
    read_en, read_addr, read_data, write_en, write_addr, write_data : vector memory
    scores : raw scores with ``last`` at the end of a clip
    word_valid, word_index, word_value : each dense output, as it leaves
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "load": In(1),
            "first": In(1),
            "final": In(1),
            "mask": In(g.pixels),
            "data": In(g.channels).array(g.pixels),
            "index": In(range(g.channels)),
            "pass_": In(8),
            "start": In(1),
            "chosen": Out(range(g.channels)),
            "sums": In(signed(g.acc_bits + 1)).array(g.word_channels),
            "busy": Out(1),
            "stalled": Out(1),
        } | collector_outputs(geometry))

    def elaborate(self, platform):
        g = self._geometry
        layer = self.layer
        at_once = g.word_channels
        low = at_once.bit_length() - 1
        m = Module()

        # Vector: pick and read; join the banks; register the old word; join both; shift and write.
        stages = 5
        loading = [self.load] + [Signal(name=f"loading_{n}") for n in range(1, stages + 1)]
        fresh = [self.first] + [Signal(name=f"fresh_{n}") for n in range(1, 3)]
        final = [self.final] + [Signal(name=f"final_{n}") for n in range(1, stages)]
        number = Signal(16)
        m.d.comb += number.eq(self.pass_ * g.channels + self.index)
        numbers = [number] + [Signal(16, name=f"number_{n}") for n in range(1, stages + 1)]
        for line in (loading, fresh, final, numbers):
            m.d.sync += [to.eq(value) for value, to in zip(line, line[1:], strict=False)]

        adds = layer.emit == Emit.GLOBAL_SUM

        def join(a, b):
            return Mux(adds, a + b, Mux(a > b, a, b))

        picked = [Signal(VALUE_BITS, name=f"picked_{bank}") for bank in range(g.pixels)]
        joined, waiting = (Signal(VALUE_BITS + 4, name=name) for name in ("joined", "waiting"))
        old, total = (Signal(g.vector_bits, name=name) for name in ("old", "total"))
        for bank, value in enumerate(picked):
            word = self.data[bank].word_select(self.index[:low], VALUE_BITS)
            m.d.sync += value.eq(Mux(self.mask[bank], word, 0))
        parts = list(picked)
        while len(parts) > 1:
            parts = [join(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        m.d.sync += [joined.eq(parts[0]), waiting.eq(joined),
                     old.eq(Mux(fresh[2], 0, self.read_data)), total.eq(join(old, waiting))]
        shifted = Signal(g.vector_bits)
        m.d.comb += shifted.eq(total >> Mux(adds & final[4], layer.pool_shift, 0))
        over = final[4] & shifted[VALUE_BITS:].any()
        m.d.sync += self.write_data.eq(Mux(over, (1 << VALUE_BITS) - 1, shifted))

        # Scores: the sum is chosen; registered; offered.
        channel = Signal.like(self.chosen)
        passes = Signal(8)
        last = Signal()
        last_pass = Signal()
        score = Signal(signed(g.acc_bits + 1))
        sent = Signal()
        m.d.comb += [
            self.chosen.eq(channel), last_pass.eq(passes == layer.passes_last),
            last.eq(channel == Mux(last_pass, layer.end_channels_last, layer.pass_channels_last)),
            self.scores.payload.value.eq(score), self.scores.payload.last.eq(last & last_pass),
            self.stalled.eq(self.scores.valid & ~self.scores.ready),
            sent.eq(self.scores.valid & self.scores.ready),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += channel.eq(0)
                with m.If(self.start):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += score.eq(Array(self.sums)[channel[:low]])
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.scores.valid.eq(1)
                with m.If(self.scores.ready):
                    m.d.sync += channel.eq(channel + 1)
                    m.next = "CHOOSE"
                    with m.If(last):
                        m.d.sync += passes.eq(Mux(last_pass, 0, passes + 1))
                        m.next = "IDLE"

        # The last word is written when the next job's descriptor is already there.
        is_dense = Signal()
        m.d.sync += is_dense.eq(layer.emit == Emit.UNSIGNED)
        m.d.comb += [
            self.busy.eq(~fsm.ongoing("IDLE")),
            self.read_en.eq(loading[1] & ~fresh[1]),
            self.read_addr.eq(layer.out_base + numbers[1]),
            self.write_en.eq(loading[5]), self.write_addr.eq(layer.out_base + numbers[5]),
            self.word_valid.eq(sent | (loading[5] & is_dense)),
            self.word_index.eq(Mux(is_dense, numbers[5], passes * g.channels + channel)),
            self.word_value.eq(Mux(is_dense, self.write_data, score)),
        ]
        return m
