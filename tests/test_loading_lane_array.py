# amaranth: UnusedElaboratable=no
"""Accumulators that can take a start value, against numpy, and their carry cells by proof."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from equivalence import prove

from bamac.fpga import FpgaError
from bamac_hw.datapath.loading_lane_array import LoadingLaneArray


@pytest.mark.parametrize("pixels, streams", [(3, 1), (4, 2)])
def test_sums_and_start_values(pixels, streams):
    channels, bits = 4, 12
    rng = np.random.default_rng(5)
    enables, adds = rng.integers(0, 2, (2, 60, pixels))
    adds[1:] |= rng.random((59, 1)) < 0.8
    enables[0], adds[0] = 1, 0
    operands = rng.integers(-127, 128, (60, streams, channels))
    operands[1], operands[2] = -127, 127
    dut = LoadingLaneArray(pixels=pixels, channels=channels, acc_bits=bits, streams=streams)
    compared = []

    async def testbench(ctx):
        expected = np.zeros((pixels, channels), int)
        for enable, add, operand in zip(enables, adds, operands, strict=True):
            ctx.set(dut.en, int((enable << np.arange(pixels)).sum()))
            ctx.set(dut.add, int((add << np.arange(pixels)).sum()))
            for port, value in zip(dut.operand, operand.ravel().tolist(), strict=True):
                ctx.set(port, value)
            await ctx.tick()
            # The first half of the pixels takes the first stream's operands
            after = expected * add[:, None] + np.repeat(operand, pixels // streams, axis=0)
            expected = np.where(enable[:, None] == 1, after, expected)
            actual = [ctx.get(acc) for acc in dut.acc]
            assert actual == expected.reshape(-1).tolist()
            compared.append(actual)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == 60


def one_lane(acc_bits):
    return lambda family: LoadingLaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_do_what_the_expression_does(tmp_path, acc_bits):
    prove(tmp_path, one_lane(acc_bits))


def test_proof_sees_a_wrong_table(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, one_lane(16), ("16'h006c", "16'h006e"))


def test_unknown_family():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        LoadingLaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")
