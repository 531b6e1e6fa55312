"""Lanes that take two weight rows per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..pipeline import Step
from .carry_chain import carry_chain, check_family

__all__ = ["PairLaneArray", "WEIGHT_BITS"]

# A weight, or twice a weight: the second of two binary planes.
WEIGHT_BITS = 9

# Of A (accumulator), B (sum), C (selected weight) and D (wide): the accumulator and what is added
# differ. From D, C = 1, 1 down: never, A ^ B, ~A, A.
_CARRY_LUT = 0x065A


class PairLaneArray(wiring.Component):
    """``pixels * channels`` accumulators, each adding 0, ``first``, ``second`` or both per cycle.

    The sum of both weights is formed once per channel, outside. A lane needs one LUT for each bit
    of a weight, which selects ``first``, ``second`` or 0. The rest of the selection and the
    addition fit the LUT in front of ECP5's carry::

        wide  selected   accumulator
         0       m       acc + m        one of the weights (its sign in the upper bits)
         1       0       acc + total    both, or a start value
         1       1       acc + acc      the sums of the lower planes are to be added

    Yosys does not find that form in an expression, so with ``family`` ``"ecp5"`` the lanes are
    built from the cells by hand.

    Latency: bits and step at stage 5 take effect at stage 6, two cycles until ``acc`` shows it.
    There is no saturation: the compiler proves that no sum leaves ``acc_bits``. The accumulators
    have no reset but ``clear``, which must be held for a cycle before the first addition.

    Parameters
    ----------
    pixels, channels, acc_bits : int
    family : "ecp5" or None

    Members
    -------
    step_5 : the step at stage 5, of which ``compute``, ``start`` and ``double`` matter
    bits : two bits per pixel, stage 5: whether it adds ``first``, ``second``
    clear : set every accumulator to zero, whatever the step is
    first, second : ``signed(WEIGHT_BITS)`` per channel, stage 6
    total : ``signed(acc_bits)`` per channel, stage 6: ``first + second``, or the start value
    acc : ``signed(acc_bits)`` per lane, ``pixel * channels + channel``
    """

    def __init__(self, *, pixels: int, channels: int, acc_bits: int, family: str | None = None):
        check_family(family)
        self._pixels, self._channels, self._acc_bits = pixels, channels, acc_bits
        self._family = family
        super().__init__({
            "step_5": In(Step),
            "bits": In(2 * pixels),
            "clear": In(1),
            "first": In(signed(WEIGHT_BITS)).array(channels),
            "second": In(signed(WEIGHT_BITS)).array(channels),
            "total": In(signed(acc_bits)).array(channels),
            "acc": Out(signed(acc_bits)).array(pixels * channels),
        })

    def elaborate(self, platform):
        step = self.step_5
        m = Module()
        for pixel in range(self._pixels):
            # One of the weights is selected by its own bit. Both bits of the selection are set
            # where the accumulator is to be doubled.
            en, wide = Signal(name=f"en_{pixel}"), Signal(name=f"wide_{pixel}")
            select = Signal(2, name=f"select_{pixel}")
            bits = self.bits.word_select(pixel, 2)
            one, both = bits[0] ^ bits[1], bits[0] & bits[1]
            m.d.sync += [
                en.eq(step.start | step.double | (step.compute & bits.any())),
                wide.eq(step.start | step.double | (step.compute & both)),
                select.eq(Mux(step.double, 0b11, Mux(step.compute & one, bits, 0))),
            ]
            for channel in range(self._channels):
                selected = Signal(signed(WEIGHT_BITS), name=f"selected_{pixel}_{channel}")
                with m.Switch(select):
                    with m.Case(0b01):
                        m.d.comb += selected.eq(self.first[channel])
                    with m.Case(0b10):
                        m.d.comb += selected.eq(self.second[channel])
                    with m.Case(0b11):
                        m.d.comb += selected.eq(-1)
                acc = Signal(signed(self._acc_bits), name=f"acc_{pixel}_{channel}",
                             reset_less=True)
                after = Signal.like(acc, name=f"after_{pixel}_{channel}")
                add = self._carry_cells if self._family == "ecp5" else self._expression
                add(m, f"{pixel}_{channel}", acc, self.total[channel], selected, wide, after)
                with m.If(self.clear):
                    m.d.sync += acc.eq(0)
                with m.Elif(en):
                    m.d.sync += acc.eq(after)
                m.d.comb += self.acc[pixel * self._channels + channel].eq(acc)
        return m

    def _expression(self, m, name, acc, total, selected, wide, after):
        addend = Signal.like(acc, name=f"addend_{name}")
        m.d.comb += [
            addend.eq(Mux(wide, (selected & acc) | (~selected & total), selected)),
            after.eq(acc + addend),
        ]

    def _carry_cells(self, m, name, acc, total, selected, wide, after):
        bits = range(self._acc_bits)
        m.d.comb += after.eq(carry_chain(
            m, name, _CARRY_LUT, [acc[bit] for bit in bits], [total[bit] for bit in bits],
            [selected[min(bit, WEIGHT_BITS - 1)] for bit in bits], [wide] * self._acc_bits))
