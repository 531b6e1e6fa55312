# amaranth: UnusedElaboratable=no
"""The memories behind their ports, banks, and memories of a user's own in the accelerator."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from bamac_hw.accelerator import Accelerator
from bamac_hw.geometry import Geometry
from bamac_hw.memory.banked_memory import BankedMemory
from bamac_hw.memory.dual_port_memory import DualPortMemory
from bamac_hw.memory.memories import Memories
from bamac_hw.memory.ports import read_signature, write_signature
from bamac_hw.memory.vector_memory import VectorMemory
from bamac_hw.memory.weight_store import WeightStore

# --- Banks that are read with an address each and written with a common one


def test_random_traffic_against_lists():
    banks, width, depth = 3, 5, 7
    dut = BankedMemory(banks=banks, width=width, depth=depth)
    rng = random.Random(11)
    contents = [[0] * depth for _ in range(banks)]
    compared = [0]

    async def testbench(ctx):
        seen = [0] * banks
        for _ in range(200):
            write_en, read_en = rng.randrange(1 << banks), rng.randrange(1 << banks)
            write_addr = rng.randrange(depth)
            ctx.set(dut.write.en, write_en)
            ctx.set(dut.write.addr, write_addr)
            ctx.set(dut.read.en, read_en)
            new = list(seen)
            writes = []
            for bank in range(banks):
                value, address = rng.randrange(1 << width), rng.randrange(depth)
                ctx.set(dut.write.data[bank], value)
                ctx.set(dut.read.addr[bank], address)
                if read_en >> bank & 1:
                    new[bank] = contents[bank][address]  # the old word on a collision
                if write_en >> bank & 1:
                    writes.append((bank, value))
            for bank, value in writes:
                contents[bank][write_addr] = value
            await ctx.tick()
            seen = new
            for bank in range(banks):
                assert ctx.get(dut.read.data[bank]) == seen[bank], bank
                compared[0] += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert compared[0] == 600


# --- Ports, and a user's own memories


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_a_read_takes_a_cycle_and_stays():
    dut = DualPortMemory(shape=8, depth=10, init=[3, 1, 4])
    rng = random.Random(1)
    content = [3, 1, 4] + [0] * 7

    async def testbench(ctx):
        held = 0
        for _ in range(300):
            en, addr, write, at, value = (rng.randrange(2), rng.randrange(10), rng.randrange(2),
                                          rng.randrange(10), rng.randrange(256))
            if en and write and at == addr:
                write = 0  # what is read then is undefined
            ctx.set(dut.read.en, en)
            ctx.set(dut.read.addr, addr)
            ctx.set(dut.write.en, write)
            ctx.set(dut.write.addr, at)
            ctx.set(dut.write.data, value)
            held = content[addr] if en else held
            if write:
                content[at] = value
            await ctx.tick()
            assert ctx.get(dut.read.data) == held
    simulate(dut, testbench)


@pytest.mark.parametrize("streams", [1, 2])
def test_weights_are_written_in_32_bits_and_read_in_rows(streams):
    walk = "event" if streams == 2 else "dense"
    g = Geometry("g", channels=8, weight_rows=20, walk=walk, streams=streams)
    dut = WeightStore(g, init=[7] * 20)
    rng = random.Random(2)
    rows = [[7, 0] for _ in range(20)]

    async def testbench(ctx):
        for word in rng.sample(range(40), 25):
            value = rng.randrange(1 << 32)
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.addr, word)
            ctx.set(dut.write.data, value)
            rows[word // 2][word % 2] = value
            await ctx.tick()
        ctx.set(dut.write.en, 0)
        for _ in range(60):
            at = [rng.randrange(20) for _ in dut.read]
            for port, row in zip(dut.read, at, strict=True):
                ctx.set(port.en, 1)
                ctx.set(port.addr, row)
            await ctx.tick()
            for port, row in zip(dut.read, at, strict=True):
                assert ctx.get(port.data) == rows[row][0] | rows[row][1] << 32
    simulate(dut, testbench)


def test_two_readers_of_vectors_take_turns():
    g = Geometry("g", channels=4, weight_rows=16)
    dut = VectorMemory(g)

    async def testbench(ctx):
        ctx.set(dut.fetch.en, 0)
        ctx.set(dut.collect.en, 0)
        for at in range(8):
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.addr, at)
            ctx.set(dut.write.data, 100 + at)
            await ctx.tick()
        ctx.set(dut.write.en, 0)
        for at in range(8):
            port = (dut.fetch, dut.collect)[at % 2]
            ctx.set(port.en, 1)
            ctx.set(port.addr, at)
            await ctx.tick()
            ctx.set(port.en, 0)
            assert ctx.get(port.data) == 100 + at
    simulate(dut, testbench)


class Macro(wiring.Component):
    """An SRAM macro with the ports of ``DualPortMemory``."""

    def __init__(self, *, shape, depth):
        self._sizes = {"p_WIDTH": shape, "p_DEPTH": depth}
        super().__init__({"read": Out(read_signature(depth=depth, shape=shape)),
                          "write": Out(write_signature(depth=depth, shape=shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.macro = Instance(
            "my_sram", **self._sizes, i_re=self.read.en, i_ra=self.read.addr,
            o_rd=self.read.data, i_we=self.write.en, i_wa=self.write.addr, i_wd=self.write.data)
        return m


class Macros(Memories):
    def vector(self, geometry):
        return VectorMemory(geometry, memory=Macro(shape=geometry.vector_bits,
                                                   depth=geometry.vector_words))

    def counters(self, geometry):
        return Macro(shape=32, depth=32 * geometry.max_layers)


def test_a_user_replaces_memories_by_macros():
    g = Geometry("g", channels=4, weight_rows=16, line_words=16, input_words=16)
    assert rtlil.convert(Accelerator(g)).count("cell \\my_sram") == 0
    assert rtlil.convert(Accelerator(g, memories=Macros())).count("cell \\my_sram") == 2
