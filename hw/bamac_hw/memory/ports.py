"""Ports of the accelerator's memories, as their users see them.

Memories with one address per port have Amaranth's own port signatures
(``amaranth.lib.memory.ReadPort.Signature`` and ``WritePort.Signature``), which are written from the
memory's side; these functions give them with the width of an address worked out.
"""


from amaranth.hdl import ShapeLike
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..lib.signature import SizedSignature

__all__ = ["BankedReadSignature", "BankedWriteSignature", "read_signature", "write_signature"]


def read_signature(*, depth: int, shape: ShapeLike) -> ReadPort.Signature:
    """A read port, as the memory sees it: ``en``, ``addr``, and ``data`` one cycle later.

    Without ``en``, ``data`` stays as it is.
    """
    return ReadPort.Signature(addr_width=ceil_log2(depth), shape=shape)


def write_signature(*, depth: int, shape: ShapeLike) -> WritePort.Signature:
    """A write port, as the memory sees it: ``en``, ``addr``, ``data``; whole words only."""
    return WritePort.Signature(addr_width=ceil_log2(depth), shape=shape)


class _BankedSignature(SizedSignature):
    """Banks of a memory, of any sizes; ``geometry`` is (banks, width, address bits)."""

    def __init__(self, *, banks: int, width: int, address_bits: int):
        super().__init__((banks, width, address_bits))


class BankedReadSignature(_BankedSignature):
    """Read ports of a banked memory, as its user sees them.

    Parameters
    ----------
    banks, width, address_bits : int

    Members
    -------
    en : one bit per bank
    addr : an address per bank
    data : a word per bank, one cycle later; of a bank without ``en`` the word from before
    """

    @classmethod
    def sizes(cls, geometry):
        banks, width, address_bits = geometry
        return {"en": Out(banks), "addr": Out(address_bits).array(banks),
                "data": In(width).array(banks)}


class BankedWriteSignature(_BankedSignature):
    """Write ports of a banked memory, as its user sees them.

    Parameters
    ----------
    banks, width, address_bits : int

    Members
    -------
    en : one bit per bank
    addr : one address for all banks
    data : a word per bank
    """

    @classmethod
    def sizes(cls, geometry):
        banks, width, address_bits = geometry
        return {"en": Out(banks), "addr": Out(address_bits), "data": Out(width).array(banks)}
