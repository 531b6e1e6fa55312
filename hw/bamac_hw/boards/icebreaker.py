"""iCEBreaker: iCE40UP5K, 12 MHz.

The accelerator runs at the board's 12 MHz; a PLL would gain nothing, since the UP5K is not much
faster than that. Pins: amaranth-boards, ``icebreaker.py``.
"""

from amaranth import *
from amaranth.lib.wiring import In, Out
from amaranth_boards.icebreaker import ICEBreakerPlatform

from ..geometry import Geometry
from ..program import Program
from .board import Board, BoardTop

__all__ = ["ICEBREAKER", "IceBreakerTop"]


class IceBreakerTop(BoardTop):
    """Top of the iCEBreaker.

    Members
    -------
    clk_12mhz : clock of the board
    uart_rx, uart_tx : from and to the second port of the FT2232H
    button_n : user button, low when pressed: reset
    led_green_n, led_red_n : low is on; out of reset; a command was damaged or refused
    """

    def __init__(self, geometry: Geometry, *, program: Program | None = None, cycles: int):
        super().__init__({
            "clk_12mhz": In(1), "uart_rx": In(1, init=1), "uart_tx": Out(1),
            "button_n": In(1, init=1), "led_green_n": Out(1), "led_red_n": Out(1),
        }, geometry, program=program, cycles=cycles, family="ice40")

    def elaborate(self, platform):
        m = Module()
        link = self.connect(m, clock=self.clk_12mhz, hold=~self.button_n)
        m.d.comb += [self.led_green_n.eq(ResetSignal()), self.led_red_n.eq(~link.fault)]
        return m


ICEBREAKER = Board(
    name="icebreaker", title="iCEBreaker", target="ice40-up5k", platform=ICEBreakerPlatform,
    resources={
        "clk_12mhz": ("clk12", 0, None),
        "uart_rx": ("uart", 0, "rx"),
        "uart_tx": ("uart", 0, "tx"),
        "button_n": ("button", 0, None),
        "led_green_n": ("led_g", 0, None),
        "led_red_n": ("led_r", 0, None),
    },
    top=IceBreakerTop, clock_hz=12_000_000, array="tiny", baud=1_000_000)
