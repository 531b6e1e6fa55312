# amaranth: UnusedElaboratable=no
"""The AXI4-Lite port: registers, refusals, windows, and a manager that keeps it waiting."""

import pytest
from amaranth.sim import Simulator

from bamac_hw.geometry import Geometry
from bamac_hw.host.host_port import HostPort

OKAY, SLVERR = 0, 2
ID, VERSION, GEOMETRY, CONTROL, STATUS, ERROR, CLIPS, INTERRUPT = range(0, 0x20, 4)
GEOMETRY_4 = Geometry("four", channels=4, weight_rows=16, max_layers=3)


def simulate(testbench, geometry=GEOMETRY_4, **options):
    dut = HostPort(geometry, **options)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    finished = []

    async def run(ctx):
        await testbench(ctx, dut)
        finished.append(True)

    simulator.add_testbench(run)
    simulator.run()
    assert finished


async def write(ctx, dut, address, data, *, strobes=0xF, wait=0):
    """Answer of one write, the memory port pulses it caused, and cycles to the answer."""
    ctx.set(dut.s_axil_awaddr, address)
    ctx.set(dut.s_axil_wdata, data)
    ctx.set(dut.s_axil_wstrb, strobes)
    ctx.set(dut.s_axil_awvalid, 1)
    ctx.set(dut.s_axil_wvalid, 1)
    ctx.set(dut.s_axil_bready, 0)
    assert ctx.get(dut.s_axil_awready) and ctx.get(dut.s_axil_wready)
    await ctx.tick()
    ctx.set(dut.s_axil_awvalid, 0)
    ctx.set(dut.s_axil_wvalid, 0)
    assert ctx.get(dut.s_axil_bvalid), "the answer comes one cycle after the transfer"
    pulses = (ctx.get(dut.load.descriptors), ctx.get(dut.load.weights))
    addr = ctx.get(dut.load.addr)
    at = addr & 0x3FF if ctx.get(dut.load.descriptors) else addr, ctx.get(dut.load.data)
    response = ctx.get(dut.s_axil_bresp)
    for _ in range(wait):
        await ctx.tick()
        assert ctx.get(dut.s_axil_bvalid) and ctx.get(dut.s_axil_bresp) == response
    ctx.set(dut.s_axil_bready, 1)
    await ctx.tick()
    ctx.set(dut.s_axil_bready, 0)
    assert not ctx.get(dut.s_axil_bvalid)
    assert not ctx.get(dut.load.descriptors) and not ctx.get(dut.load.weights)
    return response, pulses, at


async def read(ctx, dut, address, *, wait=0):
    """``(response, data, cycles)`` of one read; ``cycles`` from the address to the answer."""
    ctx.set(dut.s_axil_araddr, address)
    ctx.set(dut.s_axil_arvalid, 1)
    ctx.set(dut.s_axil_rready, 0)
    assert ctx.get(dut.s_axil_arready)
    await ctx.tick()
    ctx.set(dut.s_axil_arvalid, 0)
    cycles = 1
    while not ctx.get(dut.s_axil_rvalid):
        assert cycles < 100
        await ctx.tick()
        cycles += 1
    answer = ctx.get(dut.s_axil_rresp), ctx.get(dut.s_axil_rdata)
    for _ in range(wait):
        await ctx.tick()
        assert ctx.get(dut.s_axil_rvalid)
        assert (ctx.get(dut.s_axil_rresp), ctx.get(dut.s_axil_rdata)) == answer
    ctx.set(dut.s_axil_rready, 1)
    await ctx.tick()
    ctx.set(dut.s_axil_rready, 0)
    assert not ctx.get(dut.s_axil_rvalid)
    return *answer, cycles


def test_identity_and_latency():
    async def testbench(ctx, dut):
        assert await read(ctx, dut, ID) == (OKAY, 0x434D4142, 3)
        assert await read(ctx, dut, VERSION, wait=3) == (OKAY, 3, 3)
        digest = int(GEOMETRY_4.digest()[:8], 16)
        assert await read(ctx, dut, GEOMETRY) == (OKAY, digest, 3)
    simulate(testbench)


@pytest.mark.parametrize("address", [0x20, 0x01, 0xFFC, 0x01000, 0x02000 + 3 * 128, 0x80000,
                                     0xFFFFC])
def test_unknown_and_write_only_addresses_do_not_read(address):
    async def testbench(ctx, dut):
        assert (await read(ctx, dut, address, wait=1))[:2] == (SLVERR, 0)
    simulate(testbench)


