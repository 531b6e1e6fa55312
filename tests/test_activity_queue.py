# amaranth: UnusedElaboratable=no
"""The queue of activation words against a list, and the counts against Python's own."""

from collections import deque
from functools import reduce
from operator import or_

import numpy as np
import pytest
from amaranth.sim import Simulator

from bamac_hw.control.activity_queue import QUEUE_LATENCY, ActivityQueue
from bamac_hw.geometry import Geometry


@pytest.mark.parametrize("depth", [0, 1, 3, 2.0])
def test_depth_must_be_a_power_of_two(depth):
    with pytest.raises(ValueError, match="Depth must be a power of two from 2 on, not "):
        ActivityQueue(Geometry("g"), depth=depth)


@pytest.mark.parametrize("tile, channels, streams", [
    ((2, 2), 32, 1), ((1, 1), 4, 1), ((4, 2), 64, 1), ((4, 2), 8, 2)])
def test_words_come_out_in_order_with_their_events(tile, channels, streams):
    geometry = Geometry("g", tile_rows=tile[0], tile_cols=tile[1], channels=channels, walk="event",
                        streams=streams)
    depth = 4
    dut = ActivityQueue(geometry, depth=depth)
    rng = np.random.default_rng(channels)
    inside, visible_from, passed, full = deque(), deque(), 0, 0

    def word():
        density = rng.choice([0, 0.1, 1])
        return int(sum(1 << int(k) for k in np.flatnonzero(
            rng.random(geometry.word_bits) < density)))

    async def testbench(ctx):
        nonlocal passed, full
        for cycle in range(600):
            valid = bool(visible_from) and visible_from[0] <= cycle
            assert ctx.get(dut.valid) == valid, f"cycle {cycle}"
            if valid:
                tag, words = inside[0]
                assert dict(row=ctx.get(dut.head_tag.row),
                            tile_end=ctx.get(dut.head_tag.tile_end)) == tag
                assert [ctx.get(head) for head in dut.head_words] == words
                assert ctx.get(dut.head_events) == reduce(or_, words).bit_count()
                assert ctx.get(dut.head_skip) == (not any(words) and not tag["tile_end"])
            full += len(inside) == depth
            push = len(inside) < depth and rng.random() < 0.7
            pop = valid and rng.random() < (0.2 if cycle < 300 else 0.9)
            tag = {"row": int(rng.integers(geometry.weight_rows)), "tile_end": int(rng.integers(2))}
            words = [word() for _ in range(geometry.pixels // streams)]
            ctx.set(dut.push, int(push))
            ctx.set(dut.pop, int(pop))
            ctx.set(dut.tag, tag)
            for port, value in zip(dut.words, words, strict=True):
                ctx.set(port, value)
            if pop:
                inside.popleft()
                visible_from.popleft()
                passed += 1
            if push:
                inside.append((tag, words))
                visible_from.append(cycle + QUEUE_LATENCY)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert passed > 200 and full > 20, "the queue must have been full and moving"
