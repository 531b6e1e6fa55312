"""The host's registers, and what an address means, behind any port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.counters import COUNTER_SLOTS
from ..abi.descriptors import DESCRIPTOR_WORDS, FORMAT_VERSION
from ..abi.registers import COUNTER_WINDOW, DESCRIPTOR_WINDOW, ID_VALUE, Register
from ..geometry import Geometry
from .inside import ControlSignature

__all__ = ["Registers"]


class Registers(wiring.Component):
    """Registers (see ``Register``), and the windows that an access falls in.

    Addresses count 32-bit words. All outputs but ``run`` and ``irq`` follow the inputs in the same
    cycle; a write of a register takes effect in the next one.

    Parameters
    ----------
    geometry : Geometry
    autostart : bool
        ``run`` is set after reset, for designs with the program in the memories' init.

    Members
    -------
    write, write_index, write_data : write a register, if the index is one that can be written
    to_register, to_descriptors, to_weights : the index of a write is a register that can be
        written, or lies in a window that can be, now
    read_index, value : a register's content, 0 if the index is none
    from_register, from_counters : the index of a read is a register, or lies in the window
    irq : a clip was scored and the interrupt is enabled
    control : see :class:`~bamac_hw.host.inside.ControlSignature`
    """

    def __init__(self, geometry: Geometry, *, autostart: bool = False):
        self._geometry, self._autostart = geometry, autostart
        index_bits = geometry.bus_address_bits - 2
        super().__init__({
            "irq": Out(1),
            "control": Out(ControlSignature(geometry)),
            "write": In(1),
            "write_index": In(index_bits),
            "write_data": In(32),
            "to_register": Out(1),
            "to_descriptors": Out(1),
            "to_weights": Out(1),
            "read_index": In(index_bits),
            "value": Out(32),
            "from_register": Out(1),
            "from_counters": Out(1),
        })

    def elaborate(self, platform):
        g, control = self._geometry, self.control
        m = Module()

        run = Signal(init=int(self._autostart))
        irq_enable = Signal()
        interrupt = Signal()
        error = Signal(3)
        clips = Signal(16)
        m.d.comb += [control.run.eq(run), self.irq.eq(irq_enable & interrupt)]
        m.d.sync += [error.eq(error | control.errors), clips.eq(clips + control.clip_done)]
        with m.If(control.clip_done):
            m.d.sync += interrupt.eq(1)

        def in_window(index, base, words):
            """Whether an index is one of so many from a base, which has as many low zeros."""
            bits = (words - 1).bit_length()
            assert (base >> 2) % (1 << bits) == 0
            whole = words == 1 << bits
            return (index[bits:] == base >> bits + 2) & (whole or index[:bits] < words)

        index, data = self.write_index, self.write_data
        m.d.comb += [
            self.to_descriptors.eq(~run & in_window(
                index, DESCRIPTOR_WINDOW, (g.max_layers + 1) * DESCRIPTOR_WORDS)),
            self.to_weights.eq(~run & in_window(index, g.weight_window, g.weight_bytes // 4)),
        ]
        with m.If(index[3:] == 0):
            with m.Switch(index[:3]):
                with m.Case(Register.CONTROL >> 2):
                    m.d.comb += [self.to_register.eq(1),
                                 control.clear_counters.eq(self.write & data[1])]
                    with m.If(self.write):
                        m.d.sync += [run.eq(data[0]), irq_enable.eq(data[2])]
                with m.Case(Register.ERROR >> 2):
                    m.d.comb += self.to_register.eq(1)
                    with m.If(self.write):
                        m.d.sync += error.eq((error & ~data[:3]) | control.errors)
                with m.Case(Register.INTERRUPT >> 2):
                    m.d.comb += self.to_register.eq(1)
                    with m.If(self.write):
                        m.d.sync += interrupt.eq((interrupt & ~data[0]) | control.clip_done)

        index = self.read_index
        m.d.comb += self.from_register.eq(index[3:] == 0)
        if g.counters:
            m.d.comb += self.from_counters.eq(
                in_window(index, COUNTER_WINDOW, g.max_layers * COUNTER_SLOTS))
        with m.If(self.from_register):
            with m.Switch(index[:3]):
                for register, content in {
                    Register.ID: C(ID_VALUE, 32),
                    Register.VERSION: C(FORMAT_VERSION, 32),
                    Register.GEOMETRY: C(int(g.digest()[:8], 16), 32),
                    Register.CONTROL: Cat(run, C(0, 1), irq_enable),
                    Register.STATUS: Cat(control.running, control.waiting, control.score_pending),
                    Register.ERROR: error,
                    Register.CLIPS: clips,
                    Register.INTERRUPT: interrupt,
                }.items():
                    with m.Case(register >> 2):
                        m.d.comb += self.value.eq(content)
        return m
