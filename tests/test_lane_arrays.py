# amaranth: UnusedElaboratable=no
"""The accumulators of every lane against numpy's sums, and their carry cells by proof."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from equivalence import prove

from bamac.fpga import FpgaError
from bamac_hw.datapath.int8_lane_array import Int8LaneArray
from bamac_hw.datapath.lane_array import LaneArray
from bamac_hw.datapath.loading_lane_array import LoadingLaneArray
from bamac_hw.datapath.pair_lane_array import PairLaneArray

# --- Gated lanes: one operand, gated by each pixel's bit


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


def gated_lane(acc_bits):
    return lambda family: LaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_of_gated_lanes_are_their_expression(tmp_path, acc_bits):
    prove(tmp_path, gated_lane(acc_bits))


def test_proof_sees_a_wrong_table_in_gated_lanes(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, gated_lane(16), ("16'h56aa", "16'h54aa"))


def test_unknown_family_of_gated_lanes():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        LaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")


# --- Event-driven lanes, which can take a start value


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


def loading_lane(acc_bits):
    return lambda family: LoadingLaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_of_loading_lanes_are_their_expression(tmp_path, acc_bits):
    prove(tmp_path, loading_lane(acc_bits))


def test_proof_sees_a_wrong_table_in_loading_lanes(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, loading_lane(16), ("16'h006c", "16'h006e"))


def test_unknown_family_of_loading_lanes():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        LoadingLaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")


# --- Pair lanes: two bits per step

PAIR_PIXELS, PAIR_CHANNELS = 3, 4


@pytest.mark.parametrize("acc_bits", [16, 17, 24])
def test_sums_starts_and_doublings(acc_bits):
    """Any order of additions, start values, doublings, bubbles and clears gives numpy's sums."""
    rng = np.random.default_rng(acc_bits)
    dut = PairLaneArray(pixels=PAIR_PIXELS, channels=PAIR_CHANNELS, acc_bits=acc_bits)
    kinds = ["start", "double", "compute", "compute", "compute", "bubble", "clear"]
    steps = [(str(rng.choice(kinds)), rng.integers(0, 2, (PAIR_PIXELS, 2)),
              rng.integers(-254, 255, (2, PAIR_CHANNELS)),
              rng.integers(-1 << (acc_bits - 1), 1 << (acc_bits - 1), PAIR_CHANNELS))
             for _ in range(300)]
    steps[0] = ("clear", *steps[0][1:])
    for k, weights in enumerate(((-254, -254), (254, 254), (-127, -254), (-254, 254))):
        steps[1 + k] = ("compute", np.ones((PAIR_PIXELS, 2), int),
                        np.repeat(weights, PAIR_CHANNELS).reshape(2, PAIR_CHANNELS),
                        steps[1 + k][3])
    compared = []

    async def testbench(ctx):
        wrap = 1 << acc_bits
        expected = np.zeros((PAIR_PIXELS, PAIR_CHANNELS), int)
        for cycle in range(len(steps) + 1):
            # The operands come one cycle behind the step and its bits.
            if cycle < len(steps):
                kind, bits, _, _ = steps[cycle]
                ctx.set(dut.step_5, {kind: 1} if kind in ("start", "double", "compute") else {})
                ctx.set(dut.bits, int((bits.reshape(-1) << np.arange(2 * PAIR_PIXELS)).sum()))
            if cycle:
                kind, bits, (first, second), start = steps[cycle - 1]
                ctx.set(dut.clear, kind == "clear")
                for channel in range(PAIR_CHANNELS):
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


def pair_lane(acc_bits):
    return lambda family: PairLaneArray(pixels=1, channels=1, acc_bits=acc_bits, family=family)


@pytest.mark.parametrize("acc_bits", [16, 17])
def test_carry_cells_of_pair_lanes_are_their_expression(tmp_path, acc_bits):
    prove(tmp_path, pair_lane(acc_bits))


def test_proof_sees_a_wrong_table_in_pair_lanes(tmp_path):
    with pytest.raises(FpgaError, match="unproven"):
        prove(tmp_path, pair_lane(16), ("16'h065a", "16'h064a"))


def test_unknown_family_of_pair_lanes():
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        PairLaneArray(pixels=1, channels=1, acc_bits=16, family="ice40")


# --- Int8 lanes: a product per step

INT8_PIXELS, INT8_CHANNELS, INT8_BITS = 2, 3, 24


@pytest.mark.parametrize("multiplier", ["shift-add", "dsp"])
def test_sums_of_products(multiplier):
    """Every product of extremes, then random ones, with pauses and new sums in between."""
    rng = np.random.default_rng(8)
    dut = Int8LaneArray(pixels=INT8_PIXELS, channels=INT8_CHANNELS, acc_bits=INT8_BITS,
                        multiplier=multiplier)
    extremes = [(w, v) for w in (-128, -127, -1, 0, 1, 127) for v in (0, 1, 127, 128, 254, 255)]
    steps = [("clear", np.zeros(INT8_CHANNELS, int), np.zeros(INT8_PIXELS, int))]
    steps += [("en", np.full(INT8_CHANNELS, w), np.full(INT8_PIXELS, v)) for w, v in extremes]
    steps += [(str(rng.choice(["en", "en", "en", "pause", "clear"])),
               rng.integers(-127, 128, INT8_CHANNELS), rng.integers(0, 256, INT8_PIXELS))
              for _ in range(200)]
    wanted, sums = [], np.zeros((INT8_PIXELS, INT8_CHANNELS), int)
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


def test_carry_cells_of_int8_lanes_are_their_expression(tmp_path):
    prove(tmp_path, lambda family: Int8LaneArray(pixels=1, channels=1, acc_bits=17, family=family))


def test_unknown_arguments_of_int8_lanes():
    sizes = {"pixels": 1, "channels": 1, "acc_bits": 16}
    with pytest.raises(ValueError, match="^Multiplier must be shift-add or dsp, not 'booth'$"):
        Int8LaneArray(**sizes, multiplier="booth")
    with pytest.raises(ValueError, match="^Family must be ecp5 or None, not 'ice40'$"):
        Int8LaneArray(**sizes, family="ice40")
