# amaranth: UnusedElaboratable=no
"""Banks that are read with an address each and written with a common one."""

import random

from amaranth.sim import Simulator

from bamac_hw.memory.banked_memory import BankedMemory


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
