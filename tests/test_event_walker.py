# amaranth: UnusedElaboratable=no
"""The event-driven walk against nested loops over a map, and its cycles counted by hand."""

from functools import reduce
from itertools import product
from operator import or_

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import Emit, Source
from bamac_hw.control.event_walker import QUEUE_DEPTH, EventWalker
from bamac_hw.geometry import Geometry
from bamac_hw.pipeline import READ_STAGE, WORD_STAGE

START_BYTES = 3  # 20-bit accumulators
CAUSES = ("fetching", "tiling", "collecting", "loading")


def run(layer, word_of, *, tile=(2, 2), channels=4, row=0, busy=lambda cycle: 0, limit=5000,
        streams=1):
    """One job; ``word_of(pixel row, pixel column, word number)`` is what the memories hold.

    Returns the operations in order, the cause of each cycle, and the cycles that load a window.
    With several streams, the operations are a list for each, with its own pixels' bits.
    """
    places = list(product(
        range(layer.get("tiles_last", 0) + 1), range(layer.get("kernel_rows_last", 0) + 1),
        range(layer.get("kernel_cols_last", 0) + 1), range(layer.get("groups_last", 0) + 1)))
    geometry = Geometry("g", tile_rows=tile[0], tile_cols=tile[1], channels=channels,
                        weight_rows=512, walk="event", streams=streams)
    dut = EventWalker(geometry)
    steps, causes, loads, weight_rows, bits, reads_out = [], [], [], [], [], []
    part = (1 << geometry.pixels // streams) - 1
    due = {}
    noise = np.random.default_rng(5)

    async def testbench(ctx):
        ctx.set(dut.layer, layer)
        await ctx.tick().repeat(3)
        ctx.set(dut.job.place.prepare, 1)
        await ctx.tick()
        ctx.set(dut.job.place.prepare, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.job.start, 1)
        await ctx.tick()
        ctx.set(dut.job.start, 0)
        # Run on behind the end, for what is still in the pipeline.
        tail = None
        for cycle in range(1, limit):
            ctx.set(dut.collect.busy, busy(cycle))
            # The memories' words are there in their cycle only.
            words = due.pop(cycle, None) or noise.integers(0, 256, geometry.pixels).tolist()
            for port, word in zip(dut.fetch.words, words, strict=True):
                ctx.set(port, word)
            now = [ctx.get(step) for step in (dut.work.step, *dut.work.additions)]
            computes = any(step.compute for step in now)
            weight_rows.append([ctx.get(port) for port in dut.work.rows])
            bits.append([ctx.get(dut.work.bits) >> stream * geometry.pixels // streams & part
                         for stream in range(streams)])
            if tail is None:
                steps.append(now)
                names = [name for name in CAUSES if ctx.get(getattr(dut.causes, name))]
                names += ["compute"] * computes
                assert len(names) == 1, f"every cycle has one cause, not {names}"
                causes.extend(names)
                reads_out.extend([cycle] * ctx.get(dut.collect.start))
                if ctx.get(dut.fetch.load):
                    t, tap_row, tap_col, number = places[len(loads) % len(places)]
                    window = ctx.get(dut.fetch.window)
                    words = [0] * geometry.pixels
                    for i, j in product(range(tile[0]), range(tile[1])):
                        bank = ((window.row_low + i) % tile[0] * tile[1]
                                + (window.col_low + j) % tile[1])
                        words[bank] = word_of(row + tap_row + i, t * tile[1] + tap_col + j, number)
                    due[cycle + WORD_STAGE] = words
                    loads.append(cycle)
                if ctx.get(dut.job.done):
                    tail = 0
            else:
                assert not ctx.get(dut.fetch.load) and not computes
                tail += 1
                if tail > WORD_STAGE:
                    return
            await ctx.tick()
        raise AssertionError("the walk does not end")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()

    operations = [[] for _ in range(streams)]
    for n, (shared, *_) in enumerate(steps):
        for stream, found in enumerate(operations):
            step = steps[n][stream]
            if shared.byte:
                found.append(("byte", weight_rows[n + READ_STAGE][0]))
            elif step.compute:
                reads = weight_rows[n + READ_STAGE][stream] if step.row else None
                found.append(("event", reads, bits[n + WORD_STAGE][stream], step.plane))
            elif causes[n] == "tiling":
                what = ["end"] * shared.capture + ["start"] * shared.start
                found.append((" and ".join(what) or "leave", bool(shared.pass_)))
            else:
                assert not step.row
    return operations if streams > 1 else operations[0], causes, loads, reads_out


def expected_operations(layer, words_of, weight_base, rows_of_word, tile, row, part=None):
    """Nested loops: passes, tiles, taps, words, bit positions; of a ``part`` of a tile's rows."""
    channels_of_word = rows_of_word
    operations, base = [], weight_base
    for _ in range(layer["passes_last"] + 1):
        operations += [("byte", base + k) for k in range(START_BYTES)]
        operations.append(("start", False))
        for t in range(layer["tiles_last"] + 1):
            at = base + START_BYTES
            for i, j, number in product(range(layer["kernel_rows_last"] + 1),
                                        range(layer["kernel_cols_last"] + 1),
                                        range(layer["groups_last"] + 1)):
                words = [words_of(row + i + pr, t * tile[1] + j + pc, number)
                         for pr, pc in product(part or range(tile[0]), range(tile[1]))]
                operations += list(events_of(layer["source"], words, at))
                at += channels_of_word(number)
            last = t == layer["tiles_last"]
            operations.append(("end" if last else "end and start", last))
        base = at
    return operations


def events_of(source, words, at):
    if source == Source.LINE:
        for bit in range(64):
            pixels = sum((word >> bit & 1) << q for q, word in enumerate(words))
            if pixels:
                yield ("event", at + bit, pixels, 0)
        return
    for sign in (0, 1):
        read = False
        for plane in range(8):
            pixels = sum((word >> plane & 1) << q for q, word in enumerate(words)
                         if word >> 8 == sign)
            if pixels:
                yield ("event", None if read else at + sign, pixels, plane)
                read = True


@pytest.mark.parametrize("tile", [(2, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_events_of_a_binary_map(tile, density):
    rng = np.random.default_rng(int(100 * density))
    maps = (rng.random((40, 40, 2, 4)) < density) @ (1 << np.arange(4))
    maps[..., 1] &= 7  # the last word has three channels
    layer = {
        "source": Source.LINE, "emit": Emit.MAP, "kernel_rows_last": 2, "kernel_cols_last": 1,
        "word_bits_last": 3, "end_bits_last": 2, "groups_last": 1, "tiles_last": 3,
        "passes_last": 2, "weight_base": 300, "row_low": 2 % tile[0],
    }

    def word_of(row, col, number):
        return int(maps[row, col, number])

    operations, causes, loads, _ = run(layer, word_of, tile=tile, row=2)
    expected = expected_operations(layer, word_of, 300, lambda number: 4 - number, tile, 2)
    assert operations == expected
    assert len(loads) == 3 * 4 * 3 * 2 * 2, "each word is fetched once per pass"
    events = sum(operation[0] == "event" for operation in expected)
    assert causes.count("compute") == events
    assert causes.count("tiling") == 3 * (4 + 1) and causes.count("loading") == 3 * START_BYTES
    if density == 1:
        # Nothing is waited for but the first word.
        assert causes.count("fetching") == 4


def test_events_of_signed_values():
    rng = np.random.default_rng(3)
    values = rng.integers(-128, 128, (12, 12))
    values[:3, :3] = [[-128, 127, 0], [0, 0, 0], [1, -1, 64]]
    stored = np.where(values < 0, 256 - values, values)
    layer = {
        "source": Source.INPUT, "emit": Emit.MAP, "kernel_rows_last": 2, "kernel_cols_last": 2,
        "word_bits_last": 7, "end_bits_last": 7, "groups_last": 0, "tiles_last": 2,
        "passes_last": 1, "weight_base": 7,
    }

    def word_of(row, col, number):
        return int(stored[row, col])

    operations, *_ = run(layer, word_of)
    assert operations == expected_operations(layer, word_of, 7, lambda number: 2, (2, 2), 0)
    assert ("event", 7 + START_BYTES + 1, 1, 7) in operations, "the plane of -128"


def test_one_word_takes_this_long():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 3, "end_bits_last": 3}
    _, causes, loads, _ = run(layer, lambda *place: 0b1011)
    # Loaded in cycle 1, at the head in 8, held from 9 on.
    assert loads == [1]
    assert causes == ["loading"] * 3 + ["tiling"] + ["fetching"] * 4 + ["compute"] * 3 + ["tiling"]


def test_empty_words_pass_at_one_per_cycle():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 3, "end_bits_last": 3,
             "kernel_rows_last": 6, "kernel_cols_last": 6, "tiles_last": 1}
    operations, causes, loads, _ = run(layer, lambda *place: 0)
    assert loads == list(range(1, 99))
    # The first tile ends with word 48 (loaded in cycle 49), the second with word 97.
    assert [n + 1 for n, cause in enumerate(causes) if cause == "tiling"] == [4, 57, 106]
    assert [operation[0] for operation in operations[3:]] == ["start", "end and start", "end"]


def test_fetching_stops_at_a_full_queue():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 63, "end_bits_last": 63,
             "kernel_rows_last": 6, "kernel_cols_last": 6}
    operations, causes, loads, _ = run(layer, lambda *place: (1 << 64) - 1, channels=64)
    # One word is held from cycle 9 to 72; its place in the queue is free.
    assert [cycle for cycle in loads if cycle <= 72] == list(range(1, QUEUE_DEPTH + 2))
    assert loads[QUEUE_DEPTH + 1:] == [73 + 64 * n for n in range(49 - QUEUE_DEPTH - 1)]
    assert causes[8:] == ["compute"] * 49 * 64 + ["tiling"]
    assert len(operations) == START_BYTES + 1 + 49 * 64 + 1


def test_global_tiles_wait_for_the_collector():
    layer = {"source": Source.LINE, "emit": Emit.GLOBAL_MAX, "tiles_last": 1,
             "word_bits_last": 3, "end_bits_last": 3}
    _, causes, _, _ = run(layer, lambda *place: 0b1111, busy=lambda cycle: 6 <= cycle < 20)
    # Held from cycle 9, so 13 would be the first tile's end.
    assert causes == (["loading"] * 3 + ["tiling"] + ["fetching"] * 4 + ["compute"] * 4
                      + ["collecting"] * 7 + ["tiling"] + ["compute"] * 4 + ["tiling"])


def test_dense_layers_wait_for_the_lanes_and_the_read_out():
    layer = {"source": Source.VECTOR, "emit": Emit.UNSIGNED, "groups_last": 2, "passes_last": 1,
             "word_bits_last": 15, "end_bits_last": 15, "weight_base": 40}
    vector = [0x0081, 0, 0x0302]

    def word_of(row, col, number):
        return vector[number] if (row, col) == (0, 0) else 0

    operations, causes, _, reads_out = run(layer, word_of, busy=lambda cycle: 24 <= cycle < 28)
    # Planes 8 and 9 are 2 and 4 times plane 7.
    per_pass = [("start", False), ("event", 43, 1, 0), ("event", None, 1, 7),
                ("event", 45, 1, 1), *[("event", None, 1, 7)] * (2 + 4), ("leave", False)]
    assert operations[:14] == [("byte", row) for row in (40, 41, 42)] + per_pass
    assert operations[14:17] == [("byte", row) for row in (46, 47, 48)]
    assert [operation[1] for operation in operations if operation[0] == "event"] == [
        43, None, 45, *[None] * 6, 49, None, 51, *[None] * 6]
    # Events in cycles 9 to 17, the empty word leaves in between; 18 to 23 for the lanes.
    assert causes[8:28] == ["compute"] * 9 + ["collecting"] * 10 + ["tiling"]
    assert reads_out[0] == 23 and len(reads_out) == 2


@pytest.mark.parametrize("value", [0x8000, 0xFFFF, 0x0180, 0x0100, 0x7F00])
def test_high_planes_of_a_vector_add_up_to_the_value(value):
    layer = {"source": Source.VECTOR, "emit": Emit.RAW, "word_bits_last": 15, "end_bits_last": 15}
    operations, *_ = run(layer, lambda row, col, number: value * ((row, col) == (0, 0)))
    planes = [operation[3] for operation in operations if operation[0] == "event"]
    assert sum(1 << plane for plane in planes) == value and max(planes) == 7


def test_a_pass_may_begin_with_empty_words():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "kernel_cols_last": 3, "passes_last": 1,
             "word_bits_last": 3, "end_bits_last": 3, "weight_base": 100}

    def word_of(row, col, number):
        return 0b0100 if col == 3 else 0

    operations, *_ = run(layer, word_of, tile=(1, 1))
    events = [("event", base + START_BYTES + 3 * 4 + 2, 1, 0) for base in (100, 119)]
    assert operations == [
        operation for base, event in zip((100, 119), events, strict=True)
        for operation in [("byte", base), ("byte", base + 1), ("byte", base + 2), ("start", False),
                          event, ("end", True)]]