@pytest.mark.parametrize("address, strobes", [
    (ID, 0xF), (VERSION, 0xF), (GEOMETRY, 0xF), (STATUS, 0xF), (CLIPS, 0xF), (0x20, 0xF),
    (CONTROL, 0x1), (CONTROL, 0x0), (CONTROL + 1, 0xF), (CONTROL + 2, 0xF),
    (0x01000, 0x7), (0x01000 + 4 * 64, 0xF), (0x00FFC, 0xF), (0x02000, 0xF),
    (0x80000, 0xE), (0x80000 + 64, 0xF), (0x7FFFC, 0xF),
])
def test_refused_writes_change_nothing(address, strobes):
    async def testbench(ctx, dut):
        response, pulses, _ = await write(ctx, dut, address, 0xFFFFFFFF, strobes=strobes, wait=2)
        assert (response, pulses) == (SLVERR, (0, 0))
        assert not ctx.get(dut.control.run) and not ctx.get(dut.irq)
        assert (await read(ctx, dut, CONTROL))[:2] == (OKAY, 0)
    simulate(testbench)


def test_program_windows_are_open_while_not_running():
    async def testbench(ctx, dut):
        # The last words of both windows: (3 layers + header) * 64 bytes, 16 rows of 4 bytes.
        for address, pulses, word in ((0x01000, (1, 0), 0), (0x010FC, (1, 0), 63),
                                      (0x80000, (0, 1), 0), (0x8003C, (0, 1), 15)):
            data = 0x12340000 + address
            assert await write(ctx, dut, address, data, wait=1) == (OKAY, pulses, (word, data))
        assert (await write(ctx, dut, CONTROL, 1))[0] == OKAY
        assert ctx.get(dut.control.run)
        for address in (0x01000, 0x80000):
            assert (await write(ctx, dut, address, 1))[:2] == (SLVERR, (0, 0))
        await write(ctx, dut, CONTROL, 0)
        assert (await write(ctx, dut, 0x80004, 5))[:2] == (OKAY, (0, 1))
    simulate(testbench)


def test_errors_stick_until_their_bit_is_cleared():
    async def testbench(ctx, dut):
        for bits in (0b001, 0b100):
            ctx.set(dut.control.errors, bits)
            await ctx.tick()
        ctx.set(dut.control.errors, 0)
        assert (await read(ctx, dut, ERROR))[1] == 0b101
        await write(ctx, dut, ERROR, 0b001)
        assert (await read(ctx, dut, ERROR))[1] == 0b100
        # An error in the cycle of the clearing is not lost.
        for port, value in ((dut.s_axil_awaddr, ERROR), (dut.s_axil_wdata, 0b111),
                            (dut.s_axil_wstrb, 0xF), (dut.s_axil_awvalid, 1),
                            (dut.s_axil_wvalid, 1), (dut.control.errors, 0b010),
                            (dut.s_axil_bready, 1)):
            ctx.set(port, value)
        await ctx.tick()
        for port in (dut.s_axil_awvalid, dut.s_axil_wvalid, dut.control.errors):
            ctx.set(port, 0)
        await ctx.tick()
        assert (await read(ctx, dut, ERROR))[1] == 0b010
    simulate(testbench)


def test_clips_interrupt_and_status():
    async def testbench(ctx, dut):
        async def clip():
            ctx.set(dut.control.clip_done, 1)
            await ctx.tick()
            ctx.set(dut.control.clip_done, 0)

        await clip()
        assert not ctx.get(dut.irq), "not enabled"
        assert (await read(ctx, dut, INTERRUPT))[1] == 1
        await write(ctx, dut, CONTROL, 0b100)
        assert ctx.get(dut.irq)
        await write(ctx, dut, INTERRUPT, 0)
        assert ctx.get(dut.irq), "writing 0 keeps it"
        await write(ctx, dut, INTERRUPT, 1)
        assert not ctx.get(dut.irq)
        await clip()
        assert ctx.get(dut.irq)
        assert (await read(ctx, dut, CLIPS))[1] == 2
        for port, bit in ((dut.control.running, 1), (dut.control.waiting, 2),
                          (dut.control.score_pending, 4)):
            ctx.set(port, 1)
            assert (await read(ctx, dut, STATUS))[1] == bit
            ctx.set(port, 0)
    simulate(testbench)


def test_counters_are_cleared_for_one_cycle():
    async def testbench(ctx, dut):
        ctx.set(dut.s_axil_awaddr, CONTROL)
        ctx.set(dut.s_axil_wdata, 0b010)
        ctx.set(dut.s_axil_wstrb, 0xF)
        assert not ctx.get(dut.control.clear_counters)
        ctx.set(dut.s_axil_awvalid, 1)
        ctx.set(dut.s_axil_wvalid, 1)
        assert ctx.get(dut.control.clear_counters)
        await ctx.tick()
        ctx.set(dut.s_axil_awvalid, 0)
        ctx.set(dut.s_axil_wvalid, 0)
        assert not ctx.get(dut.control.clear_counters)
        ctx.set(dut.s_axil_bready, 1)
        await ctx.tick()
        assert (await read(ctx, dut, CONTROL))[1] == 0
    simulate(testbench)


