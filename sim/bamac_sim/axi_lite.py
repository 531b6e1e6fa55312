"""AXI4-Lite master: loads programs and reads registers.

cocotbext-axi's master hands every word through queues between tasks, and logs the whole burst; a
program is tens of thousands of words. This one writes a word per cycle from a single task.
"""

import logging

from cocotb.triggers import RisingEdge

__all__ = ["AxiLiteMaster", "BusError"]


class BusError(RuntimeError):
    """A register access was answered with an error."""


class AxiLiteMaster:
    """One access at a time (reads), or a word per cycle (writes).

    Parameters
    ----------
    dut : handle with the ports
    prefix : str
    clock : handle
    stall : float
        Probability of a cycle of hesitation on any channel.
    rng : random.Random
    """

    _INPUTS = ("awaddr", "awprot", "awvalid", "wdata", "wstrb", "wvalid", "bready",
               "araddr", "arprot", "arvalid", "rready")
    _OUTPUTS = ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid")

    def __init__(self, dut, prefix, clock, *, stall=0.0, rng=None):
        for name in self._INPUTS + self._OUTPUTS:
            setattr(self, name, getattr(dut, f"{prefix}_{name}"))
        self._edge = RisingEdge(clock)
        self._stall, self._rng = stall, rng
        self.log = logging.getLogger(f"bamac.{prefix}")
        self.clear()

    def clear(self):
        """Offer nothing."""
        for name in self._INPUTS:
            getattr(self, name).value = 0
        self.wstrb.value = 0xF

    def _hesitates(self):
        return bool(self._stall) and self._rng.random() < self._stall

    async def write(self, address, value):
        """Write one word."""
        await self.write_words(address, [value])

    async def write_words(self, address, words):
        """Write consecutive words; returns after the last answer.

        Raises
        ------
        BusError
            If a write is refused.
        """
        edge = self._edge
        offered, pending = 0, 0
        address_open = data_open = False
        address_level = data_level = bready = 0
        self.log.debug("write %d words at %#x", len(words), address)
        while offered < len(words) or pending:
            if not (address_open or data_open) and offered < len(words) and not self._hesitates():
                self.awaddr.value = address + 4 * offered
                self.wdata.value = words[offered]
                address_open = data_open = True
                offered += 1
                pending += 1
            # A write in cocotb is dear, so only changes are written.
            if address_open != address_level:
                self.awvalid.value = address_level = int(address_open)
            if data_open != data_level:
                self.wvalid.value = data_level = int(data_open)
            if (wanted := not self._hesitates()) != bready:
                self.bready.value = bready = int(wanted)
            await edge
            if address_open and self.awready.value == 1:
                address_open = False
            if data_open and self.wready.value == 1:
                data_open = False
            if bready and self.bvalid.value == 1:
                pending -= 1
                if int(self.bresp.value):
                    raise BusError(f"Write at {address:#x} or in the {len(words)} words from there "
                                   f"was refused")
        self.bready.value = 0

    async def read(self, address):
        """Read one word.

        Raises
        ------
        BusError
            If the read is refused.
        """
        edge = self._edge
        while self._hesitates():
            await edge
        self.araddr.value = address
        self.arvalid.value = 1
        await edge
        while self.arready.value != 1:
            await edge
        self.arvalid.value = 0
        while self._hesitates():
            await edge
        self.rready.value = 1
        await edge
        while self.rvalid.value != 1:
            await edge
        self.rready.value = 0
        if int(self.rresp.value):
            raise BusError(f"Read at {address:#x} was refused")
        value = int(self.rdata.value)
        self.log.debug("read %#x at %#x", value, address)
        return value

    async def read_words(self, address, count):
        """Read consecutive words."""
        return [await self.read(address + 4 * k) for k in range(count)]
