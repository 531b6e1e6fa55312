# amaranth: UnusedElaboratable=no
"""The scheduler's jobs against the rule, written down independently: order, places, latencies.

The model knows maps, kernels and pools as numbers of rows. It plays the walker, the collector and
the frame writer too, which take as long as a seeded generator says.
"""

import random
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.descriptors import HEADER, LAYER, Emit, pack_descriptor
from bamac_hw.control.scheduler import POLL_CYCLES, SAVE_CYCLES, START_CYCLES, Scheduler
from bamac_hw.geometry import Geometry

PREPARE = 2              # cycles from a job's choice, as the diagram in the docstring has them
OUTPUT_START = len(LAYER) + 1
BOOT_CYCLES = len(LAYER) + 2  # for each descriptor
FRAME_CYCLES = 2         # from the first layer's last missing row to its job's choice


@dataclass
class Layer:
    """A convolution over ``rows`` rows, with a pool behind it, that puts out a map or a vector."""

    rows: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 1
    emit: Emit = Emit.MAP

    def sizes(self, tile_rows):
        """Work out output rows, input rows per job, output rows per job, and jobs."""
        computed = (self.rows + 2 * self.padding - self.kernel) // self.stride + 1
        self.out_rows = computed // self.pool
        self.advance, self.block = tile_rows * self.stride, tile_rows // self.pool
        self.jobs = -(-self.out_rows * self.pool // tile_rows)
        self.span = (tile_rows - 1) * self.stride + self.kernel
        return self

    def needs(self, job):
        """Input rows that must exist before a job can run."""
        return min(self.rows, job * self.advance - self.padding + self.span)


NETWORKS = {
    # Odd numbers of rows, a stride, pools of two rows.
    "strides and pools": lambda: [
        Layer(23), Layer(23, stride=2), Layer(12, pool=2), Layer(6, kernel=1, padding=0, pool=2),
        Layer(3, emit=Emit.GLOBAL_MAX), Layer(1, kernel=1, padding=0, emit=Emit.RAW)],
    # The first pool drops a row; the second kernel covers the whole map at once.
    "odd rows": lambda: [
        Layer(17, kernel=5, padding=2, pool=2), Layer(8, kernel=7, padding=3),
        Layer(8, kernel=2, padding=0, stride=2, emit=Emit.GLOBAL_SUM),
        Layer(1, kernel=1, padding=0, emit=Emit.UNSIGNED),
        Layer(1, kernel=1, padding=0, emit=Emit.RAW)],
    "one layer": lambda: [Layer(9, stride=2, padding=0, emit=Emit.RAW)],
}
TILES = {"two": Geometry("two", channels=4, weight_rows=16, line_words=1024),
         "one": Geometry("one", tile_rows=1, channels=4, weight_rows=16, line_words=1024),
         "four": Geometry("four", tile_rows=4, tile_cols=1, channels=4, weight_rows=16,
                          line_words=1024)}


def expected_jobs(layers, clips):
    """``(clip, layer, job, polls)`` in order: the rule, from rows that exist alone.

    After a job of layer ``n``, layer ``n + 1`` is polled first, then lower ones.
    """
    polled, polls, order = 0, 0, []
    for clip in range(clips):
        exist, done = [layers[0].rows] + [0] * (len(layers) - 1), [0] * len(layers)
        while done[-1] < layers[-1].jobs:
            layer = layers[polled]
            polls += 1
            if done[polled] == layer.jobs or exist[polled] < layer.needs(done[polled]):
                polled -= 1
                assert polled >= 0
                continue
            order.append((clip, polled, done[polled], polls))
            done[polled] += 1
            polls = 0
            if polled + 1 < len(layers):
                rows = min(layer.out_rows, done[polled] * layer.block)
                complete = done[polled] == layer.jobs
                exist[polled + 1] = rows if layer.emit == Emit.MAP else int(complete)
                polled += 1
    return order


def descriptors(layers, geometry, rng):
    """Words of the descriptor memory, and for each layer the fields that matter here."""
    zero = {name: 0 for fields in LAYER for name in fields}
    words = pack_descriptor(HEADER, {name: 0 for fields in HEADER for name in fields} | {
        "layers_last": len(layers) - 1, "rows_needed": layers[0].rows})
    fields = []
    for layer in layers:
        base, pitch = rng.randrange(100), rng.randrange(1, 9)
        fields.append({
            "stride2": layer.stride - 1, "pool_rows_log2": layer.pool.bit_length() - 1,
            "padding_top": layer.padding, "emit": layer.emit, "out_rows": layer.out_rows,
            "ahead_start": layer.rows + layer.padding - layer.span,
            "ring_start": rng.randrange(500), "weight_base": rng.randrange(16),
            "out_base": base, "out_pitch": pitch, "out_end": base + 2 * pitch})
        words += pack_descriptor(LAYER, zero | fields[-1])
    return words, fields


class Surroundings:
    """Walker, collector and frame writer of a scheduler, and a log of what it does.

    Cycles count from the first one after the reset. Frames of ``clips`` clips come; ``steady`` ones
    are always there.
    """

    def __init__(self, layers, geometry, words, *, seed, steady, clips):
        self.rng = random.Random(seed)
        self.dut = Scheduler(geometry, init=words)
        self.layers, self.steady, self.clips_left = layers, steady, clips
        self.rows, self.idle = 0, 0
        self.cycle = 0
        self.walk_left = self.drain = None
        self.next_slot = 0
        self.jobs, self.ends, self.saves = [], [], []
        self.completed = []   # cycles at which a row has become visible, with the rows there then
        self.released = 0
        self.clips = 0
        self.was_loading = False

    async def tick(self, ctx):
        """Watch one cycle, and set the inputs of the next one."""
        dut, get = self.dut, ctx.get
        loading = get(dut.loading)
        if loading and not self.was_loading:
            self.jobs.append({"chosen": self.cycle})
        self.was_loading = bool(loading)
        job = self.jobs[-1] if self.jobs else None
        place = dut.job.place
        if get(place.prepare):
            job["prepared"] = self.cycle
        if get(dut.output.start):
            job["output"] = self.cycle
            job |= {name: get(getattr(dut.output, name)) for name in ("slot", "low", "left",
                                                                        "first")}
        if get(dut.job.start):
            job |= {"started": self.cycle, "layer": get(dut.current),
                    "weight_base": get(dut.layer.weight_base), "ahead": get(place.ahead),
                    "above": get(place.above), "in_slot": get(place.slot)}
            # Some walks end long before the search does, others long after it.
            self.walk_left = self.rng.choice((3, 12, 30, 90))
        if get(dut.state_writing) and get(dut.running):
            self.saves.append(self.cycle)
        if get(dut.flush):
            self.ends.append((self.cycle, get(dut.current), get(dut.clip_done)))
            self.clips += get(dut.clip_done)
        if get(dut.frames.release):
            self.released += get(dut.frames.released)
        finish = get(dut.frames.finish)
        await ctx.tick()
        self.cycle += 1
        self._answer(ctx, job)
        self._frames(ctx, finish)

    def _answer(self, ctx, job):
        dut = self.dut
        done = self.walk_left == 0
        if self.walk_left is not None:
            self.walk_left -= 1
        if done:
            job["walked"] = self.cycle
            self.walk_left, self.drain = None, self.rng.choice((0, 0, 7, 60))
        ctx.set(dut.job.done, done)
        if self.drain is not None and not done:
            self.drain = self.drain - 1 if self.drain else None
        busy = self.drain not in (None, 0)
        ctx.set(dut.collector_busy, busy)
        if busy:
            job["free"] = self.cycle + 1
        if self.walk_left is not None and "next_slot" not in job:
            job["next_slot"] = self.rng.randrange(1, 500)
            ctx.set(dut.job.place.next_slot, job["next_slot"])

    def _frames(self, ctx, finish):
        """The frame writer, with a ring as large as a clip."""
        if finish:
            self.rows, self.idle, self.clips_left = 0, 1, self.clips_left - 1
        elif self.idle:
            self.idle = 0
        elif self.clips_left and self.rows < self.layers[0].rows and (
                self.steady or self.rng.random() < 0.02):
            self.rows = self.layers[0].rows if self.steady else self.rows + 1
            self.completed.append((self.cycle, self.rows))
        ctx.set(self.dut.frames.missing, self.layers[0].rows - self.rows)
        ctx.set(self.dut.frames.idle, self.idle)

    def run(self, testbench):
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)

        async def begin(ctx):
            ctx.set(self.dut.frames.missing, self.layers[0].rows)
            await testbench(ctx)

        simulator.add_testbench(begin)
        simulator.run()