def test_counter_reads_wait_for_the_booking():
    async def testbench(ctx, dut):
        ctx.set(dut.counters.data, 77)
        assert await read(ctx, dut, 0x02000 + 128 + 4 * 5) == (OKAY, 77, 3)
        assert ctx.get(dut.counters.addr) == 37
        assert (await read(ctx, dut, 0x02000 + 128 + 4 * 5 + 3))[:2] == (OKAY, 77)
        assert ctx.get(dut.counters.addr) == 37, "the low address bits are ignored"
        ctx.set(dut.counters.busy, 1)
        ctx.set(dut.s_axil_araddr, 0x02004)
        ctx.set(dut.s_axil_arvalid, 1)
        await ctx.tick()
        ctx.set(dut.s_axil_arvalid, 0)
        for _ in range(20):
            await ctx.tick()
            assert not ctx.get(dut.s_axil_rvalid)
        ctx.set(dut.counters.busy, 0)
        await ctx.tick()
        ctx.set(dut.counters.data, 78)   # arrives one cycle after the memory was free
        await ctx.tick()
        assert ctx.get(dut.s_axil_rvalid) and ctx.get(dut.s_axil_rdata) == 78
    simulate(testbench)


def test_writes_back_to_back_take_a_cycle_each():
    async def testbench(ctx, dut):
        ctx.set(dut.s_axil_bready, 1)
        ctx.set(dut.s_axil_wstrb, 0xF)
        ctx.set(dut.s_axil_awvalid, 1)
        ctx.set(dut.s_axil_wvalid, 1)
        for word in range(10):
            ctx.set(dut.s_axil_awaddr, 0x80000 + 4 * word)
            ctx.set(dut.s_axil_wdata, 1000 + word)
            assert ctx.get(dut.s_axil_awready)
            await ctx.tick()
            assert ctx.get(dut.load.weights) and ctx.get(dut.s_axil_bvalid)
            assert (ctx.get(dut.load.addr), ctx.get(dut.load.data)) == (word, 1000 + word)
        # A manager that does not take the answer holds the next write back.
        ctx.set(dut.s_axil_bready, 0)
        assert not ctx.get(dut.s_axil_awready) and not ctx.get(dut.s_axil_wready)
    simulate(testbench)


def test_address_waits_for_data_and_data_for_address():
    async def testbench(ctx, dut):
        for early, late in ((dut.s_axil_awvalid, dut.s_axil_wvalid),
                            (dut.s_axil_wvalid, dut.s_axil_awvalid)):
            ctx.set(dut.s_axil_awaddr, 0x80000)
            ctx.set(dut.s_axil_wstrb, 0xF)
            ctx.set(dut.s_axil_bready, 1)
            ctx.set(early, 1)
            for _ in range(3):
                await ctx.tick()
                assert not ctx.get(dut.s_axil_bvalid)
            ctx.set(late, 1)
            await ctx.tick()
            assert ctx.get(dut.s_axil_bvalid) and ctx.get(dut.load.weights)
            ctx.set(early, 0)
            ctx.set(late, 0)
            await ctx.tick()
            assert not ctx.get(dut.s_axil_bvalid)
    simulate(testbench)


def test_autostart_runs_after_reset():
    async def testbench(ctx, dut):
        assert ctx.get(dut.control.run)
    simulate(testbench, autostart=True)


@pytest.mark.parametrize("rows, window, bits", [
    (8192, 0x80000, 20), (8193, 0x100000, 21), (16384, 0x100000, 21), (65536, 0x400000, 23),
])
def test_a_large_weight_store_has_a_window_of_its_own(rows, window, bits):
    geometry = Geometry("vast", channels=64, weight_rows=rows, max_layers=3)
    assert (geometry.weight_window, geometry.bus_address_bits) == (window, bits)
    last = rows * 64 - 4

    async def testbench(ctx, dut):
        assert len(dut.s_axil_awaddr) == len(dut.s_axil_araddr) == bits
        for offset in (0, 0x12344, last):
            response, pulses, at = await write(ctx, dut, window + offset, 77)
            assert (response, pulses, at) == (OKAY, (0, 1), (offset // 4, 77))
        if last + 4 < window:
            assert (await write(ctx, dut, window + last + 4, 77))[:2] == (SLVERR, (0, 0))
        assert (await write(ctx, dut, window - 4, 77))[:2] == (SLVERR, (0, 0))
        assert (await write(ctx, dut, 0x01004, 5))[1:] == ((1, 0), (1, 5))
        assert (await read(ctx, dut, ID))[:2] == (OKAY, 0x434D4142)
        assert (await read(ctx, dut, window))[:2] == (SLVERR, 0)
    simulate(testbench, geometry)
