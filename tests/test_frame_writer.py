# amaranth: UnusedElaboratable=no
"""Frames on their way into the ring: addresses, credit, errors, the end of a clip."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.geometry import Geometry
from bamac_hw.memory.frame_writer import FrameWriter


def simulate(testbench, tile=(2, 2), walk="dense", options=None, **header):
    g = Geometry("g", tile_rows=tile[0], tile_cols=tile[1], channels=4, weight_rows=16, walk=walk,
                 **(options or {}))
    dut = FrameWriter(g)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    finished = []

    async def run(ctx):
        ctx.set(dut.control.header, header)
        await testbench(ctx, dut)
        finished.append(True)

    simulator.add_testbench(run)
    simulator.run()
    assert finished


async def send(ctx, dut, value, *, last):
    """``(bank mask, address, data, errors)`` of one value that must be taken at once."""
    ctx.set(dut.i.payload, {"value": value & 0xFF, "last": int(last)})
    ctx.set(dut.i.valid, 1)
    assert ctx.get(dut.i.ready)
    errors = ctx.get(dut.error_short), ctx.get(dut.error_long), ctx.get(dut.error_range)
    await ctx.tick()
    ctx.set(dut.i.valid, 0)
    return ctx.get(dut.write.en), ctx.get(dut.write.addr), ctx.get(dut.write.data[0]), errors


async def release(ctx, dut, rows, finish=0):
    ctx.set(dut.control.released, rows)
    ctx.set(dut.control.release, 1)
    ctx.set(dut.control.finish, finish)
    await ctx.tick()
    ctx.set(dut.control.release, 0)
    ctx.set(dut.control.finish, 0)


@pytest.mark.parametrize("tile", [(2, 2), (1, 1), (4, 2), (2, 4)])
@pytest.mark.parametrize("cols", [5, 8])
def test_values_go_round_the_ring(tile, cols):
    rows, slots, base = 19, 3, 7
    tile_rows, tile_cols = tile
    pitch = -(-cols // tile_cols)
    frames = np.random.default_rng(cols).integers(-128, 128, (rows, cols)).tolist()

    async def testbench(ctx, dut):
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for row in range(rows):
            assert ctx.get(dut.control.missing) == rows - 2 - row
            for col in range(cols):
                mask, address, data, errors = await send(
                    ctx, dut, frames[row][col], last=col == cols - 1)
                bank = row % tile_rows * tile_cols + col % tile_cols
                slot = row // tile_rows % slots
                assert mask == 1 << bank, (row, col)
                assert address == base + slot * pitch + col // tile_cols, (row, col)
                assert data == frames[row][col] + 128
                assert errors == (0, 0, 0)
        assert ctx.get(dut.control.missing) == -2
        assert not ctx.get(dut.i.ready), "the clip is complete"
        await ctx.tick()
        assert ctx.get(dut.write.en) == 0
    simulate(testbench, tile, rows_last=rows - 1, rows_needed=rows - 2,
             cols_last=cols - 1, ring_base=base, ring_end=base + (slots - 1) * pitch,
             pitch=pitch, credit=100, offset=128)


@pytest.mark.parametrize("bits, signed", [(8, True), (8, False), (5, True), (1, False)])
def test_the_event_driven_walk_gets_magnitude_and_sign(bits, signed):
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = list(range(low, high + 1))

    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for value in values:
            _, _, data, errors = await send(ctx, dut, value, last=value == high)
            assert (data & 0xFF, data >> 8) == (abs(value), value < 0)
            assert errors == (0, 0, 0)
    simulate(testbench, walk="event", rows_last=0, cols_last=len(values) - 1, pitch=128, credit=1,
             offset=-low, high_mask=0xFF & ~((1 << bits) - 1))


def test_a_row_begins_when_there_is_credit():
    async def testbench(ctx, dut):
        async def row():
            for col in range(3):
                await send(ctx, dut, 1, last=col == 2)

        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        await row()
        await row()
        for _ in range(3):
            assert not ctx.get(dut.i.ready), "the ring is full"
            await ctx.tick()
        await release(ctx, dut, 2)
        await row()
        # A release in the cycle that ends a row is not lost.
        await send(ctx, dut, 1, last=False)
        await send(ctx, dut, 1, last=False)
        ctx.set(dut.control.release, 1)
        ctx.set(dut.control.released, 1)
        await send(ctx, dut, 1, last=True)
        ctx.set(dut.control.release, 0)
        await row()
        assert not ctx.get(dut.i.ready)
        assert ctx.get(dut.control.missing) == 10 - 5
    simulate(testbench, rows_last=9, rows_needed=10, cols_last=2, ring_base=0, ring_end=2, pitch=2,
             credit=2)


def test_the_rest_of_a_finished_clip_passes_and_the_next_begins():
    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for clip in range(2):
            for row in range(2):
                assert (ctx.get(dut.control.missing), ctx.get(dut.control.idle)) == (2 - row, 0)
                for col in range(2):
                    address = (await send(ctx, dut, 0, last=col == 1))[1]
                    assert address == 4 + (row // 2), f"clip {clip} starts at the ring's base"
            assert not ctx.get(dut.i.ready)
            await release(ctx, dut, 2, finish=1)
            assert ctx.get(dut.control.idle), "what passes now is for nobody"
            for _ in range(3):
                for col in range(2):
                    await send(ctx, dut, 0, last=col == 1)
                assert ctx.get(dut.control.idle)
            assert not ctx.get(dut.i.ready)
            await ctx.tick()
            assert ctx.get(dut.i.ready)
    simulate(testbench, rows_last=4, rows_needed=2, cols_last=1, ring_base=4, ring_end=5, pitch=1,
             credit=2)


def test_disabling_forgets_the_clip():
    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for col in (0, 1, 2, 0):
            await send(ctx, dut, 5, last=col == 2)
        assert ctx.get(dut.control.missing) == 4 - 1
        ctx.set(dut.control.enable, 0)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        assert ctx.get(dut.control.missing) == 4
        for col in range(3):
            mask, address, _, errors = await send(ctx, dut, 5, last=col == 2)
            assert (mask, address, errors) == (1 << col % 2, col // 2, (0, 0, 0))
    simulate(testbench, rows_last=3, rows_needed=4, cols_last=2, ring_base=0, ring_end=2, pitch=2,
             credit=4)


def test_errors_are_told():
    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        # 4-bit signed values, two to a frame.
        for value, last, errors in ((0, False, (0, 0, 0)), (0, False, (0, 1, 0)),
                                    (7, True, (1, 0, 0)), (-8, True, (0, 0, 0)),
                                    (8, False, (0, 0, 1)), (-9, True, (0, 0, 1)),
                                    (127, True, (1, 0, 1)), (-128, False, (0, 1, 1))):
            assert (await send(ctx, dut, value, last=last))[3] == errors, value
    simulate(testbench, rows_last=9, cols_last=1, ring_base=0, ring_end=0, pitch=1, credit=9,
             offset=8, high_mask=0xF0)


@pytest.mark.parametrize("tile_cols", [1, 2, 4])
def test_interleaved_channels_go_to_the_words_of_their_column(tile_cols):
    channels, cols = 3, 5

    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for stopped_at in (7, None):    # stopped within a column, and started again
            for n in range(channels * cols if stopped_at is None else stopped_at):
                mask, addr, data, errors = await send(ctx, dut, n, last=n == channels * cols - 1)
                col, channel = divmod(n, channels)
                assert (mask, addr, data) == (
                    1 << col % tile_cols, 2 + col // tile_cols * channels + channel, n)
                assert errors == (0, 0, 0)
            ctx.set(dut.control.enable, 0)
            await ctx.tick().repeat(2)
            ctx.set(dut.control.enable, 1)
            await ctx.tick().repeat(2)

    simulate(testbench, (1, tile_cols), options={"interleaved": True}, channels_last=channels - 1,
             cols_last=channels * cols - 1, rows_last=9, ring_base=2, ring_end=40, pitch=19,
             credit=3)


@pytest.mark.parametrize("offset, zero_point, values", [
    (128, -128, (-128, -1, 0, 127)), (128, 127, (-128, 0, 126, 127)), (0, 255, (0, 1, 254, 255)),
    (0, 1, (0, 1, 2, 255)), (8, 3, (-8, -1, 3, 7)),
])
def test_a_zero_point_is_subtracted_before_the_sign_is_stored(offset, zero_point, values):
    async def testbench(ctx, dut):
        ctx.set(dut.control.enable, 1)
        await ctx.tick()
        for value in values:
            _, _, stored, _ = await send(ctx, dut, value, last=False)
            wanted = value - zero_point
            assert stored == abs(wanted) + (256 if wanted < 0 else 0)

    simulate(testbench, (1, 1), "event", {"zero_points": True}, offset=offset,
             zero_point=zero_point, cols_last=9, rows_last=9, ring_end=40, pitch=20, credit=3)