def case(network, tile, seed, *, steady=False, clips=2):
    geometry = TILES[tile]
    layers = [layer.sizes(geometry.tile_rows) for layer in NETWORKS[network]()
              if layer.pool <= geometry.tile_rows]
    assert all(layer.rows == before.out_rows for before, layer in zip(layers, layers[1:],
               strict=False) if before.emit == Emit.MAP), "the network fits together"
    words, fields = descriptors(layers, geometry, random.Random(seed))
    return layers, fields, geometry, Surroundings(layers, geometry, words, seed=seed,
                                                  steady=steady, clips=clips)


def check_places(layers, fields, geometry, jobs, order):
    """Compare each job's input and output place with numbers of rows."""
    previous = {}
    for job, (_, index, number, _) in zip(jobs, order, strict=True):
        layer, field = layers[index], fields[index]
        at = f"job {number} of layer {index}"
        assert job["layer"] == index and job["weight_base"] == field["weight_base"], at
        first_row = number * layer.advance - layer.padding
        assert job["ahead"] == layer.rows - first_row - layer.span, at
        assert job["above"] == max(0, -first_row), at
        assert job["in_slot"] == (previous[index] if number else field["ring_start"]), at
        previous[index] = job["next_slot"]
        out_row = number * layer.block
        assert job["left"] == layer.out_rows - out_row and job["first"] == (number == 0), at
        assert job["low"] == out_row % geometry.tile_rows, at
        slot = out_row // geometry.tile_rows % 3  # a ring of three slots
        assert job["slot"] == field["out_base"] + slot * field["out_pitch"], at


