"""The memory of the head's vectors: read by the fetch and by the collector, written by the latter.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..geometry import Geometry
from .dual_port_memory import DualPortMemory
from .ports import read_signature, write_signature

__all__ = ["VectorMemory"]


class VectorMemory(wiring.Component):
    """A vector's words behind a read port that two blocks share.

    A read takes one cycle. The collector and the fetch never read in the same cycle; if they did,
    the collector's address would be read. Both see what is read. Words are written whole. Contents
    survive a reset.

    Parameters
    ----------
    geometry : Geometry
    memory : component, optional
        With the ports of :class:`~bamac_hw.memory.dual_port_memory.DualPortMemory`.

    Members
    -------
    fetch, collect : ``Out(ReadPort.Signature)`` of the two readers
    write : ``Out(WritePort.Signature)``
    """

    def __init__(self, geometry: Geometry, *, memory: wiring.Component | None = None):
        g = self._geometry = geometry
        self._memory = memory or DualPortMemory(shape=g.vector_bits, depth=g.vector_words)
        read = read_signature(depth=1 << g.address_bits, shape=g.vector_bits)
        super().__init__({"fetch": Out(read), "collect": Out(read),
                          "write": Out(write_signature(depth=1 << g.address_bits,
                                                       shape=g.vector_bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self._memory
        m.d.comb += [
            memory.read.en.eq(self.collect.en | self.fetch.en),
            memory.read.addr.eq(Mux(self.collect.en, self.collect.addr, self.fetch.addr)),
            self.collect.data.eq(memory.read.data), self.fetch.data.eq(memory.read.data),
            memory.write.en.eq(self.write.en), memory.write.addr.eq(self.write.addr),
            memory.write.data.eq(self.write.data),
        ]
        return m
