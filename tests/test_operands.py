# amaranth: UnusedElaboratable=no
"""Operands of each kind of lane, in the order and at the time of the walk."""

import numpy as np
import pytest
from amaranth import Cat, Elaboratable, Module, Signal
from amaranth.sim import Simulator

from bamac_hw.datapath.doubled_operands import DoubledOperands
from bamac_hw.datapath.pair_operands import PairOperands
from bamac_hw.datapath.row_pointer import PairRowPointer, RowPointer
from bamac_hw.datapath.shifted_operands import ShiftedOperands
from bamac_hw.geometry import Geometry
from bamac_hw.memory.weight_store import WeightStore

CHANNELS = 8


class Feed(Elaboratable):
    """A weight store, and behind it the operands; in the dense walk, a pointer in front of it."""

    def __init__(self, geometry, operands, pointer, *, init):
        self.store = WeightStore(geometry, init=init)
        self.write, self.operands, self.pointer = self.store.write, operands, pointer
        self.reading = Signal(geometry.streams)

    def elaborate(self, platform):
        m = Module()
        m.submodules.store, m.submodules.operands = self.store, self.operands
        m.d.comb += self.reading.eq(Cat(port.en for port in self.store.read))
        if self.pointer is not None:
            m.submodules.pointer = self.pointer
            port, = self.store.read
            m.d.comb += [port.en.eq(self.pointer.reading), port.addr.eq(self.pointer.row),
                         self.pointer.step.eq(self.operands.step_read),
                         self.operands.data.eq(port.data)]
        else:
            steps = self.operands.step_read, *self.operands.more_read
            for port, step, data in zip(self.store.read, steps, self.operands.data, strict=True):
                m.d.comb += [port.en.eq(step.row), data.eq(port.data)]
            with m.If(steps[0].byte):
                m.d.comb += self.store.read[0].en.eq(1)
        return m


def steps_of(start_bytes, planes, passes=2, tiles=2, taps=2):
    """Steps of two passes with two tiles each, as the walker makes them, with a fetch per tap."""
    tap = [{"load": 1}, {"load": 1, "compute": 1, "row": 1},
           *[{"shift": 1, "compute": 1}] * (planes - 1)]
    steps = []
    for _ in range(passes):
        steps += [{"byte": 1}] * start_bytes
        for tile in range(tiles):
            steps += [{"start": 1, "pass_": int(tile == 0)}, *(tap * taps),
                      {"clear": 1, "capture": 1}]
    return steps


async def load(ctx, dut, raw, rng):
    """Write the store's bytes in words of 32 bits, in any order."""
    words = np.frombuffer(raw, "<u4").tolist()
    for address in rng.permutation(len(words)).tolist():
        ctx.set(dut.write.en, 1)
        ctx.set(dut.write.addr, address)
        ctx.set(dut.write.data, words[address])
        await ctx.tick()
    ctx.set(dut.write.en, 0)


def expected_operands(starts, weights, planes):
    """What the lanes add in the steps above, by hand."""
    for number in range(2):
        for _ in range(2):
            yield starts[number]
            for tap in range(2):
                for plane in range(planes):
                    yield weights[number][tap] << plane


@pytest.mark.parametrize("acc_bits", [16, 20, 24, 32])
@pytest.mark.parametrize("loaded, family, planes", [
    (False, None, 3), (True, None, 16), (False, "ecp5", 3), (True, "ecp5", 16),
    (False, "ice40", 16)])
