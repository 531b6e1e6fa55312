"""Global pools of 8-bit values and raw scores, against sums and maxima from numpy."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import Emit
from bamac_hw.geometry import Geometry
from bamac_hw.output.int8_collector import Int8Collector

GEOMETRY = Geometry("g", channels=16, lane="int8", weight_rows=16)
AT_ONCE = GEOMETRY.word_channels


def run(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("emit, shift", [(Emit.GLOBAL_SUM, 0), (Emit.GLOBAL_SUM, 5),
                                         (Emit.GLOBAL_MAX, 5)])
def test_values_are_pooled_over_the_tiles_of_a_clip(emit, shift):
    channels, tiles, base = 32, 4, 7
    rng = np.random.default_rng(shift)
    values = rng.integers(0, 256, (2, tiles, GEOMETRY.pixels, channels))  # of two clips
    values[0, :, :, 3] = 255
    values[0, :, :, 4] = 0
    masks = rng.integers(1, 16, (2, tiles))
    memory = {}
    results = []

    async def testbench(ctx):
        ctx.set(dut.layer, {"emit": emit, "pool_shift": shift, "out_base": base})

        async def tick():
            wanted = ctx.get(dut.read.addr) if ctx.get(dut.read.en) else None
            if ctx.get(dut.write.en):
                memory[ctx.get(dut.write.addr)] = ctx.get(dut.write.data)
            await ctx.tick()
            ctx.set(dut.read.data, memory.get(wanted, 0x155))

        for clip in range(2):
            for tile in range(tiles):
                ctx.set(dut.pooled.first, tile == 0)
                ctx.set(dut.pooled.final, tile == tiles - 1)
                ctx.set(dut.pooled.mask, int(masks[clip, tile]))
                for channel in range(channels):
                    word = channel // AT_ONCE * AT_ONCE
                    ctx.set(dut.pooled.load, 1)
                    ctx.set(dut.pooled.pass_, channel // 16)
                    ctx.set(dut.pooled.index, channel % 16)
                    for bank, port in enumerate(dut.pooled.data):
                        ctx.set(port, sum(int(values[clip, tile, bank, word + k]) << 8 * k
                                          for k in range(AT_ONCE)))
                    await tick()
                ctx.set(dut.pooled.load, 0)
            for _ in range(8):
                await tick()
            results.append([memory[base + channel] for channel in range(channels)])

    dut = Int8Collector(GEOMETRY)
    run(dut, testbench)
    chosen = np.where(masks[:, :, None, None] >> np.arange(4)[:, None] & 1, values, 0)
    expected = (np.minimum(chosen.sum((1, 2)) >> shift, 255) if emit == Emit.GLOBAL_SUM
                else chosen.max((1, 2)))
    assert results == expected.tolist()
    if emit == Emit.GLOBAL_SUM and not shift:
        assert (expected == 255).any() and (expected < 255).any(), "both sides of the limit"


def test_scores_leave_in_order_and_wait_until_they_are_taken():
    rng = np.random.default_rng(8)
    sums = rng.integers(-(1 << 19), 1 << 19, 16).tolist()
    taken, waited = [], [0]

    async def testbench(ctx):
        ctx.set(dut.layer, {"emit": Emit.RAW, "passes_last": 1, "pass_channels_last": 15,
                            "end_channels_last": 2})
        chosen = 0
        for _ in range(2):  # passes
            ctx.set(dut.collect.start, 1)
            await ctx.tick()
            ctx.set(dut.collect.start, 0)
            while ctx.get(dut.collect.busy):
                for k, port in enumerate(dut.head.sums):
                    ctx.set(port, sums[chosen // AT_ONCE * AT_ONCE + k])
                ready = int(rng.random() < 0.6)
                ctx.set(dut.scores.ready, ready)
                if ctx.get(dut.scores.valid):
                    waited[0] += not ready
                    assert ctx.get(dut.stalled) == (not ready)
                    if ready:
                        payload = ctx.get(dut.scores.payload)
                        taken.append((payload["value"], payload["last"]))
                chosen = ctx.get(dut.head.chosen)
                await ctx.tick()

    dut = Int8Collector(GEOMETRY)
    run(dut, testbench)
    assert taken == [(value, 0) for value in sums] + [
        (value, int(k == 2)) for k, value in enumerate(sums[:3])]
    assert waited[0] > 3
