"""Activation memory with one bank for each pixel of a tile."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from .ports import BankedReadSignature, BankedWriteSignature

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """Banks that are read with an address each and written with a common one.

    Pixel ``(row, col)`` of a map lives in bank ``(row % tile_rows) * tile_cols + col % tile_cols``,
    so the pixels of any window of the tile's size lie in different banks.

    A read takes one cycle; a bank's ``data`` stays until its next read. What a read returns of a
    word that is written in the same cycle is undefined (so that no logic is spent on it); the
    scheduler never lets that happen. Whole words are written. Contents survive a reset.

    Parameters
    ----------
    banks : int
    width : int
        Bits of a word.
    depth : int
        Words of a bank.
    address_bits : int, optional
        Of the ports' addresses; as many as ``depth`` needs. Bits above those are ignored.

    Members
    -------
    read : ``In(BankedReadSignature)``
    write : ``In(BankedWriteSignature)``
    """

    def __init__(self, *, banks: int, width: int, depth: int, address_bits: int | None = None):
        self._banks, self._width, self._depth = banks, width, depth
        sizes = {"banks": banks, "width": width,
                 "address_bits": ceil_log2(depth) if address_bits is None else address_bits}
        super().__init__({"read": In(BankedReadSignature(**sizes)),
                          "write": In(BankedWriteSignature(**sizes))})

    def elaborate(self, platform):
        m = Module()
        for bank in range(self._banks):
            memory = Memory(shape=self._width, depth=self._depth, init=[],
                            attrs={"no_rw_check": 1})
            m.submodules[f"bank_{bank}"] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.en.eq(self.read.en[bank]),
                read.addr.eq(self.read.addr[bank]),
                self.read.data[bank].eq(read.data),
                write.en.eq(self.write.en[bank]),
                write.addr.eq(self.write.addr),
                write.data.eq(self.write.data[bank]),
            ]
        return m
