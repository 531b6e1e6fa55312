# amaranth: UnusedElaboratable=no
"""Global pooling and raw scores against numpy, of binary maps and of 8-bit values."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import Emit
from bamac_hw.geometry import Geometry
from bamac_hw.output.collector import Collector
from bamac_hw.output.int8_collector import Int8Collector

# --- Binary maps, with the latencies that are promised

G = Geometry("four", channels=4, acc_bits=18, weight_rows=16, vector_words=64)


def simulate(testbench, family=None):
    """Run with a vector memory; ``written`` is its content by address."""
    m = Module()
    m.submodules.dut = dut = Collector(G, family=family)
    m.submodules.memory = memory = Memory(shape=16, depth=64, init=[999] * 64)
    read, write = memory.read_port(), memory.write_port()
    m.d.comb += [
        read.en.eq(dut.read.en), read.addr.eq(dut.read.addr), dut.read.data.eq(read.data),
        write.en.eq(dut.write.en), write.addr.eq(dut.write.addr), write.data.eq(dut.write.data),
    ]
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    finished = []

    async def run(ctx):
        await testbench(ctx, dut, memory)
        finished.append(True)

    simulator.add_testbench(run)
    simulator.run()
    assert finished


async def until_free(ctx, dut):
    """Cycles until the collector is free, counted from the current one."""
    cycles = 0
    while ctx.get(dut.collect.busy):
        assert cycles < 100
        await ctx.tick()
        cycles += 1
    return cycles


@pytest.mark.parametrize("emit", [Emit.GLOBAL_MAX, Emit.GLOBAL_SUM])
@pytest.mark.parametrize("channels", [8, 7, 5])
def test_global_pool(emit, channels):
    rng = np.random.default_rng(channels)
    tiles = rng.integers(0, 16, (2, 5, 2, 4))         # clip, tile, pass, pixel: bits by channel
    tiles[1] &= tiles[1] >> 1                          # the second clip has fewer ones
    masks = rng.integers(0, 16, (2, 5))

    async def testbench(ctx, dut, memory):
        ctx.set(dut.layer, {"emit": emit, "passes_last": 1, "pass_channels_last": 3,
                            "end_channels_last": channels - 5, "out_base": 10})
        for clip in range(2):
            for number in range(2):
                for tile in range(5):
                    ctx.set(dut.collect.capture, 1)
                    await ctx.tick()
                    ctx.set(dut.collect.capture, 0)
                    assert ctx.get(dut.collect.busy), "busy from the cycle after the reservation"
                    await ctx.tick().repeat(3)
                    assert ctx.get(dut.collect.busy)
                    ctx.set(dut.pooled.load, 1)
                    ctx.set(dut.pooled.first, int(tile == 0))
                    ctx.set(dut.pooled.pass_, number)
                    ctx.set(dut.pooled.mask, int(masks[clip, tile]))
                    for port, bits in zip(dut.pooled.data, tiles[clip, tile, number].tolist(),
                                          strict=True):
                        ctx.set(port, bits)
                    await ctx.tick()
                    ctx.set(dut.pooled.load, 0)
                    count = 4 if number == 0 else channels - 4
                    assert await until_free(ctx, dut) == count + 3
            pixel_on = masks[clip][:, None] >> np.arange(4) & 1         # tile, pixel
            bits = tiles[clip][..., None] >> np.arange(4) & 1           # tile, pass, pixel, channel
            on = (bits * pixel_on[:, None, :, None]).transpose(0, 2, 1, 3).reshape(20, 8)
            expected = on.max(axis=0) if emit == Emit.GLOBAL_MAX else on.sum(axis=0)
            actual = [ctx.get(memory.data[10 + k]) for k in range(channels)]
            assert actual == expected[:channels].tolist(), f"clip {clip}"
            assert ctx.get(memory.data[10 + channels]) == 999 and ctx.get(memory.data[9]) == 999
    simulate(testbench)


def reference(emit, acc, shift, bits):
    if emit == Emit.BIT:
        return int(acc >= 0)
    return min(max(acc // 2 ** shift, 0), 2 ** bits - 1)


@pytest.mark.parametrize("emit, shift, bits", [
    (Emit.UNSIGNED, 0, 1), (Emit.UNSIGNED, 3, 4), (Emit.UNSIGNED, 0, 16), (Emit.UNSIGNED, 31, 8),
    (Emit.UNSIGNED, 1, 8), (Emit.BIT, 0, 1),
])
@pytest.mark.parametrize("family", [None, "ice40"])
def test_dense_outputs_go_to_the_vector_memory(emit, shift, bits, family):
    low, high = -(1 << 17), (1 << 17) - 1
    limit = (2 ** bits << min(shift, 8)) % high
    corners = [low, high, 0, -1, 1, limit - 1, limit, limit + 1, 255, 256, -256]

    async def testbench(ctx, dut, memory):
        ctx.set(dut.layer, {"emit": emit, "passes_last": 2, "pass_channels_last": 3,
                            "end_channels_last": 2, "out_base": 20, "shift": shift,
                            "limit": 2 ** bits - 1})
        expected = [reference(emit, acc, shift, bits) for acc in corners]
        for _ in range(2):  # the counts begin anew with each clip
            words = []
            for number in range(3):
                chosen = corners[4 * number:4 * number + 4]
                for port, acc in zip(dut.head.acc, chosen, strict=False):
                    ctx.set(port, acc)
                ctx.set(dut.collect.start, 1)
                await ctx.tick()
                ctx.set(dut.collect.start, 0)
                cycles = 0
                while ctx.get(dut.collect.busy):
                    if ctx.get(dut.record.valid):
                        words.append((ctx.get(dut.record.index), ctx.get(dut.record.value)))
                    assert not ctx.get(dut.scores.valid)
                    await ctx.tick()
                    cycles += 1
                assert cycles == len(chosen) * (5 + shift)
            assert words == list(enumerate(expected))
            assert [ctx.get(memory.data[20 + k]) for k in range(12)] == [*expected, 999]
    simulate(testbench, family)


@pytest.mark.parametrize("stall", [0, 1, 3])
@pytest.mark.parametrize("family", [None, "ice40"])
def test_raw_scores_wait_to_be_taken(stall, family):
    accs = [-(1 << 17), (1 << 17) - 1, 0, -1, 12345]

    async def testbench(ctx, dut, memory):
        ctx.set(dut.layer, {"emit": Emit.RAW, "passes_last": 1, "pass_channels_last": 3,
                            "end_channels_last": 0, "out_base": 0})
        for _ in range(2):
            taken = []
            for number in range(2):
                chosen = accs[4 * number:4 * number + 4]
                for port, acc in zip(dut.head.acc, chosen, strict=False):
                    ctx.set(port, acc)
                ctx.set(dut.collect.start, 1)
                await ctx.tick()
                ctx.set(dut.collect.start, 0)
                cycles = 0
                waited = 0
                held = None
                while ctx.get(dut.collect.busy):
                    assert cycles < 100
                    valid = ctx.get(dut.scores.valid)
                    ready = int(not valid or waited == stall)
                    ctx.set(dut.scores.ready, ready)
                    assert ctx.get(dut.stalled) == (valid and not ready)
                    beat = (ctx.get(dut.scores.payload.value), ctx.get(dut.scores.payload.last))
                    if held is not None:
                        assert valid and beat == held, "held while it is not taken"
                    held = beat if valid and not ready else None
                    if valid and ready:
                        taken.append(beat)
                        waited = 0
                    elif valid:
                        waited += 1
                    await ctx.tick()
                    cycles += 1
                assert cycles == len(chosen) * (5 + stall)
            assert taken == [(acc, int(k == 4)) for k, acc in enumerate(accs)]
            assert ctx.get(memory.data[0]) == 999, "raw scores are not written"
    simulate(testbench, family)


# --- 8-bit values

INT8_GEOMETRY = Geometry("g", channels=16, lane="int8", weight_rows=16)
AT_ONCE = INT8_GEOMETRY.word_channels


def simulate_int8(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("emit, shift", [(Emit.GLOBAL_SUM, 0), (Emit.GLOBAL_SUM, 5),
                                         (Emit.GLOBAL_MAX, 5)])
def test_values_are_pooled_over_the_tiles_of_a_clip(emit, shift):
    channels, tiles, base = 32, 4, 7
    rng = np.random.default_rng(shift)
    values = rng.integers(0, 256, (2, tiles, INT8_GEOMETRY.pixels, channels))  # of two clips
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

    dut = Int8Collector(INT8_GEOMETRY)
    simulate_int8(dut, testbench)
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

    dut = Int8Collector(INT8_GEOMETRY)
    simulate_int8(dut, testbench)
    assert taken == [(value, 0) for value in sums] + [
        (value, int(k == 2)) for k, value in enumerate(sums[:3])]
    assert waited[0] > 3
