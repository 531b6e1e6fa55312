# amaranth: UnusedElaboratable=no
"""The serial line: transmitter and receiver, and the bridge to the host's port."""

import random

import pytest
from amaranth.sim import Simulator
from serial_frames import fcs, framed, stuffed, unstuffed

from bamac_hw.geometry import Geometry
from bamac_hw.serial.uart import UartReceiver, UartTransmitter
from bamac_hw.serial.uart_bridge import UartBridge

# --- Transmitter and receiver


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


# --- The bridge

READ, WRITE, VALUES, FRAME, RESET = range(5)
DONE, REFUSED, DAMAGED = bytes([0]), bytes([1]), bytes([2])
DEADLINE = 20_000


class Bench:
    """A bridge between lists of bytes, a bus that is a dictionary, and lists of beats.

    ``refuse`` holds addresses that answer SLVERR; ``slow`` is the chance that anything waits.
    """

    def __init__(self, *, refuse=(), slow=0.0, words=None, scores=(),
                 geometry=None):
        self.geometry = geometry or Geometry.preset("small")
        self.refuse, self.slow = set(refuse), slow
        self.words = dict(words or {})
        self.writes, self.beats, self.sent, self.resets = [], [], bytearray(), 0
        self.scores = list(scores)
        self.fault = None

    def run(self, *inputs, expect):
        """Feed ``inputs``; run until ``expect`` replies have come, then as long again."""
        dut, rng = UartBridge(self.geometry), random.Random(7)
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        data = b"".join(inputs)

        def waits():
            return rng.random() < self.slow

        async def feed(ctx):
            for byte in data:
                while waits():
                    await ctx.tick()
                ctx.set(dut.i.payload, byte)
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

        async def bus(ctx):
            while True:
                ctx.set(dut.host_done, 0)
                write, read = ctx.get(dut.host_write), ctx.get(dut.host_read)
                assert not (write and read)
                if (write or read) and not waits():
                    address = 4 * ctx.get(dut.host_index)
                    if write and address not in self.refuse:
                        self.writes.append((address, ctx.get(dut.host_data)))
                    ctx.set(dut.host_done, 1)
                    ctx.set(dut.host_refused, address in self.refuse)
                    ctx.set(dut.host_word, self.words.get(address, 0))
                await ctx.tick()

        async def frames(ctx):
            while True:
                ctx.set(dut.m_axis_frames_tready, ready := not waits())
                if ready and ctx.get(dut.m_axis_frames_tvalid):
                    self.beats.append((ctx.get(dut.m_axis_frames_tdata),
                                       ctx.get(dut.m_axis_frames_tlast)))
                self.resets += ctx.get(dut.reset)
                await ctx.tick()

        async def scores(ctx):
            for value, last in self.scores:
                ctx.set(dut.s_axis_scores_tdata, value)
                ctx.set(dut.s_axis_scores_tlast, last)
                ctx.set(dut.s_axis_scores_tvalid, 1)
                await ctx.tick().until(dut.s_axis_scores_tready)
                ctx.set(dut.s_axis_scores_tvalid, 0)

        async def take(ctx):
            cycles = 0
            while len(found := self._replies()) < expect:
                cycles += 1
                assert cycles < DEADLINE, f"{found} after {DEADLINE} cycles"
                ctx.set(dut.o.ready, ready := not waits())
                if ready and ctx.get(dut.o.valid):
                    self.sent.append(ctx.get(dut.o.payload))
                await ctx.tick()
            for _ in range(200):
                assert not ctx.get(dut.o.valid), "nothing more is sent"
                await ctx.tick()
            self.fault = ctx.get(dut.fault)

        for testbench in (feed, bus, frames, scores):
            simulator.add_testbench(testbench, background=True)
        simulator.add_testbench(take)
        simulator.run()
        return self._replies()

    def _replies(self):
        # The last part is no frame before its flag has come.
        whole = self.sent[:self.sent.rfind(b"\x7E") + 1]
        return unstuffed(whole)


