# amaranth: UnusedElaboratable=no
"""The host's registers without a bus: equal, access by access, to those behind AXI4-Lite."""

import random

from amaranth.sim import Simulator

from bamac_hw.geometry import Geometry
from bamac_hw.host.direct_port import DirectPort
from bamac_hw.host.host_port import HostPort

GEOMETRY = Geometry("four", channels=4, weight_rows=17, max_layers=3)
INDICES = [*range(12), 0x3FF, *range(0x400, 0x404), 0x43F, 0x440, 0x7FF, 0x800, 0x805, 0x85F,
           0x860, 0x1FFFF, 0x20000, 0x20010, 0x20011, 0x3FFFF]


async def direct(ctx, dut, write, index, data):
    ctx.set(dut.host_index, index)
    ctx.set(dut.host_data, data)
    ctx.set(dut.host_write if write else dut.host_read, 1)
    cycles = 1
    while not ctx.get(dut.host_done):
        await ctx.tick()
        cycles += 1
        assert cycles < 50
    refused, word = ctx.get(dut.host_refused), ctx.get(dut.host_word)
    enables = [ctx.get(dut.load.descriptors), ctx.get(dut.load.weights),
               ctx.get(dut.control.clear_counters)]
    at = ctx.get(dut.load.addr), ctx.get(dut.load.data)
    await ctx.tick()
    ctx.set(dut.host_write, 0)
    ctx.set(dut.host_read, 0)
    return refused, word, enables, at, cycles


async def axi(ctx, dut, write, index, data):
    clear = 0
    if write:
        ctx.set(dut.s_axil_awaddr, 4 * index)
        ctx.set(dut.s_axil_wdata, data)
        ctx.set(dut.s_axil_wstrb, 15)
        ctx.set(dut.s_axil_bready, 1)
        ctx.set(dut.s_axil_awvalid, 1)
        ctx.set(dut.s_axil_wvalid, 1)
        clear = ctx.get(dut.control.clear_counters)
        await ctx.tick()
        ctx.set(dut.s_axil_awvalid, 0)
        ctx.set(dut.s_axil_wvalid, 0)
        refused, word = ctx.get(dut.s_axil_bresp) >> 1, 0
    else:
        ctx.set(dut.s_axil_araddr, 4 * index)
        ctx.set(dut.s_axil_arvalid, 1)
        ctx.set(dut.s_axil_rready, 1)
        await ctx.tick()
        ctx.set(dut.s_axil_arvalid, 0)
        while not ctx.get(dut.s_axil_rvalid):
            await ctx.tick()
        refused, word = ctx.get(dut.s_axil_rresp) >> 1, ctx.get(dut.s_axil_rdata)
    enables = [ctx.get(dut.load.descriptors), ctx.get(dut.load.weights), clear]
    at = ctx.get(dut.load.addr), ctx.get(dut.load.data)
    await ctx.tick()
    return refused, word, enables, at, 0


def test_every_access_is_answered_as_over_axi():
    rng = random.Random(1)
    accesses = [(kind, index, rng.getrandbits(32)) for index in INDICES for kind in (0, 1)]
    accesses += [(rng.randrange(2), rng.choice(INDICES), rng.choice(
        (0, 1, 2, 4, 5, 7, rng.getrandbits(32)))) for _ in range(300)]
    events = [rng.random() < 0.2 for _ in accesses]
    given = {}
    for access, port in ((direct, DirectPort), (axi, HostPort)):
        dut, log = port(GEOMETRY), []
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)

        async def testbench(ctx, dut=dut, log=log, access=access):
            ctx.set(dut.counters.data, 0x12345678)
            for (write, index, data), event in zip(accesses, events, strict=True):
                ctx.set(dut.control.clip_done, event)
                ctx.set(dut.control.errors, 5 if event else 0)
                await ctx.tick()
                ctx.set(dut.control.clip_done, 0)
                ctx.set(dut.control.errors, 0)
                refused, word, enables, at, _ = await access(ctx, dut, write, index, data)
                log.append((write, index, refused, word if not write else None, enables,
                            at if any(enables[:2]) else None,
                            ctx.get(dut.counters.addr) if not write else None,
                            ctx.get(dut.control.run), ctx.get(dut.irq)))

        simulator.add_testbench(testbench)
        simulator.run()
        given[port] = log
    assert any(entry[2] for entry in given[DirectPort])
    assert sum(any(entry[4][:2]) for entry in given[DirectPort]) > 5
    for mine, theirs in zip(given[DirectPort], given[HostPort], strict=True):
        if mine[2] and not mine[0]:  # what a refused read gives is no word
            mine, theirs = (entry[:3] + entry[4:] for entry in (mine, theirs))
        assert mine == theirs


def test_counter_reads_wait_for_the_booking():
    dut = DirectPort(GEOMETRY)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def testbench(ctx):
        ctx.set(dut.counters.data, 77)
        assert (await direct(ctx, dut, 0, 0x825, 0))[:2] == (0, 77)
        assert (await direct(ctx, dut, 0, 0x825, 0))[4] == 2
        assert (await direct(ctx, dut, 0, 0, 0))[4] == 1
        ctx.set(dut.counters.busy, 1)
        ctx.set(dut.host_index, 0x801)
        ctx.set(dut.host_read, 1)
        for _ in range(20):
            assert not ctx.get(dut.host_done)
            await ctx.tick()
        ctx.set(dut.counters.busy, 0)
        assert not ctx.get(dut.host_done), "the address was not the memory's in the last cycle"
        await ctx.tick()
        ctx.set(dut.counters.data, 78)
        assert ctx.get(dut.host_done) and ctx.get(dut.host_word) == 78

    simulator.add_testbench(testbench)
    simulator.run()
