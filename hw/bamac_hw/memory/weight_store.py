"""The memory of weights and start values."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import Out, connect, flipped

from ..geometry import Geometry
from .ports import read_signature, write_signature

__all__ = ["WeightStore", "weight_read_signature", "weight_write_signature"]


def weight_read_signature(geometry: Geometry) -> ReadPort.Signature:
    """A read port of the weight store: words of ``store_rows`` rows of ``channels`` weights."""
    g = geometry
    return read_signature(depth=g.weight_rows // g.store_rows,
                          shape=8 * g.channels * g.store_rows)


def weight_write_signature(geometry: Geometry) -> WritePort.Signature:
    """The host's write port of the weight store: 32-bit words, of which several make a word read.
    """
    return write_signature(depth=geometry.weight_bytes // 4, shape=32)


class WeightStore(wiring.Component):
    """Words of weights, with a read port for each stream of weight rows, and one for masks.

    A read takes one cycle; ``data`` stays until the port's next one. A write is of 32 bits: the
    lowest bits of its address choose a part of a word. The host writes only while nothing runs:
    what is read in the cycle of a write is undefined.

    The write shares the first read port's address, and its enable is covered by the read's: a
    single-ported memory with one enable will do for one stream, and block RAM with two ports holds
    the words once for two.

    Parameters
    ----------
    geometry : Geometry
    init : sequence of int
        Initial words, ``8 * channels * store_rows`` bits each.

    Members
    -------
    read : ``Out(weight_read_signature(geometry))``, ``weight_ports`` of them
    write : ``Out(weight_write_signature(geometry))``
    """

    def __init__(self, geometry: Geometry, *, init: Sequence[int] = ()):
        self._geometry, self._init = geometry, init
        super().__init__({"read": Out(weight_read_signature(geometry)).array(geometry.weight_ports),
                          "write": Out(weight_write_signature(geometry))})

    def elaborate(self, platform):
        g = self._geometry
        m = Module()

        # Nothing uses what is read in the cycle of a write, so no logic need keep it.
        m.submodules.store = store = Memory(
            shape=8 * g.channels * g.store_rows, depth=g.weight_rows // g.store_rows,
            init=list(self._init), attrs={"no_rw_check": 1})
        read = store.read_port()
        write = store.write_port(granularity=32)
        words = g.channels * g.store_rows // 4
        words_log2 = words.bit_length() - 1
        address = Signal(range(g.weight_rows // g.store_rows))
        first, *others = self.read
        m.d.comb += [
            address.eq(Mux(self.write.en, self.write.addr >> words_log2, first.addr)),
            write.addr.eq(address),
            write.data.eq(self.write.data.replicate(words)),
            write.en.eq(self.write.en << self.write.addr[:words_log2] if words_log2 else
                        self.write.en),
            read.en.eq(first.en | self.write.en),
            read.addr.eq(address),
            first.data.eq(read.data),
        ]
        for port in others:
            connect(m, flipped(port), store.read_port())
        return m
