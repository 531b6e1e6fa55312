"""A board: its clock, its pins, and the module that joins them to the accelerator."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer

from ..geometry import Geometry
from ..program import Program, ProgramError
from ..serial.serial_accelerator import SerialAccelerator
from ..serial.serial_link import clocks_per_bit
from ..verilog import WAIVERS, without_init

__all__ = ["BOARDS", "Board", "BoardError", "BoardTop", "Pin", "register_board"]

RESET_CYCLES = 256  # block RAMs of iCE40 need some microseconds after configuration


class BoardError(ValueError):
    """A board that is not known, or a request that it cannot fulfil."""


@dataclass(frozen=True)
class Pin:
    """One pin of a board's top.

    Parameters
    ----------
    port : str
        Port of the top, one bit.
    site : str
        Pin of the package.
    inverted : bool
        The port is the pin's level; this says that the signal's meaning is the opposite.
    attributes : dict
        As amaranth-boards has them, such as ``IO_TYPE``.
    clock_hz : float, optional
        Of a clock input.
    """

    port: str
    site: str
    inverted: bool
    attributes: dict
    clock_hz: float | None = None


@dataclass(frozen=True)
class Board:
    """What is needed to build a top for a board.

    Parameters
    ----------
    name, title : str
    target : str
        FPGA target, see :mod:`bamac.fpga.targets`.
    platform : callable
        Gives the board's definition from amaranth-boards.
    resources : dict
        Port of the top: resource, number, and subsignal or None in that definition.
    top : callable (geometry, program, cycles) -> Component
    clock_hz : int
        Clock of the design, made of the board's.
    array : str
        Preset that fits the board.
    baud : int
        Of the serial link, unless told otherwise.
    """

    name: str
    title: str
    target: str
    platform: Callable
    resources: dict
    top: Callable
    clock_hz: int
    array: str
    baud: int

    @property
    def module(self) -> str:
        """Name of the top's module."""
        return f"bamac_{self.name}"

    def pins(self) -> list[Pin]:
        """Every pin of the top, as a list of :class:`Pin`."""
        platform = self.platform()
        pins = []
        for port, (resource, number, part) in self.resources.items():
            found = platform.lookup(resource, number)
            item = next((io for io in found.ios if part is not None and io.name == part),
                        found) if part else found
            io = item.ios[0]
            pins.append(Pin(port, " ".join(io.names), io.invert,
                            {**found.attrs, **(item.attrs if item is not found else {})},
                            found.clock.frequency if found.clock else None))
        return pins

    def cycles_per_bit(self, baud: int | None = None) -> int:
        """Clock cycles of one bit of the serial port.

        Raises
        ------
        BoardError
            If the baud rate cannot be made from the clock.
        """
        try:
            return clocks_per_bit(self.clock_hz, baud or self.baud)
        except ValueError as error:
            raise BoardError(str(error)) from None

    def verilog(self, geometry: Geometry, program: Program | None = None, *,
                baud: int | None = None) -> str:
        """Verilog of the top; depends on the arguments alone.

        Raises
        ------
        BoardError
            If the baud rate cannot be made from the clock.
        ProgramError
            If ``program`` was compiled for another geometry.
        """
        cycles = self.cycles_per_bit(baud)
        if program is not None and program.geometry.digest() != geometry.digest():
            raise ProgramError(f"Program is for geometry {program.geometry.name}, "
                               f"not for {geometry.name}")
        os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
        text = verilog.convert(self.top(geometry, program=program, cycles=cycles),
                               name=self.module, emit_src=False, strip_internal_attrs=True)
        if program is None:
            text = without_init(text, "store")
        lines = [f"// BAMAC on {self.title}, array {geometry.name}, {self.clock_hz} Hz, "
                 f"{cycles} cycles per bit of the serial port"]
        for rule, reason in WAIVERS.items():
            lines += [f"// {reason}:", f"/* verilator lint_off {rule} */"]
        return "\n".join(lines) + "\n" + text

    @classmethod
    def named(cls, name: str) -> "Board":
        """The registered board of that name.

        Raises
        ------
        BoardError
            If there is none.
        """
        if name not in BOARDS:
            raise BoardError(f"Board must be one of {', '.join(BOARDS)}, not {name!r}")
        return BOARDS[name]


BOARDS: dict[str, Board] = {}
"""Boards by name, as commands take them."""


def register_board(board: Board) -> Board:
    """Make a board known by its name; returns it.

    Raises
    ------
    ValueError
        If the name belongs to another board already.
    """
    if BOARDS.setdefault(board.name, board) is not board:
        raise ValueError(f"Board must have a name of its own, not {board.name!r}")
    return board


class BoardTop(wiring.Component):
    """What the tops of all boards share.

    Parameters
    ----------
    ports : dict
        Members of the top; ``uart_rx`` and ``uart_tx`` among them.
    geometry : Geometry
    program : Program, optional
    cycles : int
        Clock cycles of one bit of the serial lines.
    family : str or None
        See ``Accelerator``.
    """

    def __init__(self, ports: dict, geometry: Geometry, *, program: Program | None, cycles: int,
                 family: str | None = None):
        self._link = SerialAccelerator(geometry, program=program, cycles=cycles, family=family)
        super().__init__(ports)

    def connect(self, m: Module, *, clock: Value, hold: Value) -> SerialAccelerator:
        """Drive the domain ``sync``, and the serial accelerator in it.

        Parameters
        ----------
        m : Module
        clock : Value
        hold : Value
            Reset while this is high (asynchronous), and ``RESET_CYCLES`` more.

        Returns
        -------
        SerialAccelerator
        """
        m.domains.sync = ClockDomain()
        m.domains.start = ClockDomain(reset_less=True)
        held = Signal(init=1)
        waited = Signal(range(RESET_CYCLES + 1))
        reset = Signal(init=1)
        m.submodules.hold = FFSynchronizer(hold, held, o_domain="start", init=1)
        with m.If(held):
            m.d.start += waited.eq(0)
        with m.Elif(waited != RESET_CYCLES):
            m.d.start += waited.eq(waited + 1)
        m.d.start += reset.eq(waited != RESET_CYCLES)
        m.submodules.link = link = self._link
        m.d.comb += [
            ClockSignal("start").eq(clock), ClockSignal().eq(clock), ResetSignal().eq(reset),
            link.rx.eq(self.uart_rx), self.uart_tx.eq(link.tx),
        ]
        return link