def command(op, address=0, data=b""):
    return bytes([op, *(address // 4).to_bytes(3, "little"), *data])


def words(*values):
    return b"".join(value.to_bytes(4, "little") for value in values)


@pytest.mark.parametrize("slow", [0.0, 0.4])
def test_reads_and_writes(slow):
    bench = Bench(words={0x8: 0x7E7D0102, 0x12344: 0xFFFFFFFF}, slow=slow)
    replies = bench.run(framed(command(READ, 0x8)), framed(command(READ, 0x12344)),
                        framed(command(WRITE, 0xC, words(0x7D7E7E7D))),
                        framed(command(WRITE, 0xFFFF0, words(1, 2, 0x80000000))), expect=4)
    assert replies == [bytes([4, 0x02, 0x01, 0x7D, 0x7E]), bytes([4, 255, 255, 255, 255]),
                       DONE, DONE]
    assert bench.writes == [(0xC, 0x7D7E7E7D), (0xFFFF0, 1), (0xFFFF4, 2), (0xFFFF8, 0x80000000)]
    assert not bench.fault


def test_a_large_weight_store_is_reached():
    geometry = Geometry("vast", channels=64, weight_rows=65536)
    bench = Bench(geometry=geometry)
    assert bench.run(framed(command(WRITE, 0x7FFFF8, words(1, 2))),
                     framed(command(WRITE, 0x800000, words(3))), expect=2) == [DONE, DAMAGED]
    assert bench.writes == [(0x7FFFF8, 1), (0x7FFFFC, 2)]


@pytest.mark.parametrize("slow", [0.0, 0.4])
def test_frames_end_where_they_say(slow):
    rng = random.Random(3)
    values = [[rng.randrange(256) for _ in range(n)] for n in (1, 2, 3, 4, 40)]
    inputs = [framed(command(FRAME, 0, bytes(row))) for row in values]
    inputs += [framed(command(VALUES, 0, b"\x7E\x7D")), framed(command(FRAME, 0, b"\x00"))]
    bench = Bench(slow=slow)
    assert bench.run(*inputs, expect=7) == [DONE] * 7
    wanted = [(value, int(k == len(row) - 1)) for row in values for k, value in enumerate(row)]
    assert bench.beats == [*wanted, (0x7E, 0), (0x7D, 0), (0, 1)]


def test_refused_accesses_say_so_and_the_next_command_does_not():
    bench = Bench(refuse={0x10, 0x24}, words={0x8: 5})
    replies = bench.run(framed(command(READ, 0x10)), framed(command(WRITE, 0x20, words(1, 2, 3))),
                        framed(command(READ, 0x8)), framed(command(WRITE, 0x30, words(4))),
                        expect=4)
    assert [reply[:1] for reply in replies] == [REFUSED, REFUSED, b"\x04", DONE]
    assert bench.writes == [(0x20, 1), (0x28, 3), (0x30, 4)]
    assert bench.fault


def test_reset_is_a_pulse_and_clears_the_fault():
    bench = Bench(refuse={0})
    assert bench.run(framed(command(READ)), framed(command(RESET)), expect=2)[-1] == DONE
    assert bench.resets == 1 and not bench.fault


def test_scores_come_between_replies():
    bench = Bench(scores=[(0xFFFFFF80, 0), (0x7E, 1)], words={0: 9})
    replies = bench.run(framed(command(READ)), expect=3)
    assert [reply for reply in replies if reply[0] == 4] == [bytes([4, 9, 0, 0, 0])]
    assert [reply for reply in replies if reply[0] != 4] == [
        bytes([5, 0x80, 255, 255, 255]), bytes([6, 0x7E, 0, 0, 0])]


@pytest.mark.parametrize("content", [
    b"\x00", command(READ)[:3], command(READ) + b"\x00", command(READ, 0, words(0)),
    command(WRITE), command(WRITE, 0, b"\x01\x02\x03"), command(WRITE, 0, words(1) + b"\x02"),
    command(FRAME), command(VALUES), command(RESET, 0, b"\x00"), command(5), command(6),
    command(7), command(8), command(0x81), bytes([READ, 0, 0, 4]), bytes([READ, 0, 0, 0x80]),
])
def test_commands_of_a_wrong_length_or_kind_are_damaged_ones(content):
    bench = Bench(words={0x8: 1})
    replies = bench.run(framed(content), framed(command(READ, 0x8)), expect=2)
    assert replies == [DAMAGED, bytes([4, 1, 0, 0, 0])]
    assert bench.fault and not bench.beats and not bench.resets
    # A word with more behind it than a check sequence has gone out
    assert bench.writes == ([(0, 1)] if content == command(WRITE, 0, words(1) + b"\x02") else [])


@pytest.mark.parametrize("op, data", [(WRITE, words(0x12345678)), (FRAME, b"\x55"), (RESET, b"")])
def test_no_flipped_bit_does_anything(op, data):
    good = command(op, 0xC, data)
    good += fcs(good)
    flips = [(k, bit) for k in range(len(good)) for bit in range(8)]
    inputs = []
    for k, bit in flips:
        broken = bytearray(good)
        broken[k] ^= 1 << bit
        inputs.append(stuffed(broken))
    bench = Bench()
    assert bench.run(*inputs, expect=len(flips)) == [DAMAGED] * len(flips)
    assert not bench.writes and not bench.resets
    # A write that became a frame gives values away, but no frame ends with them
    assert not any(last for _, last in bench.beats) and (op == WRITE or not bench.beats)


@pytest.mark.parametrize("keep", range(1, 11))
def test_unfinished_command_ends_with_the_next_flag(keep):
    unfinished = framed(command(WRITE, 0xC, words(0x01020304)))[:-1][:keep]
    bench = Bench(words={0x8: 1})
    nothing = keep == 1  # but the flag
    replies = bench.run(unfinished, b"\x7E", framed(command(READ, 0x8)), expect=2 - nothing)
    assert replies == [DAMAGED] * (1 - nothing) + [bytes([4, 1, 0, 0, 0])]
    assert not bench.writes


def test_damaged_frame_never_ends():
    good = command(FRAME, 0, bytes(range(20)))
    bench = Bench()
    sent = stuffed(good + bytes([fcs(good)[0] ^ 1, fcs(good)[1]]))
    assert bench.run(sent, expect=1) == [DAMAGED]
    assert bench.beats == [(k, 0) for k in range(19)]


def test_noise_between_commands_costs_no_command():
    rng = random.Random(5)
    inputs, expected = [], 0
    for number in range(30):
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(12)))
        inputs += [noise, b"\x7E", framed(command(READ, 4 * number))]
    bench = Bench(words={4 * k: 1000 + k for k in range(30)})
    expected = [(1000 + k).to_bytes(4, "little") for k in range(30)]
    parts = b"".join(inputs).split(b"\x7E")
    damaged = sum(bool(part) for part in parts) - 30
    replies = bench.run(*inputs, expect=30 + damaged)
    assert [reply[1:] for reply in replies if reply[0] == 4] == expected
    assert [reply for reply in replies if reply[0] != 4] == [DAMAGED] * damaged
    assert not bench.writes and not bench.beats
