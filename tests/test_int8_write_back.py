# amaranth: UnusedElaboratable=no
"""Pooling and placement of a tile's values against numpy's maximum."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from test_write_back import cases

from bamac_hw.geometry import Geometry
from bamac_hw.output.int8_write_back import Int8WriteBack


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