def test_union_is_over_all_pixels():
    """Each pixel alone makes an event of its own."""
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 3, "end_bits_last": 3}
    words = {(0, 0): 0b0001, (0, 1): 0b0010, (1, 0): 0b0110, (1, 1): 0b1000}
    operations, *_ = run(layer, lambda row, col, number: words[row, col])
    assert [operation[2] for operation in operations if operation[0] == "event"] == [
        0b0001, 0b0110, 0b0100, 0b1000]
    assert reduce(or_, words.values()) == 0b1111


@pytest.mark.parametrize("tile", [(2, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("source", [Source.LINE, Source.INPUT])
def test_two_streams_walk_the_rows_of_a_tile_by_themselves(tile, source):
    """Each has the events of its own rows, and both the same starts and ends of tiles."""
    rng = np.random.default_rng(tile[0])
    # The lower rows of a tile are nearly empty, or the upper ones, tile by tile
    density = np.where(np.arange(40)[:, None] // 2 % 2 == np.arange(40) // tile[1] % 2, 0.05, 0.6)
    ones = rng.random((8, 40, 40, 2)) < density[..., None]
    maps = (1 << np.arange(8)) @ ones.reshape(8, -1)
    maps = maps.reshape(40, 40, 2) & (0xF if source == Source.LINE else 0xFF)
    last = source == Source.LINE
    if not last:
        maps = np.where(rng.random(maps.shape) < 0.5, maps | maps.astype(bool) << 8, maps)
    layer = {
        "source": source, "emit": Emit.MAP, "kernel_rows_last": 2, "kernel_cols_last": 1,
        "word_bits_last": 3, "end_bits_last": 3, "groups_last": int(last), "tiles_last": 4,
        "passes_last": 1, "weight_base": 300, "row_low": 1,
    }

    def word_of(row, col, number):
        return int(maps[row, col, number])

    operations, causes, loads, _ = run(layer, word_of, tile=tile, row=tile[0] + 1, streams=2)
    half = tile[0] // 2
    expected = [expected_operations(layer, word_of, 300, lambda number: 4 if last else 2, tile,
                                    tile[0] + 1, part)
                for part in (range(half), range(half, tile[0]))]
    assert operations == expected
    events = [sum(operation[0] == "event" for operation in found) for found in expected]
    assert max(events) <= causes.count("compute") < sum(events)
    assert len(loads) == 2 * 5 * 3 * 2 * (1 + last), "a window serves both"
    assert causes.count("tiling") == 2 * (5 + 1) and causes.count("loading") == 2 * START_BYTES


def test_two_streams_take_this_long():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "kernel_cols_last": 1, "tiles_last": 1,
             "word_bits_last": 3, "end_bits_last": 3}
    words = {0: [0b0111, 0b0001, 0, 0], 1: [0b0001, 0b1111, 0, 0b0110]}
    operations, causes, loads, _ = run(
        layer, lambda row, col, number: words[row][col], tile=(2, 1), streams=2)
    # Tiles see columns 0 and 1, then 1 and 2. The second one's first words are in the queues by
    # then, and its empty word ends the first stream's part.
    assert loads == [1, 2, 3, 4]
    assert causes == (["loading"] * 3 + ["tiling"] + ["fetching"] * 4 + ["compute"] * 5
                      + ["tiling"] + ["compute"] * 4 + ["tiling"])
    assert [[operation[2:3] or operation[:1] for operation in found[3:]] for found in operations
            ] == [
        [("start",), *[(1,)] * 4, ("end and start",), (1,), ("end",)],
        [("start",), *[(1,)] * 5, ("end and start",), *[(1,)] * 4, ("end",)]]


def test_a_tile_waits_for_the_stream_that_still_passes_empty_words():
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 31, "end_bits_last": 31,
             "kernel_cols_last": 6, "groups_last": 1}
    words = {(0, 0): (1 << 20) - 1, (0, 1): 1}
    _, causes, *_ = run(layer, lambda row, col, number: words.get((col, number), 0) * row,
                        channels=32, tile=(2, 1), streams=2)
    # The second stream's second word holds up the twelve empty ones, of which the first leaves
    # beside its event; the last one is held a cycle behind its turn.
    assert causes == (["loading"] * 3 + ["tiling"] + ["fetching"] * 4 + ["compute"] * 21
                      + ["fetching"] * 11 + ["tiling"])


@pytest.mark.parametrize("busy", [0, 1])
def test_a_full_queue_of_either_stream_stops_fetching(busy):
    layer = {"source": Source.LINE, "emit": Emit.MAP, "word_bits_last": 63, "end_bits_last": 63,
             "kernel_cols_last": 6, "groups_last": 2}
    _, causes, loads, _ = run(layer, lambda row, col, number: ((1 << 64) - 1) * (row == busy),
                              channels=64, tile=(2, 1), streams=2)
    # As with one stream that has all the events
    assert loads == [*range(1, QUEUE_DEPTH + 2), *range(73, 73 + 64 * (20 - QUEUE_DEPTH), 64)]
    assert causes[8:] == ["compute"] * 21 * 64 + ["tiling"]


def test_head_vectors_are_the_first_streams():
    layer = {"source": Source.VECTOR, "emit": Emit.UNSIGNED, "groups_last": 1, "passes_last": 1,
             "word_bits_last": 15, "end_bits_last": 15, "weight_base": 40}
    vector = [0x0081, 0x0300]
    (first, second), causes, _, reads_out = run(
        layer, lambda row, col, number: vector[number] if (row, col) == (0, 0) else 0, streams=2)
    events = [("event", 43, 1, 0), ("event", None, 1, 7), ("event", 44, 1, 7),
              *[("event", None, 1, 7)] * 5]
    assert first[3:13] == [("start", False), *events, ("leave", False)]
    assert second[3:5] == [("start", False), ("leave", False)]
    assert len(reads_out) == 2 and causes.count("compute") == 2 * len(events)
