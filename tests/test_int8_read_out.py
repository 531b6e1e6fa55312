# amaranth: UnusedElaboratable=no
"""Requantised values of tiles against numpy: words of several channels, and one by one."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.datapath.int8_read_out import Int8ReadOut
from bamac_hw.geometry import Geometry

BITS = 20


@pytest.mark.parametrize("channels", [8, 32])
def test_tiles_one_after_the_other(channels):
    rng = np.random.default_rng(channels)
    g = Geometry("g", channels=channels, acc_bits=BITS, lane="int8")
    dut = Int8ReadOut(g)
    half, at_once = 1 << (BITS - 1), g.word_channels
    tiles, wanted = [], []
    for number in range(16):
        sums = rng.integers(-half, half, (g.pixels, channels)) >> int(rng.integers(0, 12))
        bias = rng.integers(-half, half, channels) >> int(rng.integers(0, 20))
        if number < 2:
            sums[:], bias[:] = ((-half, -half), (half - 1, half - 1))[number]
        shift, one_by_one, last = int(rng.integers(0, 16)), number % 2, number % 3 == 0
        tiles.append((sums, bias, shift, one_by_one, last))
        values = np.clip((sums + bias) >> shift, 0, 255)
        for channel in range(0, channels, 1 if one_by_one else at_once):
            first = channel - channel % at_once
            end = channel == channels - (1 if one_by_one else at_once)
            wanted.append((channel, end, end and last,
                           values[:, first:first + at_once].reshape(-1).tolist()))
    seen = []

    async def testbench(ctx):
        for sums, bias, shift, one_by_one, last in tiles:
            ctx.set(dut.shift, shift)
            ctx.set(dut.one_by_one, one_by_one)
            for port, number in zip(dut.acc, sums.reshape(-1).tolist(), strict=True):
                ctx.set(port, number)
            for port, number in zip(dut.bias, bias.tolist(), strict=True):
                ctx.set(port, number)
            # A cycle for the start, those of the reads, and three of latency
            for cycle in range(1 + Int8ReadOut.cycles(g, one_by_one=one_by_one) + 3):
                ctx.set(dut.start, cycle == 0)
                ctx.set(dut.last, last)
                assert ctx.get(dut.words.valid) == (cycle >= 4)
                if cycle >= 4:
                    seen.append((ctx.get(dut.words.channel), ctx.get(dut.words.end),
                                 ctx.get(dut.words.end_of_pass),
                                 [ctx.get(value) for value in dut.words.values]))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == wanted