def test_operands(acc_bits, loaded, family, planes):
    """Whether the rows come from the init or were loaded in words, every operand is right.

    16 planes move a weight's sign out of 16 and 20 bits: operands are right modulo 2**acc_bits.
    """
    geometry = Geometry("g", channels=CHANNELS, acc_bits=acc_bits, weight_rows=20)
    size, base = -(-acc_bits // 8), 3
    rng = np.random.default_rng(acc_bits)
    starts = rng.integers(-1 << (acc_bits - 1), 1 << (acc_bits - 1), (2, CHANNELS))
    starts[0, :3] = -1 << (acc_bits - 1), (1 << (acc_bits - 1)) - 1, -1
    weights = rng.integers(-128, 128, (2, 2, CHANNELS))
    weights[0, 0, :5] = -128, -127, 127, -1, 1
    rows = [bytes(rng.integers(0, 256, CHANNELS).tolist()) for _ in range(base)]
    for number in range(2):
        for byte in range(size):
            rows.append(bytes(int(s) >> 8 * byte & 0xFF for s in starts[number]))
        rows += [bytes(int(w) & 0xFF for w in row) for row in weights[number]]
    init = () if loaded else [int.from_bytes(row, "little") for row in rows]
    operands = DoubledOperands(geometry, family=family)
    dut = Feed(geometry, operands, RowPointer(geometry), init=init)
    steps = steps_of(size, planes)
    found, reads = [], []

    async def testbench(ctx):
        if loaded:
            await load(ctx, dut, b"".join(rows), rng)
        for _ in range(2):  # a second job gives the same again
            ctx.set(dut.pointer.set, 1)
            ctx.set(dut.pointer.base, base)
            await ctx.tick()
            ctx.set(dut.pointer.set, 0)
            # A step is at stage 3, two cycles later at stage 5, and its operand is out at 6.
            for cycle in range(len(steps) + 3):
                if cycle >= 3:
                    step = steps[cycle - 3]
                    if step.get("start") or step.get("compute"):
                        found.append([
                            ctx.get(gate) & (ctx.get(operand) | ctx.get(fill)) for
                            gate, operand, fill in zip(operands.gate, operands.operand,
                                                       operands.fill, strict=True)])
                read = steps[cycle] if cycle < len(steps) else {}
                ctx.set(operands.step_read, {"byte": 0} | read)
                ctx.set(operands.step_operand, {"byte": 0} | (
                    steps[cycle - 2] if 2 <= cycle < len(steps) + 2 else {}))
                reads.append(ctx.get(dut.reading))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    expected = [(row % (1 << acc_bits)).tolist()
                for row in expected_operands(starts, weights, planes)] * 2
    assert len(found) == len(expected) == 2 * 2 * 2 * (1 + 2 * planes)
    for position, (actual, wanted) in enumerate(zip(found, expected, strict=True)):
        assert actual == wanted, position
    # Rows read: start bytes once per pass, each tap once per tile.
    assert sum(reads) == 2 * (2 * size + 2 * 2 * 2)


@pytest.mark.parametrize("acc_bits", [16, 20, 24, 32])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("planes", [0, 1])
def test_operands_of_pairs(acc_bits, loaded, planes):
    """Two weights and their sum, or a weight and its double; rounds of a tile read them again."""
    reads, base, passes, tiles, rounds, taps = -(-acc_bits // 16), 2, 2, 2, 3 if planes else 1, 3
    geometry = Geometry("g", channels=CHANNELS, acc_bits=acc_bits, weight_rows=40, lane="pair")
    rng = np.random.default_rng(acc_bits)
    starts = rng.integers(-1 << (acc_bits - 1), 1 << (acc_bits - 1), (passes, CHANNELS))
    starts[0, :3] = -1 << (acc_bits - 1), (1 << (acc_bits - 1)) - 1, -1
    weights = rng.integers(-127, 128, (passes, taps, 2, CHANNELS))
    weights[0, 0, :, :3] = (-127, 127, -127), (-127, 127, 127)
    rows = [rng.integers(0, 256, CHANNELS) for _ in range(base)]
    for number in range(passes):
        rows += [starts[number] >> 8 * byte & 0xFF for byte in range(2 * reads)]
        for first, second in weights[number]:
            rows += [first & 0xFF, (2 * first if planes else second) & 0xFF]
    raw = b"".join(bytes(row.tolist()) for row in rows)
    size = 2 * CHANNELS
    words = [int.from_bytes(raw[k:k + size], "little") for k in range(0, len(raw), size)]
    operands = PairOperands(geometry)
    dut = Feed(geometry, operands, PairRowPointer(geometry), init=() if loaded else words)

    steps, expected = [], []
    for number in range(passes):
        steps += [{"byte": 1}] * reads
        for tile in range(tiles):
            for left in reversed(range(rounds)):
                if left == 0:
                    steps.append({"start": 1, "pass_": int(tile == 0)})
                    expected.append((None, None, starts[number].tolist()))
                for first, second in weights[number]:
                    other = 2 * first if planes else second
                    steps.append({"load": 1, "compute": 1, "row": 1})
                    expected.append((first.tolist(), other.tolist(), (first + other).tolist()))
                if left:
                    steps += [{"double": 1}] * 2
            steps.append({"clear": 1, "capture": 1, "pass_": int(tile == tiles - 1)})
    seen, counted = [], []

    async def testbench(ctx):
        ctx.set(operands.planes, planes)
        if loaded:
            await load(ctx, dut, raw, rng)
        for _ in range(2):  # a second job gives the same again
            ctx.set(dut.pointer.set, 1)
            ctx.set(dut.pointer.base, base // 2)
            await ctx.tick()
            ctx.set(dut.pointer.set, 0)
            for cycle in range(len(steps) + 3):
                if cycle >= 3 and {"start", "compute"} & set(steps[cycle - 3]):
                    ports = (operands.first, operands.second, operands.total)
                    seen.append(tuple([ctx.get(port) for port in channels] for channels in ports))
                ctx.set(operands.step_read, steps[cycle] if cycle < len(steps) else {"byte": 0})
                counted.append(ctx.get(dut.reading))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert len(seen) == 2 * len(expected)
    for position, (actual, wanted) in enumerate(zip(seen, expected * 2, strict=True)):
        for port, values in zip(actual, wanted, strict=True):
            assert values is None or port == values, position
    assert sum(counted) == 2 * passes * (reads + tiles * rounds * taps)


@pytest.mark.parametrize("acc_bits, family", [(16, None), (20, "ecp5"), (32, None), (20, "ice40")])
def test_operands_of_events(acc_bits, family):
    """Rows at any address, shifted by the event's plane, with start values in between."""
    size = -(-acc_bits // 8)
    rng = np.random.default_rng(acc_bits)
    starts = rng.integers(-1 << (acc_bits - 1), 1 << (acc_bits - 1), CHANNELS)
    weights = rng.integers(-127, 128, (20 - size, CHANNELS))
    rows = [bytes(int(s) >> 8 * byte & 0xFF for s in starts) for byte in range(size)]
    rows += [bytes(int(w) & 0xFF for w in row) for row in weights]
    geometry = Geometry("g", channels=CHANNELS, acc_bits=acc_bits, weight_rows=20, walk="event")
    operands = ShiftedOperands(geometry, family=family)
    dut = Feed(geometry, operands, None, init=[int.from_bytes(row, "little") for row in rows])
    steps, expected = [({"byte": 1}, k) for k in range(size)], []
    for _ in range(30):
        steps.append(({"start": 1}, 0))
        expected.append(starts.tolist())
        row = int(rng.integers(len(weights)))
        # The row is read once, with the first of its planes; bubbles change nothing.
        for number, plane in enumerate(sorted(rng.choice(8, 3, replace=False).tolist())):
            steps.append(({"compute": 1, "row": int(number == 0), "plane": plane}, size + row))
            expected.append((weights[row] << plane).tolist())
            steps += [({"byte": 0}, int(rng.integers(20)))] * int(rng.integers(2))
    found = []

    async def testbench(ctx):
        for cycle in range(len(steps) + 3):
            if 3 <= cycle:
                step, _ = steps[cycle - 3]
                if step.get("start") or step.get("compute"):
                    found.append([ctx.get(port) for port in operands.operand])
            step, row = steps[cycle] if cycle < len(steps) else ({"byte": 0}, 0)
            ctx.set(dut.store.read[0].addr, row)
            ctx.set(operands.step_read, step)
            ctx.set(operands.step_operand,
                    steps[cycle - 2][0] if 2 <= cycle < len(steps) + 2 else {"byte": 0})
            assert ctx.get(dut.reading) == bool(step.get("byte") or step.get("row"))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    wrap = 1 << acc_bits
    for position, (actual, wanted) in enumerate(zip(found, expected, strict=True)):
        assert [a % wrap for a in actual] == [w % wrap for w in wanted], position
    assert len(found) == 120


def test_streams_read_rows_of_their_own():
    """Two rows and two planes in one cycle; start values go to both; both see what was loaded."""
    geometry = Geometry("g", channels=CHANNELS, acc_bits=16, weight_rows=20, walk="event",
                        streams=2)
    rng = np.random.default_rng(2)
    rows = rng.integers(-127, 128, (20, CHANNELS))
    operands = ShiftedOperands(geometry)
    dut = Feed(geometry, operands, None, init=())
    words = np.frombuffer(rows.astype(np.int8).tobytes(), "<u4").tolist()
    steps, expected = [({"byte": 1}, {}, (k, 0)) for k in range(2)], []
    starts = (256 * rows[1] + rows[0] % 256).tolist()
    for number in range(60):
        if number % 8 == 0:
            steps.append(({"start": 1}, {}, (0, 0)))
            expected.append([starts, starts])
            continue
        planes, chosen = rng.integers(0, 8, 2).tolist(), rng.integers(20, size=2).tolist()
        adds = (True, True) if number % 3 else (number % 2 == 0, number % 2 == 1)
        steps.append((*({"compute": add, "row": add, "plane": plane}
                        for add, plane in zip(adds, planes, strict=True)), chosen))
        expected.append([(rows[row] << plane).tolist() if add else None
                         for add, plane, row in zip(adds, planes, chosen, strict=True)])
    given = []

    async def testbench(ctx):
        for address, word in enumerate(words):
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.addr, address)
            ctx.set(dut.write.data, word)
            await ctx.tick()
        ctx.set(dut.write.en, 0)
        for cycle in range(len(steps) + 3):
            if 3 <= cycle and "byte" not in steps[cycle - 3][0]:
                found = [ctx.get(port) for port in operands.operand]
                given.append([found[:CHANNELS], found[CHANNELS:]])
            first, second, at = steps[cycle] if cycle < len(steps) else ({}, {}, (0, 0))
            ctx.set(dut.store.read[0].addr, at[0])
            ctx.set(dut.store.read[1].addr, at[1])
            ctx.set(operands.step_read, {"byte": 0} | first)
            ctx.set(operands.more_read[0], {"compute": 0} | second)
            late = steps[cycle - 2] if 2 <= cycle < len(steps) + 2 else ({}, {})
            ctx.set(operands.step_operand, {"byte": 0} | late[0])
            ctx.set(operands.more_operand[0], {"compute": 0} | late[1])
            assert ctx.get(dut.reading) == (bool(first.get("byte") or first.get("row"))
                                            + 2 * bool(second.get("row")))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    for position, (actual, wanted) in enumerate(zip(given, expected, strict=True)):
        for stream in range(2):
            assert wanted[stream] in (None, actual[stream]), (position, stream)
    assert len(given) == 60
