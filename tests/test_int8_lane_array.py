# amaranth: UnusedElaboratable=no
"""Int8 lanes against products by numpy, and their carry cells against their expression."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from equivalence import prove

from bamac_hw.datapath.int8_lane_array import Int8LaneArray

PIXELS, CHANNELS, BITS = 2, 3, 24


@pytest.mark.parametrize("multiplier", ["shift-add", "dsp"])
def test_sums_of_products(multiplier):
    """Every product of extremes, then random ones, with pauses and new sums in between."""
    rng = np.random.default_rng(8)
    dut = Int8LaneArray(pixels=PIXELS, channels=CHANNELS, acc_bits=BITS, multiplier=multiplier)
    extremes = [(w, v) for w in (-128, -127, -1, 0, 1, 127) for v in (0, 1, 127, 128, 254, 255)]
    steps = [("clear", np.zeros(CHANNELS, int), np.zeros(PIXELS, int))]
    steps += [("en", np.full(CHANNELS, w), np.full(PIXELS, v)) for w, v in extremes]
    steps += [(str(rng.choice(["en", "en", "en", "pause", "clear"])),
               rng.integers(-127, 128, CHANNELS), rng.integers(0, 256, PIXELS))
              for _ in range(200)]
    wanted, sums = [], np.zeros((PIXELS, CHANNELS), int)
    for kind, weight, value in steps:
        sums = {"en": sums + np.outer(value, weight), "pause": sums, "clear": 0 * sums}[kind]
        wanted.append(sums.reshape(-1).tolist())
    compared = []

    async def testbench(ctx):
        for cycle in range(len(steps) + dut.latency):
            if cycle >= dut.latency:
                actual = [ctx.get(acc) for acc in dut.acc]
                assert actual == wanted[cycle - dut.latency], cycle - dut.latency
                compared.append(actual)
            kind, weight, value = steps[min(cycle, len(steps) - 1)]
            ctx.set(dut.en, kind == "en" and cycle < len(steps))
            ctx.set(dut.clear, kind == "clear" and cycle < len(steps))
            for port, number in zip(dut.weight, weight.tolist(), strict=True):
                ctx.set(port, number)
            for port, number in zip(dut.value, value.tolist(), strict=True):
                ctx.set(port, number)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == len(steps)


def test_carry_cells_do_what_the_expression_does(tmp_path):
    prove(tmp_path, lambda family: Int8LaneArray(pixels=1, channels=1, acc_bits=17, family=family))


def test_unknown_arguments():
    sizes = {"pixels": 1, "channels": 1, "acc_bits": 16}
    with pytest.raises(ValueError, match="^Multiplier must be shift-add or dsp, not 'booth'$"):
        Int8LaneArray(**sizes, multiplier="booth")
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        Int8LaneArray(**sizes, family="ice40")
