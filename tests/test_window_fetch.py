# amaranth: UnusedElaboratable=no
"""Activation bits of tiles anywhere in a map against slices of a padded numpy array."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import Source
from bamac_hw.datapath import variant_of
from bamac_hw.geometry import Geometry

CHANNELS = 4
SHAPES = [(1, 1), (2, 2), (2, 4), (4, 2), (1, 4)]


def build(tile, source, rows, cols, stride, pad, lane, walk="dense", family=None):
    """A map of random words in banks, and what a tile at (row, col) must see."""
    tile_rows, tile_cols = tile
    geometry = Geometry("g", tile_rows=tile_rows, tile_cols=tile_cols, channels=CHANNELS,
                        weight_rows=16, lane=lane, walk=walk)
    dut = variant_of(geometry).fetch(geometry, family=family)
    bits = 8 if source == Source.INPUT else CHANNELS
    words = np.random.default_rng(rows * cols + stride).integers(0, 1 << bits, (rows, cols))
    pitch = -(-cols // tile_cols)
    banks = [{} for _ in range(tile_rows * tile_cols)]
    for row in range(rows):
        for col in range(cols):
            banks[row % tile_rows * tile_cols + col % tile_cols][
                100 + row // tile_rows * pitch + col // tile_cols] = int(words[row, col])
    border = 16
    padded = np.pad(words, border, constant_values=pad)

    def expected(row, col):
        return padded[border + row:border + row + tile_rows * stride:stride,
                      border + col:border + col + tile_cols * stride:stride].reshape(-1)

    def window(row, col, phase_row, phase_col):
        # Ring slots wrap in hardware; here the map is whole, and rows above it are never read.
        first_row, first_col = row + phase_row * tile_rows, col + phase_col * tile_cols
        slot = (100 + first_row // tile_rows * pitch) % (1 << 9)
        group = (first_col // tile_cols) % (1 << 9)
        return {"slot_low": slot, "slot_high": (slot + pitch) % (1 << 9),
                "group_low": group, "group_high": (group + 1) % (1 << 9),
                "row_low": row % tile_rows, "col_low": col % tile_cols,
                "rows_in": sum((0 <= first_row + i < rows) << i for i in range(tile_rows)),
                "cols_in": sum((0 <= first_col + j < cols) << j for j in range(tile_cols)),
                "phase_row": phase_row, "phase_col": phase_col}

    return dut, banks, bits, expected, window


async def tick(ctx, dut, banks, data, enables, unread):
    """A cycle in which the memories answer; a bank that is not read shows ``unread``."""
    words = [bank[ctx.get(dut.line.addr[b])] if enables >> b & 1 else unread
             for b, bank in enumerate(banks)]
    await ctx.tick()
    for port, word in zip(data, words, strict=True):
        ctx.set(port, word)


@pytest.mark.parametrize("tile", SHAPES)
@pytest.mark.parametrize("source, pad", [(Source.INPUT, 0x80), (Source.LINE, 0)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lane, family", [("gated", None), ("gated", "ice40"), ("pair", None)])
def test_bits_of_every_position(tile, source, pad, stride, lane, family):
    """Pair lanes are offered two bits; two planes of a value have a load of their own."""
    rows, cols = 5, 6
    dut, banks, bits, expected, window = build(tile, source, rows, cols, stride, pad, lane,
                                                family=family)
    at_once = 2 if lane == "pair" else 1
    reads = bits // 2 if lane == "pair" and source == Source.INPUT else 1
    phases = [(r, c) for r in range(stride if tile[0] > 1 else 1)
              for c in range(stride if tile[1] > 1 else 1)]
    # Every rotation of the banks and every overlap with the padding.
    positions = [(r, c) for r in range(-3, rows + 1) for c in range(-3, cols + 1)]
    steps = []  # (step, window, tile position whose bit must follow)
    for row, col in positions:
        for bit in range(0, bits, at_once):
            if bit % (bits // reads) == 0:
                for phase in phases:
                    steps.append(({"load": 1, "plane": bit // 2 if reads > 1 else 0},
                                  window(row, col, *phase), None))
            else:
                steps.append(({"shift": 1, "compute": 1}, window(row, col, *phases[-1]), None))
            steps[-1] = (*steps[-1][:2], (row, col, bit))
    compared, port_reads = [0], [0, 0, 0]

    async def testbench(ctx):
        ctx.set(dut.layer, {"source": source, "stride2": stride - 1, "pad": pad})
        data = dut.input.data if source == Source.INPUT else dut.line.data
        enable = dut.input.en if source == Source.INPUT else dut.line.en
        idle = {"load": 0}
        for cycle in range(len(steps) + 5):
            if cycle >= 5 and steps[cycle - 5][2]:  # stage 5: the bits are there
                row, col, bit = steps[cycle - 5][2]
                wanted = (expected(row, col) >> bit & 2 ** at_once - 1).tolist()
                actual = [ctx.get(dut.request.bits) >> at_once * k & 2 ** at_once - 1
                          for k in range(len(banks))]
                assert actual == wanted, (row, col, bit)
                compared[0] += 1
            ctx.set(dut.request.step, steps[cycle][0] if cycle < len(steps) else idle)
            if cycle < len(steps):
                ctx.set(dut.request.window, steps[cycle][1])
            enables = ctx.get(enable)
            others = [ctx.get(dut.input.en), ctx.get(dut.line.en), ctx.get(dut.vector.en)]
            port_reads[:] = [a + b.bit_count() for a, b in zip(port_reads, others, strict=True)]
            await tick(ctx, dut, banks, data, enables, unread=0x5A & 2 ** bits - 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert compared[0] == len(positions) * bits // at_once
    # Each pixel inside the map is read once for each tile that sees it, and no other memory.
    inside = sum(0 <= r + i * stride < rows and 0 <= c + j * stride < cols
                 for r, c in positions for i in range(tile[0]) for j in range(tile[1]))
    wanted = [0, 0, 0]
    wanted[source.value] = inside * reads
    assert port_reads == wanted


@pytest.mark.parametrize("tile", SHAPES)
@pytest.mark.parametrize("source", [Source.INPUT, Source.LINE])
@pytest.mark.parametrize("stride", [1, 2])
def test_words_of_the_event_driven_walk(tile, source, stride):
    """A word is in the register of its bank; with stride 2, of its bank's pair and its phase."""
    rows, cols = 5, 6
    dut, banks, _, expected, window = build(tile, source, rows, cols, stride, 0, "gated", "event")
    phases = [(r, c) for r in range(stride if tile[0] > 1 else 1)
              for c in range(stride if tile[1] > 1 else 1)]
    positions = [(r, c) for r in range(-3, rows + 1) for c in range(-3, cols + 1)]
    steps = [(window(row, col, *phase), (row, col) if phase == phases[-1] else None)
             for row, col in positions for phase in phases]

    def register(first, pixel, size):
        bank = (first + stride * pixel) % size
        return bank if stride == 1 or size == 1 else (bank & ~1) + (2 * pixel >= size)

    compared = []

    async def testbench(ctx):
        ctx.set(dut.layer, {"source": source, "stride2": stride - 1})
        data = dut.input.data if source == Source.INPUT else dut.line.data
        enable = dut.input.en if source == Source.INPUT else dut.line.en
        for cycle in range(len(steps) + 5):
            if cycle >= 5 and steps[cycle - 5][1]:
                row, col = steps[cycle - 5][1]
                found = [ctx.get(dut.request.words[register(row, i, tile[0]) * tile[1]
                                           + register(col, j, tile[1])])
                         for i in range(tile[0]) for j in range(tile[1])]
                assert found == expected(row, col).tolist(), (row, col)
                compared.append(found)
            ctx.set(dut.request.load, int(cycle < len(steps)))
            if cycle < len(steps):
                ctx.set(dut.request.window, steps[cycle][0])
            await tick(ctx, dut, banks, data, ctx.get(enable), unread=0x5)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(compared) == len(positions)


@pytest.mark.parametrize("family", [None, "ice40"])
def test_vector_words_go_to_every_pixel_bit_by_bit(family):
    geometry = Geometry("g", channels=CHANNELS, weight_rows=16)
    dut = variant_of(geometry).fetch(geometry, family=family)
    seen = []

    async def testbench(ctx):
        ctx.set(dut.layer, {"source": Source.VECTOR})
        ctx.set(dut.line.data[0], (1 << CHANNELS) - 1)  # of the memories that are not read
        ctx.set(dut.input.data[0], 0xFF)
        for cycle in range(5 + 16):
            ctx.set(dut.request.window,
                    {"slot_low": 0, "group_low": 37, "rows_in": 1, "cols_in": 1})
            ctx.set(dut.request.step, {"load": int(cycle == 0), "shift": int(cycle > 0)})
            reading = ctx.get(dut.vector.en)
            assert reading == (cycle == 2)
            if reading:
                assert ctx.get(dut.vector.addr) == 37
            if cycle >= 5:
                seen.append(ctx.get(dut.request.bits) & 1)
            await ctx.tick()
            ctx.set(dut.vector.data, 0xB00D if reading else 0xFFFF)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert seen == [0xB00D >> k & 1 for k in range(16)]
