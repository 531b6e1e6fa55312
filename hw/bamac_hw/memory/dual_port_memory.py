"""A memory with one read and one write port."""

from collections.abc import Sequence

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out, connect, flipped

from .ports import read_signature, write_signature

__all__ = ["DualPortMemory"]


class DualPortMemory(wiring.Component):
    """Words that are read and written through a port each, whole.

    A read takes one cycle; ``read.data`` stays until the next one. What a read returns of a word
    that is written in the same cycle is undefined, so that no logic is spent on it: nothing in the
    accelerator uses it. Contents survive a reset.

    Parameters
    ----------
    shape : shape-like
        Of a word.
    depth : int
        Words.
    init : sequence
        Initial words; the others are zero.
    block : bool
        Ask for block RAM, where tools would build a memory of this depth from LUTs.

    Members
    -------
    read : ``Out(ReadPort.Signature)``, see :func:`~bamac_hw.memory.ports.read_signature`
    write : ``Out(WritePort.Signature)``, see :func:`~bamac_hw.memory.ports.write_signature`
    """

    def __init__(self, *, shape: ShapeLike, depth: int, init: Sequence = (), block: bool = False):
        self._shape, self._depth, self._init, self._block = shape, depth, list(init), block
        super().__init__({"read": Out(read_signature(depth=depth, shape=shape)),
                          "write": Out(write_signature(depth=depth, shape=shape))})

    @property
    def shape(self) -> ShapeLike:
        """Of a word."""
        return self._shape

    @property
    def depth(self) -> int:
        """Words."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        attrs = {"no_rw_check": 1} | ({"ram_style": "block"} if self._block else {})
        m.submodules.words = words = Memory(
            shape=self._shape, depth=self._depth, init=self._init, attrs=attrs)
        connect(m, flipped(self.read), words.read_port())
        connect(m, flipped(self.write), words.write_port())
        return m