def check_latencies(jobs, order, ends, saves):
    """Compare each job's cycles with those that the docstring promises."""
    for number, job in enumerate(jobs):
        chosen = job["chosen"]
        assert job["prepared"] == chosen + PREPARE
        assert job["started"] == chosen + START_CYCLES
        assert job["output"] == chosen + OUTPUT_START
        assert saves[number] == chosen + SAVE_CYCLES
        end, layer, _ = ends[number]
        assert layer == order[number][1]
        polls = order[number + 1][3] if number + 1 < len(order) else None
        if polls:
            free = max(job["walked"] + 1, job.get("free", 0))
            assert end == max(free, chosen + SAVE_CYCLES + POLL_CYCLES * polls), number
            if order[number + 1][1] != 0:
                assert jobs[number + 1]["chosen"] == end, "the next job begins at once"


@pytest.mark.parametrize("network, tile, seed", [
    ("strides and pools", "two", 1), ("strides and pools", "four", 2), ("odd rows", "two", 3),
    ("odd rows", "four", 4), ("one layer", "one", 5), ("one layer", "two", 6)])
def test_jobs_of_two_clips(network, tile, seed):
    layers, fields, geometry, around = case(network, tile, seed)
    order = expected_jobs(layers, clips=2)

    async def testbench(ctx):
        ctx.set(around.dut.run, 1)
        while around.clips < 2:
            assert around.cycle < 30_000, "the scheduler stands still"
            await around.tick(ctx)
        await around.tick(ctx)

    around.run(testbench)
    assert [job["layer"] for job in around.jobs] == [index for _, index, _, _ in order]
    check_places(layers, fields, geometry, around.jobs, order)
    check_latencies(around.jobs, order, around.ends, around.saves)
    last = [(clip, index, number + 1) for clip, index, number, _ in order]
    assert [done for *_, done in around.ends] == [
        int(index == len(layers) - 1 and number == layers[index].jobs)
        for _, index, number in last]
    assert around.released == 2 * layers[0].jobs * layers[0].advance


@pytest.mark.parametrize("seed", [1, 2])
def test_the_first_layer_waits_for_its_rows(seed):
    """A job of layer 0 is chosen when its last row is there, and never before."""
    layers, _, _, around = case("strides and pools", "two", seed, clips=1)
    order = expected_jobs(layers, clips=1)
    waited = []

    async def testbench(ctx):
        ctx.set(around.dut.run, 1)
        while not around.clips:
            assert around.cycle < 30_000, "the scheduler stands still"
            if ctx.get(around.dut.waiting):
                waited.append(around.cycle)
            await around.tick(ctx)

    around.run(testbench)
    late = 0
    for number, (_, index, job, _) in enumerate(order):
        if index:
            continue
        there = next(cycle for cycle, rows in around.completed if rows >= layers[0].needs(job))
        chosen = around.jobs[number]["chosen"]
        assert chosen >= there + FRAME_CYCLES, "the row exists"
        if chosen - 1 in waited:
            assert chosen == there + FRAME_CYCLES, number
            late += 1
    assert late > 3, "the test was about waiting"


def test_boot_reads_every_descriptor_and_takes_as_long_as_promised():
    layers, _, _, around = case("odd rows", "two", 7, steady=True)
    dut = around.dut
    begun = []

    async def testbench(ctx):
        for _ in range(10):
            assert not ctx.get(dut.running)
            await around.tick(ctx)
        ctx.set(dut.run, 1)
        start = around.cycle
        while not ctx.get(dut.running):
            assert around.cycle < 1000
            await around.tick(ctx)
        # A cycle leaves IDLE.
        begun.append(around.cycle - start == 1 + BOOT_CYCLES * (len(layers) + 1))

    around.run(testbench)
    assert begun == [True]


def test_a_stop_waits_for_frames_and_a_restart_forgets_the_clip():
    """While something can run it runs; then all layers begin again with a clip."""
    layers, fields, geometry, around = case("strides and pools", "two", 8)
    dut = around.dut

    async def testbench(ctx):
        ctx.set(dut.run, 1)
        while len(around.jobs) < 7:
            await around.tick(ctx)
        ctx.set(dut.run, 0)
        around.clips_left, before = 0, len(around.jobs)  # no row comes any more
        while ctx.get(dut.running):
            assert around.cycle < 30_000, "the scheduler does not stop"
            await around.tick(ctx)
        assert len(around.jobs) == len(around.ends) >= before, "no job is left half way"
        for _ in range(50):
            await around.tick(ctx)
            assert not ctx.get(dut.loading) and not ctx.get(dut.waiting)
        stopped = len(around.jobs)
        assert not around.clips
        around.clips_left, around.rows = 1, 0
        ctx.set(dut.run, 1)
        while not around.clips:
            assert around.cycle < 30_000, "the scheduler stands still"
            await around.tick(ctx)
        del around.jobs[:stopped]

    around.run(testbench)
    order = expected_jobs(layers, clips=1)
    assert [job["layer"] for job in around.jobs] == [index for _, index, _, _ in order]
    check_places(layers, fields, geometry, around.jobs, order)
