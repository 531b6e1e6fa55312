"""From the weight store to the lanes' operands."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..datapath.doubled_operands import DoubledOperands
from ..datapath.pair_lane_array import WEIGHT_BITS
from ..geometry import Geometry
from ..pipeline import EVENT_PLANE_MOST, Addition, Step

__all__ = ["WeightFeed"]


class WeightFeed(wiring.Component):
    """Weight store, its read pointer, start registers and operand registers.

    In the dense walk, the pointer moves by itself: rows are stored in the order in which the walk
    needs them. A pass begins with ``start_bytes`` rows of start-value bytes (least significant
    first); each tile after the first of a pass goes back to the row behind them. The event-driven
    walk gives the address of each row.

    A multi-bit activation is a sum of binary planes: its weight row is read once, with the first
    plane. In the dense walk the operand doubles for each further plane; in the event-driven walk
    it is the weight row shifted by the event's plane.

    With pair lanes a word of the store is two rows. The weights of two channels lie in both; those
    of a value with binary planes in the first, and twice themselves, without the highest of nine
    bits, in the second. A tile of such values is walked several times: the pointer goes back to the
    tile's weights before each walk.

    With several streams of events, each has a read port and operand registers; start values are
    read through the first one, for all. The host's writes share the first port's address, so that
    block RAM with two ports holds the store once for two streams.

    Latency: a step at stage 3 (``step_read``) reads the memory; the operand is at the lanes at
    stage 6 together with the step itself.

    Parameters
    ----------
    geometry : Geometry
    init : sequence of int
        Initial words of the weight store, ``8 * channels * store_rows`` bits each.
    family : str or None
        On ``"ice40"`` rows have no register for each shift (event-driven walk); gated lanes of the
        dense walk: see :class:`~bamac_hw.datapath.doubled_operands.DoubledOperands`.

    Members
    -------
    base_stb, base : set the pointer (a job starts; dense walk)
    row : address of the row to be read with ``step_read`` (event-driven walk)
    step_read, step_operand : the steps at stages 3 and 5
    more_row, more_read, more_operand : ``row``, ``step_read``, ``step_operand`` of further streams
    operand : ``signed(acc_bits)`` per channel, for gated lanes of the event-driven walk;
        ``stream * channels + channel``
    operand, fill, gate : ``acc_bits`` bits per channel, for those of the dense walk, see
        :class:`~bamac_hw.datapath.doubled_operands.DoubledOperands`
    planes : the weights are those of values with binary planes (pair lanes)
    weight : ``signed(8)`` per channel, for int8 lanes
    bias : ``signed(acc_bits)`` per channel: the start values, as they are (int8 lanes)
    first, second : ``signed(WEIGHT_BITS)`` per channel, for pair lanes
    total : ``signed(acc_bits)`` per channel, for pair lanes: their sum, or the start value
    write_en, write_addr, write_data : load one 32-bit word; ``write_addr`` counts such words
    reading : a row is read in this cycle; one bit per stream
    """

    def __init__(self, geometry: Geometry, *, init=(), family=None):
        self._geometry, self._init, self._family = geometry, init, family
        shape = signed(geometry.acc_bits)
        if geometry.walk == "event":
            operands = {"operand": Out(shape).array(geometry.streams * geometry.channels)}
        elif geometry.lane == "pair":
            operands = {
                "planes": In(1),
                "first": Out(signed(WEIGHT_BITS)).array(geometry.channels),
                "second": Out(signed(WEIGHT_BITS)).array(geometry.channels),
                "total": Out(shape).array(geometry.channels),
            }
        elif geometry.int8_maps:
            operands = {"weight": Out(signed(8)).array(geometry.channels),
                        "bias": Out(shape).array(geometry.channels)}
        else:
            operands = {name: Out(geometry.acc_bits).array(geometry.channels)
                        for name in ("operand", "fill", "gate")}
        super().__init__(operands | {
            "base_stb": In(1),
            "base": In(16),
            "row": In(geometry.row_bits),
            "step_read": In(Step),
            "step_operand": In(Step),
            "more_row": In(geometry.row_bits).array(geometry.streams - 1),
            "more_read": In(Addition).array(geometry.streams - 1),
            "more_operand": In(Addition).array(geometry.streams - 1),
            "write_en": In(1),
            "write_addr": In(range(geometry.weight_rows * geometry.channels // 4)),
            "write_data": In(32),
            "reading": Out(geometry.streams),
        })

    def elaborate(self, platform):
        g = self._geometry
        m = Module()

        # Nothing uses what is read in the cycle of a write, so no logic need keep it.
        m.submodules.store = store = Memory(
            shape=8 * g.channels * g.store_rows, depth=g.weight_rows // g.store_rows,
            init=list(self._init), attrs={"no_rw_check": 1})
        read = store.read_port()
        write = store.write_port(granularity=32)
        words = g.channels * g.store_rows // 4
        words_log2 = words.bit_length() - 1
        # One address for both ports, and a read enable that covers the write's: a single-ported
        # memory with one enable will do.
        address = Signal(range(g.weight_rows // g.store_rows))
        wanted = self.row if g.walk == "event" else self._pointer(m)
        m.d.comb += [
            address.eq(Mux(self.write_en, self.write_addr >> words_log2, wanted)),
            write.addr.eq(address),
            write.data.eq(self.write_data.replicate(words)),
            write.en.eq(self.write_en << self.write_addr[:words_log2] if words_log2 else
                        self.write_en),
        ]

        reading = self.step_read.byte | self.step_read.row
        m.d.comb += [
            self.reading.eq(Cat(reading, (step.row for step in self.more_read))),
            read.en.eq(self.reading[0] | self.write_en),
            read.addr.eq(address),
        ]
        if g.walk == "event":
            self._shifted_operands(m, [read.data, *self._further_ports(m, store)])
        elif g.lane == "pair":
            self._pair_operands(m, read.data)
        elif g.int8_maps:
            self._plain_operands(m, read.data)
        else:
            m.submodules.doubled = doubled = DoubledOperands(g, family=self._family)
            m.d.comb += [
                doubled.step_read.eq(self.step_read), doubled.step_operand.eq(self.step_operand),
                doubled.data.eq(read.data),
                *(getattr(self, name)[channel].eq(getattr(doubled, name)[channel])
                  for name in ("operand", "fill", "gate") for channel in range(g.channels)),
            ]
        return m

    def _further_ports(self, m, store):
        """What the further streams read."""
        for wanted, row in zip(self.more_read, self.more_row, strict=True):
            port = store.read_port()
            m.d.comb += [port.en.eq(wanted.row), port.addr.eq(row)]
            yield port.data

    def _shifted_operands(self, m, reads):
        """Operands of the event-driven walk: for each stream, its weight row times 2**plane.

        Row and start value are zero (by the registers' synchronous reset) unless they are wanted,
        so an OR takes the place of a selection, in the LUTs of the last stage of the shifter. Nor
        do the first stages select: each of their shifts has a register of the row. On iCE40, where
        a register without logic takes as much as one with, there is one register and a shifter.
        """
        g = self._geometry
        streams = range(g.streams)
        shift_bits = 0 if self._family == "ice40" else 2
        fetched = Signal(Step)  # stage 4
        more_fetched = [Signal(Addition, name=f"fetched_of_{stream}") for stream in streams[1:]]
        m.d.sync += [to.eq(step) for to, step in zip(
            (fetched, *more_fetched), (self.step_read, *self.more_read), strict=True)]
        planes = [step.plane for step in (fetched, *more_fetched)]
        late_planes = [step.plane for step in (self.step_operand, *self.more_operand)]
        for channel in range(g.channels):
            start = Signal(8 * g.start_bytes, name=f"start_{channel}")
            start_now = Signal(g.acc_bits, name=f"start_now_{channel}")
            m.d.sync += start_now.eq(Mux(fetched.start, start, 0))
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[8:], reads[0].word_select(channel, 8)))
            for stream, data in zip(streams, reads, strict=True):
                index = stream * g.channels + channel
                rows = [Signal(signed(8), name=f"row_{index}_{shift}")
                        for shift in range(1 << shift_bits)]
                operand = Signal(signed(g.acc_bits), name=f"operand_{index}")
                for shift, row in enumerate(rows):
                    unwanted = fetched.start | (planes[stream][:shift_bits] != shift)
                    m.d.sync += row.eq(Mux(unwanted, 0, data.word_select(channel, 8)))
                low = Signal(signed(7 + len(rows)), name=f"shifted_{index}")
                m.d.comb += [
                    low.eq(reduce(or_, (row << shift for shift, row in enumerate(rows)))),
                    self.operand[index].eq(operand),
                ]
                high = late_planes[stream][shift_bits:EVENT_PLANE_MOST.bit_length()]
                m.d.sync += operand.eq(low << Cat(C(0, shift_bits), high) | start_now.as_signed())

    def _plain_operands(self, m, data):
        """Operands of int8 lanes: weights; the start values go to the read-out."""
        g = self._geometry
        fetched = Signal(Step)  # stage 4
        m.d.sync += fetched.eq(self.step_read)
        for channel in range(g.channels):
            row = Signal(signed(8), name=f"row_{channel}")
            start = Signal(8 * g.start_bytes, name=f"start_{channel}")
            weight = data.word_select(channel, 8)
            m.d.sync += [row.eq(weight), self.weight[channel].eq(row)]
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[8:], weight))
            m.d.comb += self.bias[channel].eq(start[:g.acc_bits])

    def _pair_operands(self, m, data):
        """Operands of pair lanes: both weights and their sum.

        As with shifted operands, what is not wanted is zero, and an OR takes the place of a
        selection.
        """
        g = self._geometry
        fetched = Signal(Step)  # stage 4
        m.d.sync += fetched.eq(self.step_read)
        for channel in range(g.channels):
            rows = [Signal(8, name=f"row_{channel}_{k}") for k in range(2)]
            start = Signal(16 * g.start_reads, name=f"start_{channel}")
            start_now = Signal(g.acc_bits, name=f"start_now_{channel}")
            weights = [data.word_select(k * g.channels + channel, 8) for k in range(2)]
            m.d.sync += [row.eq(Mux(fetched.row, weight, 0))
                         for row, weight in zip(rows, weights, strict=True)]
            m.d.sync += start_now.eq(Mux(fetched.start, start, 0))
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[16:], weights))
            first = Signal(signed(WEIGHT_BITS), name=f"first_{channel}")
            second = Signal(signed(WEIGHT_BITS), name=f"second_{channel}")
            m.d.comb += [first.eq(rows[0].as_signed()),
                         second.eq(Cat(rows[1], Mux(self.planes, rows[0][-1], rows[1][-1])))]
            m.d.sync += [
                self.first[channel].eq(first), self.second[channel].eq(second),
                self.total[channel].eq((first + second) | start_now.as_signed()),
            ]

    def _pointer(self, m):
        """The dense walk's read pointer."""
        g, step = self._geometry, self.step_read
        pointer = Signal(range(g.weight_rows // g.store_rows + 1))
        tile_base = Signal.like(pointer)
        with m.If(self.base_stb):
            m.d.sync += pointer.eq(self.base)
        with m.Elif(self.reading):
            m.d.sync += pointer.eq(pointer + 1)
            if g.lane == "pair":
                with m.If(step.byte):
                    m.d.sync += tile_base.eq(pointer + 1)
        if g.lane == "pair":
            with m.Elif(step.start | step.double | (step.clear & ~step.pass_)):
                m.d.sync += pointer.eq(tile_base)
            return pointer
        with m.Elif(self.step_read.start):
            with m.If(self.step_read.pass_):
                m.d.sync += tile_base.eq(pointer)
            with m.Else():
                m.d.sync += pointer.eq(tile_base)
        return pointer
