"""Counting by one against Python's integers, for every value."""

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from bamac_hw.lib.small_count import one_less, one_more


@pytest.mark.parametrize("width", [1, 3, 6])
def test_every_value(width):
    m = Module()
    value, by = Signal(width), Signal()
    more, always_more, less = (Signal(width, name=name) for name in ("more", "always", "less"))
    m.d.comb += [more.eq(one_more(value, by)), always_more.eq(one_more(value)),
                 less.eq(one_less(value))]

    async def testbench(ctx):
        for number in range(1 << width):
            ctx.set(value, number)
            for amount in range(2):
                ctx.set(by, amount)
                assert ctx.get(more) == (number + amount) % (1 << width)
            assert ctx.get(always_more) == (number + 1) % (1 << width)
            assert ctx.get(less) == max(0, number - 1)

    simulator = Simulator(m)
    simulator.add_testbench(testbench)
    simulator.run()
