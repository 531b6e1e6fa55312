# amaranth: UnusedElaboratable=no
"""Counts booked to their layer, none lost at the seams, against sums in Python."""

import random

import pytest
from amaranth.sim import Simulator

from bamac_hw.counters import Counters
from bamac_hw.geometry import Geometry
from bamac_hw.layout import COUNTERS

NAMES = list(COUNTERS)
DIRECT = NAMES.index("input_writes")
WAITING = NAMES.index("cycles_wait_input")
BY_PIXEL = {"events", "input_reads", "line_reads", "line_writes"}
BEFORE_JOB = {"cycles_schedule", "state_reads", "cycles_wait_input"}
SOON = {"cycles_load", "descriptor_reads"}
LAYERS = 2


def simulate(testbench, family):
    dut = Counters(Geometry("four", channels=4, weight_rows=16, max_layers=LAYERS), family=family)
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
    for address in range(LAYERS * 32):
        while ctx.get(dut.busy):
            await ctx.tick()
        ctx.set(dut.read_addr, address)
        await ctx.tick()
        table.append(ctx.get(dut.read_data))
    return [table[32 * n:32 * n + 32] for n in range(LAYERS)]


@pytest.mark.parametrize("family", [None, "ice40"])
def test_waiting_for_input_may_take_for_ever(family):
    async def testbench(ctx, dut):
        ctx.set(dut.add[WAITING], 1)
        for _ in range(3000):       # the layer is unknown all the time
            await ctx.tick()
        ctx.set(dut.add[WAITING], 0)
        ctx.set(dut.settled, 1)
        ctx.set(dut.layer, 1)
        ctx.set(dut.flush, 1)
        await ctx.tick()
        ctx.set(dut.flush, 0)
        table = await read_all(ctx, dut)
        assert table[1][WAITING] == 3000
        assert sum(map(sum, table)) == 3000
    simulate(testbench, family)


@pytest.mark.parametrize("family", [None, "ice40"])
def test_jobs_are_booked_to_their_layers(family):
    rng = random.Random(3)
    expected = [[0] * 32 for _ in range(LAYERS)]

    async def testbench(ctx, dut):
        # The shortest job that there can be, long ones, back to back; the layer is known only
        # when the search for it is over. The last ones count as fast as they can. A search
        # takes 3 cycles or more, the next 14 do nothing but load.
        searches = ((30, 3), (30, 3), (75, 45), (31, 6), (400, 45), (36, 3), (1500, 45), (300, 3))
        for number, (length, search) in enumerate(searches):
            layer = rng.randrange(LAYERS)
            for cycle in range(length):
                last = cycle == length - 1
                ctx.set(dut.flush, int(last))
                ctx.set(dut.settled, int(cycle >= search))
                ctx.set(dut.layer, layer if cycle >= search else rng.randrange(LAYERS))
                for k, port in enumerate(dut.add):
                    most = 4 if NAMES[k] in BY_PIXEL else 1
                    amount = most if number >= 6 else rng.randrange(most + 1)
                    begin = search if NAMES[k] in SOON else search + 14
                    if (cycle >= search if NAMES[k] in BEFORE_JOB else
                            cycle < begin and k != DIRECT):
                        amount = 0
                    ctx.set(port, amount)
                    expected[0 if k == DIRECT else layer][k] += amount
                await ctx.tick()
        ctx.set(dut.flush, 0)
        for port in dut.add:
            ctx.set(port, 0)
        cycles = 0
        while ctx.get(dut.busy):
            await ctx.tick()
            cycles += 1
        assert cycles < 24, "at most a round, without the host's cycles"
        assert await read_all(ctx, dut) == expected
        assert await read_all(ctx, dut) == expected, "reading changes nothing"
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        cycles = 0
        while ctx.get(dut.clearing):
            await ctx.tick()
            cycles += 1
        assert cycles == LAYERS * 32
        assert await read_all(ctx, dut) == [[0] * 32] * LAYERS
    simulate(testbench, family)
