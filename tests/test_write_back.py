# amaranth: UnusedElaboratable=no
"""Write-back of a tile's results, of binary and of int8 maps."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.geometry import Geometry
from bamac_hw.output.int8_write_back import Int8WriteBack
from bamac_hw.output.write_back import WriteBack

# --- Binary maps

CHANNELS = 4


def cases():
    for tile in ((1, 1), (2, 2), (2, 4), (4, 1)):
        for rows in (1, 2, 4):
            for cols in (1, 2, 4):
                if rows <= tile[0] and cols <= tile[1]:
                    yield tile, (rows, cols)


def set_signs(ctx, dut, positive):
    """Accumulators that are 0 where a lane's bit is set, and -1 elsewhere."""
    for lane, acc in enumerate(dut.results.acc):
        ctx.set(acc, (positive >> lane & 1) - 1)


@pytest.mark.parametrize("tile, pool", list(cases()))
@pytest.mark.parametrize("out_cols", [3, 4])
@pytest.mark.parametrize("family", [None, "ice40"])
def test_pooled_map_lands_in_its_banks(tile, pool, out_cols, family):
    """Every job of a map with odd sizes, two passes, one tile per cycle."""
    tile_rows, tile_cols = tile
    out_rows, passes, base = 5, 2, 3
    block_rows = tile_rows // pool[0]
    jobs = -(-out_rows // block_rows)
    tiles = -(-out_cols * pool[1] // tile_cols)
    shape = (passes, jobs * tile_rows, tiles * tile_cols, CHANNELS)
    bits = np.random.default_rng(tile_rows + 7 * pool[1]).integers(0, 2, shape)
    bits &= np.random.default_rng(1).integers(0, 2, shape)
    pitch = -(-out_cols // tile_cols) * passes
    dut = WriteBack(Geometry("g", tile_rows=tile_rows, tile_cols=tile_cols, channels=CHANNELS,
                             weight_rows=16), family=family)
    memory, order = {}, []

    async def testbench(ctx):
        ctx.set(dut.layer, {
            "pool_rows_log2": pool[0].bit_length() - 1, "pool_cols_log2": pool[1].bit_length() - 1,
            "tiles_last": tiles - 1, "out_groups": passes, "out_rows": out_rows,
            "out_cols": out_cols})

        def collect():
            if not ctx.get(dut.record.valid):
                return
            assert ctx.get(dut.pooled.first) == (ctx.get(dut.record.tile) == 0)
            order.append((ctx.get(dut.record.pass_), ctx.get(dut.record.tile),
                          ctx.get(dut.record.bits)))
            for bank in range(tile_rows * tile_cols):
                if ctx.get(dut.line.en) >> bank & 1:
                    key = bank, ctx.get(dut.line.addr)
                    assert key not in memory, "each word is written once"
                    memory[key] = ctx.get(dut.line.data[bank])

        for job in range(jobs):
            out_row = job * block_rows
            ctx.set(dut.job.left, out_rows - out_row)
            ctx.set(dut.job.low, out_row % tile_rows)
            ctx.set(dut.job.slot, base + out_row // tile_rows * pitch)
            ctx.set(dut.job.first, 1)
            ctx.set(dut.job.start, 1)
            await ctx.tick()
            ctx.set(dut.job.start, 0)
            first = len(order)
            expected = []
            for number in range(passes):
                for tile_index in range(tiles):
                    chosen = bits[number, job * tile_rows:(job + 1) * tile_rows,
                                  tile_index * tile_cols:(tile_index + 1) * tile_cols]
                    packed = sum(int(b) << k for k, b in enumerate(chosen.reshape(-1)))
                    set_signs(ctx, dut, packed)
                    ctx.set(dut.results.capture, 1)
                    ctx.set(dut.results.last, tile_index == tiles - 1)
                    expected.append((number, tile_index, packed))
                    await ctx.tick()
                    collect()
            ctx.set(dut.results.capture, 0)
            set_signs(ctx, dut, 0)
            # A capture is at the output two cycles later, so one is left; then none.
            assert len(order) - first == passes * tiles - 1
            await ctx.tick()
            collect()
            await ctx.tick()
            collect()
            assert order[first:] == expected

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()

    expected = {}
    for number in range(passes):
        for row in range(out_rows):
            for col in range(out_cols):
                window = bits[number, row * pool[0]:(row + 1) * pool[0],
                              col * pool[1]:(col + 1) * pool[1]]
                word = (window.max(axis=(0, 1)) << np.arange(CHANNELS)).sum()
                bank = row % tile_rows * tile_cols + col % tile_cols
                address = base + row // tile_rows * pitch + col // tile_cols * passes + number
                expected[bank, address] = int(word)
    assert memory == expected


# --- Int8 maps


@pytest.mark.parametrize("tile, pool", list(cases()))
def test_pooled_values_land_in_their_banks(tile, pool):
    """Every job of a map with odd sizes, two passes of which the second is not full."""
    tile_rows, tile_cols = tile
    g = Geometry("g", tile_rows=tile_rows, tile_cols=tile_cols, channels=16, lane="int8",
                 weight_rows=16)
    out_rows, out_cols, channels, at_once, base = 5, 3, 21, 2, 3
    block_rows = tile_rows // pool[0]
    jobs, tiles = -(-out_rows // block_rows), -(-out_cols * pool[1] // tile_cols)
    values = np.random.default_rng(tile_rows + 7 * pool[1]).integers(
        0, 256, (jobs * tile_rows, tiles * tile_cols, 32))
    words = -(-channels // at_once)
    pitch = -(-out_cols // tile_cols) * words
    dut = Int8WriteBack(g)
    memory = {}

    async def testbench(ctx):
        ctx.set(dut.layer, {
            "pool_rows_log2": pool[0].bit_length() - 1, "pool_cols_log2": pool[1].bit_length() - 1,
            "tiles_last": tiles - 1, "passes_last": 1, "pass_channels_last": 15,
            "end_channels_last": channels - 17, "out_groups": words, "out_rows": out_rows,
            "out_cols": out_cols})

        def collect():
            for bank in range(g.pixels):
                if ctx.get(dut.line.en) >> bank & 1:
                    key = bank, ctx.get(dut.line.addr)
                    assert key not in memory, "each word is written once"
                    memory[key] = ctx.get(dut.line.data[bank])

        for job in range(jobs):
            out_row = job * block_rows
            ctx.set(dut.job.left, out_rows - out_row)
            ctx.set(dut.job.low, out_row % tile_rows)
            ctx.set(dut.job.slot, base + out_row // tile_rows * pitch)
            ctx.set(dut.job.first, 1)
            ctx.set(dut.job.start, 1)
            await ctx.tick()
            ctx.set(dut.job.start, 0)
            for number in range(2):
                for t in range(tiles):
                    for channel in range(0, 16, at_once):
                        part = values[job * tile_rows:(job + 1) * tile_rows,
                                      t * tile_cols:(t + 1) * tile_cols,
                                      16 * number + channel:16 * number + channel + at_once]
                        for port, value in zip(dut.results.values, part.reshape(-1).tolist(),
                                               strict=True):
                            ctx.set(port, value)
                        end = channel == 14
                        ctx.set(dut.results.valid, 1)
                        ctx.set(dut.results.channel, channel)
                        ctx.set(dut.results.end, end)
                        ctx.set(dut.results.end_of_pass, end and t == tiles - 1)
                        await ctx.tick()
                        collect()
                        assert ctx.get(dut.pooled.first) == (t == 0)
                        assert ctx.get(dut.pooled.final) == (t == tiles - 1 and job == jobs - 1)
            ctx.set(dut.results.valid, 0)
            ctx.set(dut.results.end, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    pooled = values.reshape(jobs * block_rows, pool[0], -1, pool[1], 32).max(axis=(1, 3))
    wanted = {}
    for row in range(out_rows):
        for col in range(out_cols):
            bank = row % tile_rows * tile_cols + col % tile_cols
            for word in range(words):
                address = base + row // tile_rows * pitch + col // tile_cols * words + word
                # The last word has a channel that no layer reads
                wanted[bank, address] = int(pooled[row, col, 2 * word]
                                            + 256 * pooled[row, col, 2 * word + 1])
    assert memory == wanted
