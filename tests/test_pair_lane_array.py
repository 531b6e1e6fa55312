# amaranth: UnusedElaboratable=no
"""Pair lanes against sums by numpy, and their carry cells against their expression."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from equivalence import prove

from bamac.fpga import FpgaError
from bamac_hw.datapath.pair_lane_array import PairLaneArray

PIXELS, CHANNELS = 3, 4


@pytest.mark.parametrize("acc_bits", [16, 17, 24])
def test_sums_starts_and_doublings(acc_bits):
    """Any order of additions, start values, doublings, bubbles and clears gives numpy's sums."""
    rng = np.random.default_rng(acc_bits)
    dut = PairLaneArray(pixels=PIXELS, channels=CHANNELS, acc_bits=acc_bits)
    kinds = ["start", "double", "compute", "compute", "compute", "bubble", "clear"]
    steps = [(str(rng.choice(kinds)), rng.integers(0, 2, (PIXELS, 2)),
              rng.integers(-254, 255, (2, CHANNELS)),
              rng.integers(-1 << (acc_bits - 1), 1 << (acc_bits - 1), CHANNELS))
             for _ in range(300)]
    steps[0] = ("clear", *steps[0][1:])
    for k, weights in enumerate(((-254, -254), (254, 254), (-127, -254), (-254, 254))):
        steps[1 + k] = ("compute", np.ones((PIXELS, 2), int),
                        np.repeat(weights, CHANNELS).reshape(2, CHANNELS), steps[1 + k][3])
    compared = []

    async def testbench(ctx):
        wrap = 1 << acc_bits
        expected = np.zeros((PIXELS, CHANNELS), int)
        for cycle in range(len(steps) + 1):
            # The operands come one cycle behind the step and its bits.
            if cycle < len(steps):
                kind, bits, _, _ = steps[cycle]
                ctx.set(dut.step_5, {kind: 1} if kind in ("start", "double", "compute") else {})
                ctx.set(dut.bits, int((bits.reshape(-1) << np.arange(2 * PIXELS)).sum()))
            if cycle:
                kind, bits, (first, second), start = steps[cycle - 1]
                ctx.set(dut.clear, kind == "clear")
                for channel in range(CHANNELS):
                    ctx.set(dut.first[channel], int(first[channel]))
                    ctx.set(dut.second[channel], int(second[channel]))
                    ctx.set(dut.total[channel], int(
                        start[channel] if kind == "start" else first[channel] + second[channel]))
                expected = {
                    "start": expected + start, "double": 2 * expected, "bubble": expected,
                    "clear": 0 * expected,
                    "compute": expected + np.outer(bits[:, 0], first)
                    + np.outer(bits[:, 1], second),
                }[kind]
            await ctx.tick()
            if cycle:
                actual = [ctx.get(acc) % wrap for acc in dut.acc]
                assert actual == (expected % wrap).reshape(-1).tolist(), (cycle, kind)
                compared.append(actual)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == 300


def one_lane(acc_bits):
    return lambda family: PairLaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_do_what_the_expression_does(tmp_path, acc_bits):
    prove(tmp_path, one_lane(acc_bits))


def test_proof_sees_a_wrong_table(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, one_lane(16), ("16'h065a", "16'h064a"))


def test_unknown_family():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        PairLaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")
