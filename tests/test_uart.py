# amaranth: UnusedElaboratable=no
"""The serial port's two halves, against lines that are drawn bit by bit."""

import random

import pytest
from amaranth.sim import Simulator

from bamac_hw.serial.uart import UartReceiver, UartTransmitter


def line_of(data, cycles, *, stop=1):
    """Levels of a line, one per clock cycle."""
    bits = [level for byte in data for level in [0, *((byte >> k) & 1 for k in range(8)), stop]]
    return [level for level in bits for _ in range(cycles)]


def receive(line, cycles):
    dut, received = UartReceiver(cycles=cycles), []
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def testbench(ctx):
        for level in line:
            ctx.set(dut.rx, level)
            if ctx.get(dut.o.valid):
                received.append(ctx.get(dut.o.payload))
            await ctx.tick()

    simulator.add_testbench(testbench)
    simulator.run()
    return bytes(received)


@pytest.mark.parametrize("cycles", [4, 5, 12, 50])
def test_receives_back_to_back_and_with_pauses(cycles):
    rng = random.Random(cycles)
    data = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *(rng.randrange(256) for _ in range(20))])
    idle = [1] * (3 * cycles)
    assert receive(idle + line_of(data, cycles) + idle, cycles) == data
    paused = [level for byte in data for level in line_of([byte], cycles)
              + [1] * rng.randrange(1, 4 * cycles)]
    assert receive(idle + paused + idle, cycles) == data


@pytest.mark.parametrize("drift", [0.96, 1.04])
def test_receives_from_a_clock_that_is_off(drift):
    data = bytes([0x00, 0xFF, 0x5A, 0x81])
    exact = line_of(data, 100)
    sampled = [exact[int(k / (0.12 * drift))] for k in range(int(len(exact) * 0.12 * drift))]
    line = [1] * 50 + sampled + [1] * 50
    assert receive(line, 12) == data


def test_ignores_a_short_start_bit_and_a_byte_without_stop_bit():
    line = [1] * 30 + [0] * 4 + [1] * 30
    assert receive(line + line_of([0x42], 12) + [1] * 30, 12) == b"\x42"
    broken = line_of([0x0F], 12, stop=0) + [1] * 60
    assert receive([1] * 30 + broken + line_of([0x42], 12) + [1] * 30, 12) == b"\x42"


@pytest.mark.parametrize("cycles", [4, 7, 12])
def test_sends_what_it_is_given_and_takes_a_byte_in_ten_bits(cycles):
    data = [0x00, 0xFF, 0x55, 0x7E, 0x80]
    dut, levels, taken = UartTransmitter(cycles=cycles), [], []
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def put(ctx):
        for byte in data:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            taken.append(len(levels))
            ctx.set(dut.i.valid, 0)
        for _ in range(12 * cycles):
            await ctx.tick()

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.tx):
            levels.append(level)

    simulator.add_testbench(put)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    start = levels.index(0)
    assert levels[:start] == [1] * start
    wanted = line_of(data, cycles)
    assert levels[start:start + len(wanted)] == wanted
    assert set(levels[start + len(wanted):]) == {1}
    steps = {after - before for before, after in zip(taken, taken[1:], strict=False)}
    assert steps == {10 * cycles}


@pytest.mark.parametrize("half", [UartReceiver, UartTransmitter])
@pytest.mark.parametrize("cycles", [3, 0, 4.0, True])
def test_too_few_cycles_of_a_bit_are_refused(half, cycles):
    with pytest.raises(TypeError, match="^Clock cycles of a bit must be an integer of at least 4, "
                                        f"not {cycles!r}$"):
        half(cycles=cycles)
