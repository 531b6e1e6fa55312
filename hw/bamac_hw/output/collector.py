"""The serial end of the accelerator: global pooling, and the outputs of dense layers."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Emit, layer_layout
from ..geometry import Geometry

__all__ = ["Collector", "collector_outputs"]



class Collector(wiring.Component):
    """Handles one channel at a time, so that it needs one adder and one shifter for all lanes.

    *Global pool* (``load``): adds each channel's ones in the tile to its count in the vector
    memory, or sets its bit. Takes one cycle per channel and three more.

    *Dense* (``start``): reads the accumulators of pixel 0 one by one, requantises
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
    reserve : a global-pool tile enters the pipeline: ``busy`` from the next cycle on
    load, first, mask, data, pass_ : its pooled bits, ``data`` until the collector is no longer
        busy; ``first`` starts a new clip
    start : read out a dense layer's pass
    acc : accumulators of pixel 0
    busy : not ready for another
    stalled : waiting for a score to be taken
    read_en, read_addr, read_data, write_en, write_addr, write_data : vector memory
    scores : raw scores with ``last`` at the end of a clip
    word_valid, word_index, word_value : each dense output, as it leaves
    """

    def __init__(self, geometry: Geometry, *, family=None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "layer": In(layer_layout(geometry)),
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
        } | collector_outputs(geometry))

    def elaborate(self, platform):
        g = self._geometry
        layer = self.layer
        m = Module()

        # The channel at hand. ``rest`` is low for its lane alone.
        dense_pass = Signal(8)
        passes = Signal(8)
        index = Signal(range(g.channels))
        rest = Signal(g.channels, init=-1)
        last = Signal()
        advance = Signal()
        address = Signal(g.address_bits)
        busy = Signal()
        m.d.comb += [
            self.busy.eq(busy),
            passes.eq(Mux(self.start, dense_pass, self.pass_)),
        ]
        last_pass = Signal()
        m.d.comb += last.eq(index == Mux(last_pass, layer.end_channels_last,
                                         layer.pass_channels_last))
        with m.If(self.reserve | self.start):
            m.d.sync += busy.eq(1)
        with m.If(self.load | self.start):
            m.d.sync += [
                index.eq(0), rest.eq(~C(1, g.channels)), last_pass.eq(passes == layer.passes_last),
                address.eq(layer.out_base + passes * g.channels),
            ]
        with m.Elif(advance):
            m.d.sync += [index.eq(index + 1), rest.eq(rest.rotate_left(1)),
                         address.eq(address + 1)]

        # Global pool: read, and pick; register; add and write.
        counting = Signal()
        mask = Signal(g.pixels)
        fresh = Signal()
        old = Signal(g.VECTOR_BITS)
        ones = Signal(range(g.pixels + 1))
        addend = Signal.like(ones)
        # Some channel, and the last one, on its way.
        picking, pooling, pooled = (Signal(2, name=name)
                                    for name in ("picking", "pooling", "pooled"))
        reading = Signal()
        bits = [self._pick(m, f"bits_{q}", list(self.data[q]), index, rest) & mask[q]
                for q in range(g.pixels)]
        m.d.sync += [picking.eq(Cat(counting, counting & last)), pooling.eq(picking),
                     pooled.eq(pooling), reading.eq(counting & ~fresh), ones.eq(_count(bits))]
        with m.If(self.load):
            m.d.sync += [counting.eq(1), mask.eq(self.mask), fresh.eq(self.first)]
        with m.Elif(last):
            m.d.sync += counting.eq(0)
        with m.If(fresh | ~pooling[0]):
            m.d.sync += old.eq(0)
        with m.Else():
            m.d.sync += old.eq(self.read_data)
        with m.If(pooled[0]):
            m.d.comb += addend.eq(Mux(layer.emit == Emit.GLOBAL_SUM, ones, ones.any() & ~old[0]))
        with m.If(pooled[1]):
            m.d.sync += busy.eq(0)

        # Dense: pick, shift, clamp, emit.
        if self._family == "ice40":
            value = Array(self.acc)[index]  # both stay until it is selected
        else:
            value = self._pick(m, "acc", list(self.acc), index, rest)
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
                with m.If(self.start):
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
                    with m.If(last):
                        m.d.sync += [busy.eq(0), dense_pass.eq(dense_pass + 1)]
                        m.next = "IDLE"
                        with m.If(last_pass):
                            m.d.sync += dense_pass.eq(0)

        write_addr = Signal(g.address_bits)
        m.d.sync += [self.read_addr.eq(address), write_addr.eq(self.read_addr),
                     self.write_addr.eq(write_addr)]
        m.d.comb += [
            self.read_en.eq(reading), advance.eq(counting | emitted),
            # One of the two sums' halves is zero.
            self.write_en.eq(pooled[0] | (emitted & ~raw)),
            self.write_data.eq(old + (result | addend)),
            self.scores.payload.value.eq(selected),
            self.scores.payload.last.eq(last & last_pass),
            self.word_valid.eq(emitted),
            self.word_index.eq(dense_pass * g.channels + index),
            self.word_value.eq(Mux(raw, selected, result)),
        ]
        return m

    def _pick(self, m, name, values, index, rest):
        """One of ``values``, two cycles after the channel's number (or its turn) is there."""
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


def collector_outputs(geometry):
    """Members of either collector: the vector memory's ports, the scores, and a copy for tests."""
    return {
        "read_en": Out(1),
        "read_addr": Out(geometry.address_bits),
        "read_data": In(geometry.vector_bits),
        "write_en": Out(1),
        "write_addr": Out(geometry.address_bits),
        "write_data": Out(geometry.vector_bits),
        "scores": Out(stream.Signature(score_layout())),
        "word_valid": Out(1),
        "word_index": Out(16),
        "word_value": Out(32),
    }


def score_layout():
    return data.StructLayout({"value": signed(32), "last": 1})


def _count(terms):
    """Number of ones, as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[k + 1:k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]
