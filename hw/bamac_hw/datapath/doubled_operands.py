"""What gated lanes of the dense walk add: weights, doubled plane by plane, and start values."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..pipeline import Step

__all__ = ["DoubledOperands"]

# Bits of an operand that take a LUT each: at least the seven below a weight's sign. Fewer bits mean
# less logic, but more wires to the lanes.
LOW_BITS = 7


class DoubledOperands(wiring.Component):
    """Start registers and operand registers of each channel.

    A lane adds ``gate & (operand | fill)``. On ECP5 the LUT in front of the carry has room for it
    (:class:`~bamac_hw.datapath.lane_array.LaneArray`), so only the low ``LOW_BITS`` bits need a LUT
    each: it loads weight or start value, or shifts. The bits above need only what a register does
    without logic: it can be set or reset. After ``p`` doublings, bit ``k`` from ``LOW_BITS`` on
    is::

        operand      zero is loaded (by reset), then shifts: the low bits go on here
        fill         the sign is loaded; it is reset as soon as k < LOW_BITS + p
        gate         1

    and in a step that adds a start value::

        operand      0
        fill         1: the sign of a row that is set
        gate         the start value; it is set in all other steps

    On other families ``operand`` holds everything, at one LUT for each bit: iCE40's carry cells
    have no such room, and Yosys does not use that of xc7's.

    Latency: a step at stage 3 (``step_read``) reads ``data``, which is there at stage 4; what the
    lanes add is there at stage 6 together with the step itself. Results are modulo
    ``2**acc_bits``, after any number of doublings.

    Parameters
    ----------
    geometry : Geometry
    family : "ecp5", "ice40" or None
        On ``"ice40"`` weight row and start value share a register, and a start value's bytes do
        not pass through each other's.

    Members
    -------
    step_read, step_operand : the steps at stages 3 and 5
    data : what is read: ``channels`` weights, or bytes of start values
    operand, fill, gate : ``acc_bits`` bits per channel
    """

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "step_read": In(Step),
            "step_operand": In(Step),
            "data": In(8 * g.channels),
            "operand": Out(g.acc_bits).array(g.channels),
            "fill": Out(g.acc_bits).array(g.channels),
            "gate": Out(g.acc_bits).array(g.channels),
        })

    def elaborate(self, platform):
        step = self.step_operand
        m = Module()
        fetched = Signal(Step)  # stage 4
        loads, doubles = Signal(), Signal()
        m.d.sync += fetched.eq(self.step_read)
        m.d.comb += [loads.eq(step.start | step.row), doubles.eq(step.compute & ~step.row)]
        build = self._split if self._family == "ecp5" else self._single
        build(m, fetched, loads, doubles)
        return m

    def _split(self, m, fetched, loads, doubles):
        g, step = self._geometry, self.step_operand
        high_bits = g.acc_bits - LOW_BITS
        # Bits of the sign that are reset by the next doubling, one more by each.
        passed = Signal(high_bits, reset_less=True)
        with m.If(fetched.start | fetched.row):
            m.d.sync += passed.eq(0)
        with m.Elif(fetched.compute):
            m.d.sync += passed.eq(Cat(1, passed[:-1]))
        for channel in range(g.channels):
            def register(name, bits, init=0, channel=channel):
                return Signal(bits, name=f"{name}_{channel}", init=init, reset_less=True)

            weight = self.data.word_select(channel, 8)
            start = register("start", 8 * g.start_bytes)
            with m.If(fetched.byte):
                m.d.sync += start.eq(Cat(start[8:], weight))

            # Stage 5.
            row, start_now = register("row", 8), register("start_now", LOW_BITS)
            row_sign = register("row_sign", 1, init=1)
            m.d.sync += [
                row.eq(Mux(fetched.row, weight, 0)),
                row_sign.eq(Mux(fetched.row, weight[-1], 1)),
                start_now.eq(Mux(fetched.start, start[:LOW_BITS], 0)),
            ]

            # Stage 6.
            low, high = register("low", LOW_BITS), register("high", high_bits)
            sign = register("sign", high_bits)
            start_high = register("start_high", high_bits, init=-1)
            with m.If(loads):
                m.d.sync += [low.eq(row.as_signed() | start_now.as_signed()), high.eq(0)]
            with m.Elif(doubles):
                m.d.sync += [low.eq(low << 1), high.eq(Cat(low[-1], high[:-1]))]
            for bit in range(high_bits):
                with m.If(passed[bit]):
                    m.d.sync += sign[bit].eq(0)
                with m.Elif(loads):
                    m.d.sync += sign[bit].eq(row_sign)
            m.d.sync += start_high.eq(Mux(step.start, start[LOW_BITS:g.acc_bits],
                                          C(-1, high_bits)))
            m.d.comb += [
                self.operand[channel].eq(Cat(low, high)),
                self.fill[channel].eq(Cat(C(0, LOW_BITS), sign)),
                self.gate[channel].eq(Cat(C(-1, LOW_BITS), start_high)),
            ]

    def _single(self, m, fetched, loads, doubles):
        g, small = self._geometry, self._family == "ice40"
        if small:
            turn = Signal(g.start_bytes, init=1)  # of the byte that comes next
            m.d.sync += turn.eq(Mux(fetched.byte, turn << 1, 1))
        for channel in range(g.channels):
            start = Signal(8 * g.start_bytes, name=f"start_{channel}", reset_less=small)
            operand = Signal(signed(g.acc_bits), name=f"operand_{channel}", reset_less=small)
            weight = self.data.word_select(channel, 8)
            # Zero unless wanted, so that an OR takes the place of a selection.
            row = Mux(fetched.row, weight.as_signed(), 0)
            start_now = Mux(fetched.start, start.as_signed(), 0)
            if small:
                given = Signal(signed(g.acc_bits), name=f"given_{channel}", reset_less=True)
                m.d.sync += given.eq(row | start_now)
                for byte in range(g.start_bytes):
                    with m.If(fetched.byte & turn[byte]):
                        m.d.sync += start.word_select(byte, 8).eq(weight)
            else:
                rows = Signal(signed(8), name=f"row_{channel}")
                starts = Signal(signed(g.acc_bits), name=f"start_now_{channel}")
                m.d.sync += [rows.eq(row), starts.eq(start_now)]
                given = rows | starts
                with m.If(fetched.byte):
                    m.d.sync += start.eq(Cat(start[8:], weight))
            with m.If(loads | doubles):
                m.d.sync += operand.eq(Mux(doubles, operand << 1, given))
            m.d.comb += [self.operand[channel].eq(operand), self.fill[channel].eq(0),
                         self.gate[channel].eq(-1)]
