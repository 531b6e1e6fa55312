"""Activation memory with one bank for each pixel of a tile."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """Banks that are read with an address each and written with a common one.

    Pixel ``(row, col)`` of a map lives in bank ``(row % tile_rows) * tile_cols + col % tile_cols``,
    so the pixels of any window of the tile's size lie in different banks.

    A read takes one cycle. What a read returns of a word that is written in the same cycle is
    undefined (so that no logic is spent on it); the scheduler never lets that happen.

    Parameters
    ----------
    banks : int
    width : int
        Bits of a word.
    depth : int
        Words of a bank.

    Members
    -------
    read_en, read_addr, read_data : arrays of ``banks``
    write_en, write_data : arrays of ``banks``
    write_addr : one address for all banks
    """

    def __init__(self, *, banks, width, depth):
        self._banks, self._width, self._depth = banks, width, depth
        address = range(depth)
        super().__init__({
            "read_en": In(banks),
            "read_addr": In(address).array(banks),
            "read_data": Out(width).array(banks),
            "write_en": In(banks),
            "write_addr": In(address),
            "write_data": In(width).array(banks),
        })

    def elaborate(self, platform):
        m = Module()
        for bank in range(self._banks):
            memory = Memory(shape=self._width, depth=self._depth, init=[],
                            attrs={"no_rw_check": 1})
            m.submodules[f"bank_{bank}"] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.en.eq(self.read_en[bank]),
                read.addr.eq(self.read_addr[bank]),
                self.read_data[bank].eq(read.data),
                write.en.eq(self.write_en[bank]),
                write.addr.eq(self.write_addr),
                write.data.eq(self.write_data[bank]),
            ]
        return m
