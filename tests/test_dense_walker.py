# amaranth: UnusedElaboratable=no
"""The walk's steps and windows against nested loops, and its cycles against the formula."""

from itertools import product

import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.datapath import variant_of
from bamac_hw.geometry import Geometry

START_BYTES = 3  # 20-bit accumulators


def geometry(tile, **values):
    return Geometry("g", tile_rows=tile[0], tile_cols=tile[1], channels=4, weight_rows=16,
                    **values)


def run(tile, layer, *, slot=0, above=0, ahead=0, busy=lambda cycle: 0, planes=None, **values):
    """Record each cycle of one job: steps that are set, windows of loads, cause, starts.

    The planes of loads go to the list ``planes``.
    """
    array = geometry(tile, **values)
    dut = variant_of(array).walker(array)
    cycles = []

    async def testbench(ctx):
        ctx.set(dut.layer, layer)
        ctx.set(dut.job.place.slot, slot)
        ctx.set(dut.job.place.above, above)
        ctx.set(dut.job.place.ahead, ahead)
        ctx.set(dut.job.place.prepare, 1)
        await ctx.tick()
        ctx.set(dut.job.place.prepare, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.job.start, 1)
        await ctx.tick()
        ctx.set(dut.job.start, 0)
        for cycle in range(5000):
            ctx.set(dut.collect.busy, busy(cycle))
            step = ctx.get(dut.work.step)
            window = ctx.get(dut.fetch.window)
            names = {name for name in ("byte", "start", "pass_", "load", "shift", "compute",
                                       "row", "clear", "capture", "double")
                     if getattr(step, name)}
            if planes is not None and step.load:
                planes.append(step.plane)
            causes = [name for name in ("fetching", "tiling", "collecting", "loading")
                      if ctx.get(getattr(dut.causes, name))]
            assert len(causes) + ("compute" in names) == 1, "every cycle has one cause"
            done = ctx.get(dut.job.done)
            # With stride 2 every other row and column is of no interest.
            rows_in, cols_in = (mask & (0b0101 if layer.get("stride2") and size > 1 else -1)
                                for mask, size in zip((window.rows_in, window.cols_in), tile,
                                                      strict=True))
            place = (rows_in, cols_in, window.slot_low, window.slot_high,
                     window.group_low, window.group_high)
            cycles.append((names, place if "load" in names else None,
                           causes[0] if causes else "compute", ctx.get(dut.collect.start),
                           ctx.get(dut.job.place.next_slot)))
            await ctx.tick()
            if done:
                break
        else:
            raise AssertionError("the walk does not end")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return cycles


