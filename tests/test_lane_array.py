# amaranth: UnusedElaboratable=no
"""The accumulators against sums by numpy, and their carry cells by proof."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from equivalence import prove

from bamac.fpga import FpgaError
from bamac_hw.datapath.lane_array import LaneArray


def test_gated_sums_and_clear():
    pixels, channels, bits = 3, 4, 12
    rng = np.random.default_rng(5)
    enables = rng.integers(0, 2, (40, pixels))
    wrap = 1 << bits
    ports = rng.integers(0, wrap, (40, 3, channels))
    ports[::2, 2] = wrap - 1
    ports[0] = np.array([wrap - 127, 0, wrap - 1])[:, None]
    ports[1] = np.array([0, wrap - 127, wrap - 1])[:, None]
    ports[2, 2] = 0
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
            for enable, (operand, fill, gate) in zip(enables[steps], ports[steps], strict=True):
                ctx.set(dut.en, int((enable << np.arange(pixels)).sum()))
                for port, values in ((dut.operand, operand), (dut.fill, fill), (dut.gate, gate)):
                    for channel, value in enumerate(values.tolist()):
                        ctx.set(port[channel], value)
                await ctx.tick()
                expected += np.outer(enable, (operand | fill) & gate)
                actual = [ctx.get(acc) % wrap for acc in dut.acc]
                assert actual == (expected % wrap).reshape(-1).tolist()
                compared.append(actual)

    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == 40


def one_lane(acc_bits):
    return lambda family: LaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_do_what_the_expression_does(tmp_path, acc_bits):
    prove(tmp_path, one_lane(acc_bits))


def test_proof_sees_a_wrong_table(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, one_lane(16), ("16'h56aa", "16'h54aa"))


def test_unknown_family():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        LaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")
