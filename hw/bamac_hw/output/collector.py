"""The serial end of the accelerator: global pooling, and the outputs of dense layers."""

from functools import reduce
from operator import or_
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..abi.descriptors import Emit, layer_layout
from ..control.work import CollectSignature
from ..geometry import Geometry
from .head import collector_outputs
from .results import HeadSumsSignature
from .tiles import PooledTileSignature

__all__ = ["Collector"]


class Collector(wiring.Component):
    """Handles one channel at a time, so that it needs one adder and one shifter for all lanes.

    *Global pool* (``pooled.load``): adds each channel's ones in the tile to its count in the vector
    memory, or sets its bit. Takes one cycle per channel and three more.

    *Dense* (``collect.start``): reads the accumulators of pixel 0 one by one, requantises
    (``clamp(acc >> shift, 0, limit)``, the sign's complement, or the raw sum) and writes the vector
    memory or the score stream. Takes ``READ_OUT_CYCLES + shift`` cycles per output, and waits
    while a score is not taken: dense layers have few outputs, and a shift by one bit costs
    nothing.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"`` an accumulator is picked without registers on the way.

    Members
    -------
    layer : the running layer's descriptor
    collect : ``In(CollectSignature)``, from the walker; ``busy`` is set from the cycle behind the
        ``capture`` of a globally pooled tile on
    pooled : ``In(PooledTileSignature)``, from the write-back
    head : ``In(HeadSumsSignature)``, from the datapath
    read, write, scores, stalled, record : see :func:`~bamac_hw.output.head.collector_outputs`
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "layer": In(layer_layout(g)),
            "collect": In(CollectSignature(g)),
            "pooled": In(PooledTileSignature(g)),
            "head": In(HeadSumsSignature(g)),
        } | collector_outputs(geometry))

    def elaborate(self, platform):
        g = self._geometry
        m = Module()
        at = self._channel(m)
        pool = self._pool(m, at)
        dense = self._read_out(m, at)
        write_addr = Signal(g.address_bits)
        m.d.sync += [self.read.addr.eq(at.address), write_addr.eq(self.read.addr),
                     self.write.addr.eq(write_addr)]
        m.d.comb += [
            self.read.en.eq(pool.reading), at.advance.eq(pool.counting | dense.emitted),
            # One of the two addends is zero.
            self.write.en.eq(pool.writing | (dense.emitted & ~dense.raw)),
            self.write.data.eq(pool.old + (dense.result | pool.addend)),
            self.scores.payload.value.eq(dense.selected),
            self.scores.payload.last.eq(at.last & at.last_pass),
            self.record.valid.eq(dense.emitted),
            self.record.index.eq(at.dense_pass * g.channels + at.index),
            self.record.value.eq(Mux(dense.raw, dense.selected, dense.result)),
        ]
        return m

    def _channel(self, m):
        """The channel at hand."""
        g, layer, tile, start = self._geometry, self.layer, self.pooled, self.collect.start
        at = SimpleNamespace(
            dense_pass=Signal(8, name="dense_pass"), index=Signal(range(g.channels), name="index"),
            rest=Signal(g.channels, init=-1, name="rest"),  # low for the channel's lane alone
            last=Signal(name="last"), last_pass=Signal(name="last_pass"),
            advance=Signal(name="advance"), address=Signal(g.address_bits, name="address"),
            busy=Signal(name="busy"))
        reserve = Signal()
        passes = Signal(8)
        m.d.comb += [
            reserve.eq(self.collect.capture & (
                (layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM))),
            self.collect.busy.eq(at.busy), passes.eq(Mux(start, at.dense_pass, tile.pass_)),
            at.last.eq(at.index == Mux(at.last_pass, layer.end_channels_last,
                                       layer.pass_channels_last)),
        ]
        with m.If(reserve | start):
            m.d.sync += at.busy.eq(1)
        with m.If(tile.load | start):
            m.d.sync += [
                at.index.eq(0), at.rest.eq(~C(1, g.channels)),
                at.last_pass.eq(passes == layer.passes_last),
                at.address.eq(layer.out_base + passes * g.channels),
            ]
        with m.Elif(at.advance):
            m.d.sync += [at.index.eq(at.index + 1), at.rest.eq(at.rest.rotate_left(1)),
                         at.address.eq(at.address + 1)]
        return at

    def _pool(self, m, at):
        """Global pool: read, and pick; register; add and write."""
        g, layer, tile = self._geometry, self.layer, self.pooled
        counting = Signal()
        mask = Signal(g.pixels)
        fresh = Signal()
        old = Signal(g.VECTOR_BITS)
        ones = Signal(range(g.pixels + 1))
        addend = Signal.like(ones)
        # Some channel, and the last one, on its way.
        picking, pooling, pooled = (Signal(2, name=name)
                                    for name in ("picking", "pooling", "pooled_now"))
        reading = Signal()
        bits = [self._pick(m, f"bits_{q}", list(tile.data[q]), at.index, at.rest) & mask[q]
                for q in range(g.pixels)]
        m.d.sync += [picking.eq(Cat(counting, counting & at.last)), pooling.eq(picking),
                     pooled.eq(pooling), reading.eq(counting & ~fresh), ones.eq(_count(bits))]
        with m.If(tile.load):
            m.d.sync += [counting.eq(1), mask.eq(tile.mask), fresh.eq(tile.first)]
        with m.Elif(at.last):
            m.d.sync += counting.eq(0)
        with m.If(fresh | ~pooling[0]):
            m.d.sync += old.eq(0)
        with m.Else():
            m.d.sync += old.eq(self.read.data)
        with m.If(pooled[0]):
            m.d.comb += addend.eq(Mux(layer.emit == Emit.GLOBAL_SUM, ones, ones.any() & ~old[0]))
        with m.If(pooled[1]):
            m.d.sync += at.busy.eq(0)
        return SimpleNamespace(counting=counting, reading=reading, old=old, addend=addend,
                               writing=pooled[0])

    def _read_out(self, m, at):
        """Dense layer: pick, shift, clamp, emit."""
        g, layer = self._geometry, self.layer
        if self._family == "ice40":
            value = Array(self.head.acc)[at.index]  # both stay until it is selected
        else:
            value = self._pick(m, "acc", list(self.head.acc), at.index, at.rest)
        selected = Signal(signed(g.acc_bits))
        limit = Signal(g.acc_bits - 1)
        shifts = Signal(5)
        over = Signal()
        result = Signal(g.VECTOR_BITS)
        raw = Signal()
        emitted = Signal()
        m.d.comb += [
            raw.eq(layer.emit == Emit.RAW), limit.eq(layer.limit),
            over.eq((layer.emit == Emit.BIT) | (selected[:-1] & ~limit).any()),
        ]
        m.d.sync += result.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.collect.start):
                    m.next = "PICK"
            with m.State("PICK"):
                m.next = "PICK-ON"
            with m.State("PICK-ON"):
                m.next = "SELECT"
            with m.State("SELECT"):
                m.d.sync += [selected.eq(value), shifts.eq(layer.shift)]
                m.next = "SHIFT"
            with m.State("SHIFT"):
                with m.If(shifts != 0):
                    m.d.sync += [selected.eq(selected >> 1), shifts.eq(shifts - 1)]
                with m.Else():
                    with m.If(~selected[-1]):
                        m.d.sync += result.eq((selected | over.replicate(g.VECTOR_BITS))
                                              & layer.limit)
                    m.next = "EMIT"
            with m.State("EMIT"):
                m.d.comb += [
                    self.scores.valid.eq(raw), self.stalled.eq(raw & ~self.scores.ready),
                    emitted.eq(~self.stalled),
                ]
                with m.If(emitted):
                    m.next = "PICK"
                    with m.If(at.last):
                        m.d.sync += [at.busy.eq(0), at.dense_pass.eq(at.dense_pass + 1)]
                        m.next = "IDLE"
                        with m.If(at.last_pass):
                            m.d.sync += at.dense_pass.eq(0)
        return SimpleNamespace(selected=selected, result=result, raw=raw, emitted=emitted)

    def _pick(self, m, name, values, index, rest):
        """One of ``values``, two cycles after the channel's number, ``index``, or its ``rest``."""
        if len(values) <= 8:
            picked, later = (Signal.like(values[0], name=f"{stage}_{name}")
                             for stage in ("picked", "later"))
            m.d.sync += [picked.eq(Array(values)[index]), later.eq(picked)]
            return later
        # All registers but one are in reset: an OR of four takes a LUT, a choice of two does too.
        gates = []
        for channel, value in enumerate(values):
            gate = Signal(len(value), name=f"{name}_{channel}", reset_less=True)
            with m.If(rest[channel]):
                m.d.sync += gate.eq(0)
            with m.Else():
                m.d.sync += gate.eq(value)
            gates.append(gate)
        parts = []
        for k in range(0, len(gates), 4):
            part = Signal.like(gates[0], name=f"{name}_from_{k}", reset_less=True)
            m.d.sync += part.eq(reduce(or_, gates[k:k + 4]))
            parts.append(part)
        while len(parts) > 1:
            parts = [reduce(or_, parts[k:k + 4]) for k in range(0, len(parts), 4)]
        return parts[0]


def _count(terms):
    """Number of ones, as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[k + 1:k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]