@pytest.mark.parametrize("tile", [(1, 1), (2, 2), (4, 2), (2, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("source", [Source.INPUT, Source.LINE])
@pytest.mark.parametrize("row, rows", [(2, 100), (-2, 3), (2, 4)])
def test_steps_and_windows(tile, stride, source, row, rows):
    """Jobs within a map, over its upper edge, and over its lower one; a map with odd columns."""
    tile_rows, tile_cols = tile
    kernel, passes, tiles, left, cols = (3, 2), 2, 3, 1, 3 * tile[1] * stride - 2
    span = (tile_rows - 1) * stride + kernel[0]
    words, word_bits, end_bits = (1, 5, 5) if source == Source.INPUT else (2, 4, 3)
    slots, pitch, base = 5, 40, 100
    first_slot = 3  # so that the ring wraps under the kernel
    layer = {
        "source": source, "emit": Emit.MAP, "stride2": stride - 1,
        "kernel_rows_last": kernel[0] - 1, "kernel_cols_last": kernel[1] - 1,
        "word_bits_last": word_bits - 1, "end_bits_last": end_bits - 1, "groups_last": words - 1,
        "ring_base": base, "ring_end": base + (slots - 1) * pitch, "pitch": pitch,
        "row_low": row % tile_rows, "col_low": -left % tile_cols, "padding_left": left,
        "col_to_last": cols - 1 + left, "span": span,
        "group_start": (-left // tile_cols) * words,
        "tiles_last": tiles - 1, "passes_last": passes - 1,
    }
    phases = list(product(range(stride if tile_rows > 1 else 1),
                          range(stride if tile_cols > 1 else 1)))

    def address(r, c, word, above):
        """Ring slot and group of the window's first row and column, or one tile behind."""
        slot = base + (first_slot + (r // tile_rows - row // tile_rows) + above) % slots * pitch
        return slot, ((c // tile_cols + above) * words + word) % (1 << 9)

    expected = []
    for _ in range(passes):
        expected += [({"byte"}, None)] * START_BYTES
        for t in range(tiles):
            expected.append(({"start"} | ({"pass_"} if t == 0 else set()), None))
            for i, j, word in product(*map(range, kernel), range(words)):
                for phase_row, phase_col in phases:
                    r = row + i + phase_row * tile_rows
                    c = -left + t * tile_cols * stride + j + phase_col * tile_cols
                    (low, group_low), (high, group_high) = (
                        address(r, c, word, above) for above in (0, 1))
                    inside = [sum((0 <= at + k < size) << k for k in range(0, n, stride))
                              for at, size, n in ((r, rows, tile_rows), (c, cols, tile_cols))]
                    expected.append(({"load"}, (*inside, low, high, group_low, group_high)))
                expected[-1][0].update({"compute", "row"})
                for _ in range(1, end_bits if word == words - 1 else word_bits):
                    expected.append(({"shift", "compute"} | (
                        {"row"} if source == Source.LINE else set()), None))
            expected.append((
                {"clear", "capture"} | ({"pass_"} if t == tiles - 1 else set()), None))
    cycles = run(tile, layer, slot=base + first_slot * pitch, above=max(0, -row),
                 ahead=rows - row - span)
    for number, (actual, wanted) in enumerate(zip(cycles, expected, strict=False)):
        assert actual[:2] == wanted, f"cycle {number}"
    taps = kernel[0] * kernel[1]
    steps = taps * ((words - 1) * word_bits + end_bits)
    assert len(cycles) == len(expected) == passes * (
        START_BYTES + tiles * (2 + steps + taps * words * (len(phases) - 1)))
    following = base + (first_slot + stride) % slots * pitch
    assert {cycle[4] for cycle in cycles[2:]} == {following}, "from the third cycle on"


@pytest.mark.parametrize("acc_bits", [16, 20])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("source, bits", [(Source.INPUT, 8), (Source.INPUT, 5), (Source.INPUT, 2),
                                          (Source.INPUT, 1), (Source.VECTOR, 16),
                                          (Source.LINE, 3), (Source.LINE, 1)])
def test_pair_lanes_take_two_bits_at_a_time(source, bits, stride, acc_bits):
    """Planes from the top, with two doublings behind each two, and the start before the last."""
    kernel, passes, tiles, left, tile = (1, 2), 2, 3, 1, (2, 2)
    words = 2 if source == Source.LINE else 1
    word_bits = 4 if source == Source.LINE else bits
    layer = {
        "source": source, "emit": Emit.MAP, "stride2": stride - 1,
        "kernel_rows_last": 0, "kernel_cols_last": 1, "word_bits_last": word_bits - 1,
        "end_bits_last": bits - 1, "groups_last": words - 1, "ring_end": 100, "pitch": 20,
        "col_low": 1, "group_start": -words, "tiles_last": tiles - 1, "passes_last": passes - 1,
    }
    if source == Source.VECTOR:
        layer["emit"] = Emit.UNSIGNED
    fetches = stride * stride - 1
    rounds = 1 if source == Source.LINE else -(-bits // 2)
    expected, places, wanted_planes = [], [], []
    for _ in range(passes):
        expected += [{"byte"}] * (1 if acc_bits == 16 else 2)
        for t in range(tiles):
            for plane in reversed(range(rounds)):
                if plane == 0:
                    expected.append({"start"} | ({"pass_"} if t == 0 else set()))
                for j, word in product(range(kernel[1]), range(words)):
                    expected += [{"load"}] * fetches + [{"load", "compute", "row"}]
                    places += [((-left + t * 2 * stride + j + phase * 2) // 2 * words + word) % 512
                               for _ in range(stride) for phase in range(stride)]
                    wanted_planes += [plane] * stride * stride
                    if source == Source.LINE and (bits > 2 or word < words - 1):
                        expected.append({"shift", "compute", "row"})
                if plane:
                    expected += [{"double"}] * 2
            last = {"pass_"} if t == tiles - 1 else set()
            if source == Source.VECTOR:
                expected.append({"clear"} | last)
            else:
                expected.append({"clear", "capture"} | last)
    planes = []
    cycles = run(tile, layer, planes=planes, lane="pair", acc_bits=acc_bits)
    actual = [cycle[0] for cycle in cycles]
    if source == Source.VECTOR:  # the cycles that wait for the lanes have no step
        actual = [step for step in actual if step]
    assert actual == expected
    assert [cycle[1][4] for cycle in cycles if cycle[1]] == places
    assert planes == wanted_planes


def test_global_tiles_wait_for_the_collector():
    layer = {"source": Source.LINE, "emit": Emit.GLOBAL_MAX, "tiles_last": 1,
             "word_bits_last": 3, "end_bits_last": 3}
    free = run((2, 2), layer)
    assert [cycle[2] for cycle in free] == ["loading"] * 3 + (
        ["tiling"] + ["compute"] * 4 + ["tiling"]) * 2
    late = run((2, 2), layer, busy=lambda cycle: 5 <= cycle < 15)
    assert [cycle[2] for cycle in late] == ["loading"] * 3 + ["tiling"] + ["compute"] * 4 + [
        "collecting"] * 7 + ["tiling"] * 2 + ["compute"] * 4 + ["tiling"]


def test_dense_layers_wait_for_the_lanes_and_the_read_out():
    layer = {"source": Source.VECTOR, "emit": Emit.UNSIGNED, "groups_last": 2,
             "word_bits_last": 1, "end_bits_last": 1}
    # Bytes 0-2, start 3, six steps 4-9, six cycles until the lanes have added: 10-15.
    cycles = run((2, 2), layer, busy=lambda cycle: 16 <= cycle < 20)
    assert [cycle[2] for cycle in cycles] == ["loading"] * 3 + ["tiling"] + ["compute"] * 6 + [
        "collecting"] * 10 + ["tiling"]
    assert [n for n, cycle in enumerate(cycles) if cycle[3]] == [15]
    assert cycles[-1][0] == {"clear", "pass_"}, "a dense layer writes no tile"
