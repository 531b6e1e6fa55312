# amaranth: UnusedElaboratable=no
"""Pooling and placement of a tile's bits against numpy's maximum."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.geometry import Geometry
from bamac_hw.output.write_back import WriteBack

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
