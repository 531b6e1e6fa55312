"""The serial end of the accelerator with int8 lanes: global pools, hidden vectors, and scores."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..abi.descriptors import Emit, layer_layout
from ..control.work import CollectSignature
from ..geometry import Geometry
from ..traits import VALUE_BITS
from .head import collector_outputs
from .results import HeadReadSignature
from .tiles import PooledWordSignature

__all__ = ["Int8Collector"]


class Int8Collector(wiring.Component):
    """Handles one channel at a time.

    *Vector* (``pooled.load``): adds a channel's values in the tile to its sum in the vector memory,
    or takes the maximum. The last tile of a clip leaves ``min(sum >> pool_shift, 255)``. A hidden
    dense layer is a tile of one pixel under a global maximum. One channel per cycle; its word is
    written five cycles later.

    *Scores* (``collect.start``): has the sums of pixel 0 read out one by one, and sends them. Takes
    ``SCORE_CYCLES`` per score, and waits while one is not taken.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        Built alike for every family.

    Members
    -------
    layer : the running layer's descriptor
    collect : ``In(CollectSignature)``, from the walker; ``busy`` while scores are sent
    pooled : ``In(PooledWordSignature)``, from the write-back
    head : ``In(HeadReadSignature)``, from the datapath
    read, write, scores, stalled, record : see :func:`~bamac_hw.output.head.collector_outputs`
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(g)),
            "collect": In(CollectSignature(g)),
            "pooled": In(PooledWordSignature(g)),
            "head": In(HeadReadSignature(g)),
        } | collector_outputs(geometry))

    def elaborate(self, platform):
        g, layer = self._geometry, self.layer
        m = Module()
        vector, scores = self._gather(m), self._send_scores(m)
        # The last word is written when the next job's descriptor is already there.
        is_dense = Signal()
        m.d.sync += is_dense.eq(layer.emit == Emit.UNSIGNED)
        m.d.comb += [
            self.collect.busy.eq(scores.busy),
            self.read.en.eq(vector.loading[1] & ~vector.fresh[1]),
            self.read.addr.eq(layer.out_base + vector.numbers[1]),
            self.write.en.eq(vector.loading[5]),
            self.write.addr.eq(layer.out_base + vector.numbers[5]),
            self.record.valid.eq(scores.sent | (vector.loading[5] & is_dense)),
            self.record.index.eq(Mux(is_dense, vector.numbers[5],
                                     scores.passes * g.channels + scores.channel)),
            self.record.value.eq(Mux(is_dense, self.write.data, scores.score)),
        ]
        return m

    def _gather(self, m):
        """Vector: pick and read; join the banks; register the old word; join both; shift and write.
        """
        g, layer, tile = self._geometry, self.layer, self.pooled
        low = g.word_channels.bit_length() - 1
        stages = 5
        loading = [tile.load] + [Signal(name=f"loading_{n}") for n in range(1, stages + 1)]
        fresh = [tile.first] + [Signal(name=f"fresh_{n}") for n in range(1, 3)]
        final = [tile.final] + [Signal(name=f"final_{n}") for n in range(1, stages)]
        number = Signal(16)
        m.d.comb += number.eq(tile.pass_ * g.channels + tile.index)
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
            word = tile.data[bank].word_select(tile.index[:low], VALUE_BITS)
            m.d.sync += value.eq(Mux(tile.mask[bank], word, 0))
        parts = list(picked)
        while len(parts) > 1:
            parts = [join(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        m.d.sync += [joined.eq(parts[0]), waiting.eq(joined),
                     old.eq(Mux(fresh[2], 0, self.read.data)), total.eq(join(old, waiting))]
        shifted = Signal(g.vector_bits)
        m.d.comb += shifted.eq(total >> Mux(adds & final[4], layer.pool_shift, 0))
        over = final[4] & shifted[VALUE_BITS:].any()
        m.d.sync += self.write.data.eq(Mux(over, (1 << VALUE_BITS) - 1, shifted))
        return SimpleNamespace(loading=loading, fresh=fresh, numbers=numbers)

    def _send_scores(self, m):
        """Scores: the sum is chosen; registered; offered."""
        g, layer, head = self._geometry, self.layer, self.head
        low = g.word_channels.bit_length() - 1
        channel = Signal.like(head.chosen, name="channel")
        passes = Signal(8)
        last = Signal()
        last_pass = Signal()
        score = Signal(signed(g.acc_bits + 1))
        sent, busy = Signal(), Signal()
        m.d.comb += [
            head.chosen.eq(channel), last_pass.eq(passes == layer.passes_last),
            last.eq(channel == Mux(last_pass, layer.end_channels_last, layer.pass_channels_last)),
            self.scores.payload.value.eq(score), self.scores.payload.last.eq(last & last_pass),
            self.stalled.eq(self.scores.valid & ~self.scores.ready),
            sent.eq(self.scores.valid & self.scores.ready),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += channel.eq(0)
                with m.If(self.collect.start):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += score.eq(Array(head.sums)[channel[:low]])
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.scores.valid.eq(1)
                with m.If(self.scores.ready):
                    m.d.sync += channel.eq(channel + 1)
                    m.next = "CHOOSE"
                    with m.If(last):
                        m.d.sync += passes.eq(Mux(last_pass, 0, passes + 1))
                        m.next = "IDLE"
        m.d.comb += busy.eq(~fsm.ongoing("IDLE"))
        return SimpleNamespace(busy=busy, sent=sent, passes=passes, channel=channel, score=score)
