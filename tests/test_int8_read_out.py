# amaranth: UnusedElaboratable=no
"""Requantised and pooled values of tiles against numpy."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.int8_read_out import Int8ReadOut

PIXELS, CHANNELS, BITS = 4, 8, 20


@pytest.mark.parametrize("at_once", [1, 4, 8])
def test_tiles_one_after_the_other(at_once):
    rng = np.random.default_rng(at_once)
    dut = Int8ReadOut(pixels=PIXELS, channels=CHANNELS, acc_bits=BITS, at_once=at_once)
    half = 1 << (BITS - 1)
    tiles, wanted = [], []
    for number in range(24):
        sums = rng.integers(-half, half, (PIXELS, CHANNELS)) >> int(rng.integers(0, 12))
        bias = rng.integers(-half, half, CHANNELS) >> int(rng.integers(0, 20))
        if number < 2:
            sums[:], bias[:] = ((-half, -half), (half - 1, half - 1))[number]
        tiles.append((sums, bias, int(rng.integers(0, 20)) if number > 3 else 0, number % 2))
        sums, bias, shift, pool = tiles[-1]
        values = np.clip((sums + bias) >> shift, 0, 255)
        if pool:
            values[0] = values.max(axis=0)
        wanted += [values[:, k:k + at_once].reshape(-1).tolist()
                   for k in range(0, CHANNELS, at_once)]
    seen = []

    async def testbench(ctx):
        for sums, bias, shift, pool in tiles:
            ctx.set(dut.shift, shift)
            ctx.set(dut.pool, pool)
            for port, number in zip(dut.acc, sums.reshape(-1).tolist(), strict=True):
                ctx.set(port, number)
            # From the start to the last value: a cycle, the reads, and four of latency.
            for cycle in range(1 + dut.steps + 4):
                ctx.set(dut.start, cycle == 0)
                for channel, port in enumerate(dut.bias):
                    ctx.set(port, int(bias[at_once * ctx.get(dut.index) + channel]))
                if ctx.get(dut.valid):
                    assert cycle >= 5
                    seen.append([ctx.get(value) for value in dut.values])
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == wanted


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="^Channels at once must divide 8, not 3$"):
        Int8ReadOut(pixels=4, channels=8, acc_bits=20, at_once=3)
