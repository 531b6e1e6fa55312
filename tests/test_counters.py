# amaranth: UnusedElaboratable=no
"""Counts booked to their layer, none lost at the seams, against sums in Python."""

import random

import pytest
from amaranth.sim import Simulator

from bamac_hw.abi.counters import COUNTERS
from bamac_hw.control.counters import Counters
from bamac_hw.geometry import Geometry

NAMES = list(COUNTERS)
WAITING = NAMES.index("cycles_wait_input")
BY_PIXEL = {"events", "input_reads", "line_reads", "line_writes"}
LAYERS = 3
SHORTEST = 21  # cycles from the choice of a job to its flush

# When a job can count: from so many cycles behind its choice to so many behind its flush. Its
# descriptor is read from the choice on, its walk begins eight cycles later and ends in the cycle
# before the flush; each stage of the pipeline is a cycle later.
WHEN = {
    "cycles_load": (0, -1), "descriptor_reads": (0, -1), "state_reads": (7, -1),
    "cycles_tile": (9, -1), "cycles_compute": (9, -1), "cycles_fetch": (9, -1),
    "input_reads": (10, 0), "line_reads": (10, 0), "vector_reads": (10, 0),
    "weight_reads": (11, 1), "cycles_collect": (11, -1), "cycles_schedule": (12, -1),
    "events": (15, 4), "scores": (20, -1), "cycles_wait_output": (20, -1), "line_writes": (19, 7),
    "state_writes": (18, -1), "vector_writes": (21, -1),
}


def simulate(testbench, family, **more):
    dut = Counters(Geometry("four", channels=4, weight_rows=16, max_layers=LAYERS, **more),
                   family=family)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    finished = []

    async def run(ctx):
        cycles = 0
        while ctx.get(dut.clearing):   # after reset the memory is cleared
            await ctx.tick()
            cycles += 1
        assert cycles == LAYERS * 32
        await testbench(ctx, dut)
        finished.append(True)

    simulator.add_testbench(run)
    simulator.run()
    assert finished


async def read_all(ctx, dut):
    table = []
    for layer in range(LAYERS):
        table.append([])
        for index in range(len(NAMES)):
            while ctx.get(dut.host.busy):
                await ctx.tick()
            ctx.set(dut.host.addr, 32 * layer + index)
            await ctx.tick()
            table[-1].append(ctx.get(dut.host.data))
    return table


@pytest.mark.parametrize("family", [None, "ice40"])
def test_waiting_for_input_is_kept_whole_until_a_job_has_ended(family):
    async def testbench(ctx, dut):
        ctx.set(dut.layer, 1)
        ctx.set(dut.add[WAITING], 1)
        for _ in range(100):
            await ctx.tick()
        ctx.set(dut.add[WAITING], 0)
        assert sum(map(sum, await read_all(ctx, dut))) == 0, "not booked before a job has ended"
        ctx.set(dut.flush, 1)
        await ctx.tick()
        ctx.set(dut.flush, 0)
        ctx.set(dut.add[WAITING], 1)
        table = await read_all(ctx, dut)
        assert table[0][WAITING] == 100, "the first layer waits, whichever has run"
        assert sum(map(sum, table)) == 100
    simulate(testbench, family)


@pytest.mark.parametrize("family, streams", [(None, 1), ("ice40", 1), (None, 2)])
def test_jobs_are_booked_to_their_layers(family, streams):
    rng = random.Random(3)
    # The shortest job that there can be, long ones, back to back or behind a wait for input; two of
    # them count as fast as they can.
    jobs = [(21, 0), (21, 0), (75, 45), (22, 1), (100, 0), (36, 0), (21, 2), (24, 0), (150, 0),
            (100, 45), (21, 0)]
    assert min(length for length, _ in jobs) == SHORTEST
    flushes, layers, amounts = [0], [0], []   # of all jobs, and of a cycle 0 before them
    expected = [[0] * len(NAMES) for _ in range(LAYERS)]
    for number, (length, wait) in enumerate(jobs):
        chosen = flushes[-1] + wait
        flushes.append(chosen + length)
        layers.append(number % LAYERS)
        counting = {name: (chosen + begin, flushes[-1] + end)
                    for name, (begin, end) in WHEN.items()}
        counting["cycles_wait_input"] = flushes[-2], chosen - 1
        counting["input_writes"] = flushes[-2], flushes[-1] - 1
        for name, (first, last) in counting.items():
            most = 4 if name in BY_PIXEL else streams if name == "weight_reads" else 1
            for cycle in range(first, last + 1):
                amount = most if number in (8, 9) else rng.randrange(most + 1)
                amounts.append((cycle, NAMES.index(name), amount))
                of_first = name in ("input_writes", "cycles_wait_input")
                expected[0 if of_first else layers[-1]][NAMES.index(name)] += amount

    async def testbench(ctx, dut):
        by_cycle = {}
        for cycle, index, amount in amounts:
            assert index not in by_cycle.setdefault(cycle, {}), "two jobs count at once"
            by_cycle[cycle][index] = amount
        job = 0
        for cycle in range(flushes[-1] + 8):
            ctx.set(dut.layer, layers[min(job, len(jobs))])
            ctx.set(dut.flush, int(cycle in flushes))
            job += cycle in flushes
            for k, port in enumerate(dut.add):
                ctx.set(port, by_cycle.get(cycle, {}).get(k, 0))
            await ctx.tick()
        ctx.set(dut.flush, 0)
        for port in dut.add:
            ctx.set(port, 0)
        cycles = 0
        while ctx.get(dut.host.busy):
            await ctx.tick()
            cycles += 1
        assert cycles < 24, "at most a round, without the host's cycles"
        assert await read_all(ctx, dut) == expected
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        cycles = 0
        while ctx.get(dut.clearing):
            await ctx.tick()
            cycles += 1
        assert cycles == LAYERS * 32
        assert await read_all(ctx, dut) == [[0] * len(NAMES)] * LAYERS
    simulate(testbench, family, walk="event", streams=streams)
