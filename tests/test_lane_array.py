# amaranth: UnusedElaboratable=no
"""The accumulators against sums by numpy."""

import numpy as np
from amaranth.sim import Simulator

from bamac_hw.lane_array import LaneArray


def test_gated_sums_and_clear():
    pixels, channels, bits = 3, 4, 12
    rng = np.random.default_rng(5)
    enables = rng.integers(0, 2, (40, pixels))
    operands = rng.integers(-127, 128, (40, channels))
    operands[0], operands[1] = -127, 127
    dut = LaneArray(pixels=pixels, channels=channels, acc_bits=bits)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    compared = []

    async def testbench(ctx):
        for clip in range(2):
            # Clear wins over the enables.
            ctx.set(dut.clear, 1)
            ctx.set(dut.en, (1 << pixels) - 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            expected = np.zeros((pixels, channels), int)
            steps = slice(20 * clip, 20 * clip + 20)
            for enable, operand in zip(enables[steps], operands[steps], strict=True):
                ctx.set(dut.en, int((enable << np.arange(pixels)).sum()))
                for port, value in zip(dut.operand, operand.tolist(), strict=True):
                    ctx.set(port, value)
                await ctx.tick()
                expected += np.outer(enable, operand)
                actual = [ctx.get(acc) for acc in dut.acc]
                assert actual == expected.reshape(-1).tolist()
                compared.append(actual)

    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == 40
