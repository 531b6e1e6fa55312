"""Lanes that multiply int8 weights by unsigned 8-bit activations: the baseline."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .carry_chain import carry_chain, check_family

__all__ = ["Int8LaneArray"]

_ROWS = 8          # bits of a value
_SUM_BITS = 9      # of one row's addition
_REGISTERED = (2, 4, 6)  # rows behind which the partial product is registered

# Of A (partial product), C (weight) and D (bit of the value): A ^ (C & D).
_ROW_LUT = 0x5AAA
# The first two rows, of A and C (weight) and B and D (bits of the value): (A & B) ^ (C & D).
_FIRST_LUT = 0x7888


class Int8LaneArray(wiring.Component):
    """``pixels * channels`` accumulators: ``acc += weight[channel] * value[pixel]``.

    It has the shape of :class:`~bamac_hw.datapath.lane_array.LaneArray`, which takes one bit of an
    activation per cycle; this array takes a whole activation of 8 bits. Two multipliers:

    ``"shift-add"`` adds the weight, shifted, for each bit of the value; a row is a chain of
    nine carries. With ``family`` ``"ecp5"`` the AND of weight and bit goes into the carry cells'
    own LUTs, which Yosys does not do by itself.

    ``"dsp"`` is a product that Yosys maps to a DSP block, and an adder.

    There is no start value: bias and rounding are added where the sums are read out
    (:class:`~bamac_hw.datapath.int8_read_out.Int8ReadOut`). Throughput:
    one value per pixel and cycle. Latency: ``latency`` cycles until ``acc`` shows a sum. There is
    no saturation. The accumulators have no reset but ``clear``, which passes through the pipeline
    like a value: it sets them to zero in front of what is given in the cycles behind it.

    Parameters
    ----------
    pixels, channels, acc_bits : int
    multiplier : "shift-add" or "dsp"
    family : "ecp5" or None

    Members
    -------
    en : a weight and a value are given
    clear : start from zero; not together with ``en``
    weight : ``signed(8)`` per channel
    value : ``unsigned(8)`` per pixel
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    """

    def __init__(self, *, pixels: int, channels: int, acc_bits: int, multiplier: str = "shift-add",
                 family: str | None = None):
        if multiplier not in ("shift-add", "dsp"):
            raise ValueError(f"Multiplier must be shift-add or dsp, not {multiplier!r}")
        check_family(family)
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        self._multiplier, self._family = multiplier, family
        super().__init__({
            "en": In(1),
            "clear": In(1),
            "weight": In(signed(8)).array(channels),
            "value": In(8).array(pixels),
            "acc": Out(signed(acc_bits)).array(pixels * channels),
        })

    @property
    def latency(self) -> int:
        """Cycles from a value to the sum that holds it."""
        return 2 + (len(_REGISTERED) if self._multiplier == "shift-add" else 1)

    def elaborate(self, platform):
        m = Module()

        def delayed(value, cycles, name):
            """The value, and itself after 1 to ``cycles`` cycles."""
            stages = [value]
            for stage in range(1, cycles + 1):
                stages.append(Signal.like(value, name=f"{name}_{stage}"))
                m.d.sync += stages[stage].eq(stages[stage - 1])
            return stages

        depth = self.latency - 1
        en, clear = delayed(self.en, depth, "en")[-1], delayed(self.clear, depth, "clear")[-1]
        weights = [delayed(weight, depth, f"weight_{channel}")
                   for channel, weight in enumerate(self.weight)]
        values = [delayed(value, depth, f"value_{pixel}")
                  for pixel, value in enumerate(self.value)]
        multiply = self._shift_add if self._multiplier == "shift-add" else self._multiply
        for pixel in range(self._pixels):
            for channel in range(self._channels):
                name = f"{pixel}_{channel}"
                product = Signal(signed(16), name=f"product_{name}")
                m.d.sync += product.eq(multiply(m, name, weights[channel], values[pixel]))
                acc = Signal(signed(self._acc_bits), name=f"acc_{name}", reset_less=True)
                with m.If(clear):
                    m.d.sync += acc.eq(0)
                with m.Elif(en):
                    m.d.sync += acc.eq(acc + product)
                m.d.comb += self.acc[pixel * self._channels + channel].eq(acc)
        return m

    def _multiply(self, m, name, weights, values):
        # A DSP block has registers in front; these are the first stage of both operands.
        return weights[1] * values[1]

    def _shift_add(self, m, name, weights, values):
        """The product, row by row; a row's operands are delayed with the partial product."""
        stage = 0
        low, high = [], None  # bits that are done, and what the rows to come are added to
        for row in range(1, _ROWS):
            weight, value = weights[stage], values[stage]
            if row == 1:
                low = [weight[0] & value[0]]
                first = [weight[min(bit + 1, 7)] for bit in range(_SUM_BITS)]
                total = self._add(m, f"{name}_{row}", first, value[0], weight, value[1])
            else:
                total = self._add(m, f"{name}_{row}",
                                  [high[min(bit, 7)] for bit in range(_SUM_BITS)], None,
                                  weight, value[row])
            low, high = [*low, total[0]], total[1:]
            if row in _REGISTERED:
                stage += 1
                held = Signal(len(low) + len(high), name=f"partial_{name}_{row}")
                m.d.sync += held.eq(Cat(low, high))
                low, high = list(held[:len(low)]), held[len(low):]
        return Cat(low, high).as_signed()

    def _add(self, m, name, addend, gate, weight, bit):
        """``(addend if gate) + (weight if bit)``, both of nine bits with their signs."""
        extended = [weight[min(k, 7)] for k in range(_SUM_BITS)]
        if self._family == "ecp5":
            gates = [C(0, 1) if gate is None else gate] * _SUM_BITS
            table = _ROW_LUT if gate is None else _FIRST_LUT
            return carry_chain(m, name, table, addend, gates, extended, [bit] * _SUM_BITS)
        total = Signal(_SUM_BITS, name=f"row_{name}")
        kept = Cat(addend) if gate is None else Mux(gate, Cat(addend), 0)
        m.d.comb += total.eq(kept + Mux(bit, Cat(extended), 0))
        return total
