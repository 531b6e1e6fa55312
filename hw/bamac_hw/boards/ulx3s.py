"""ULX3S with an ECP5-85k: 25 MHz, doubled by a PLL.

Pins: amaranth-boards, ``ulx3s.py``. PLL: parameters as Project Trellis' ``ecppll -i 25 -o 50``
gives them; the limits of its frequencies are in Lattice FPGA-DS-02012, section 3.19.
"""

from amaranth import *
from amaranth.lib.wiring import In, Out
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from ..geometry import Geometry
from ..program import Program
from .board import Board, BoardTop

__all__ = ["ULX3S", "Ulx3sTop"]

LEDS = 8


class Ulx3sTop(BoardTop):
    """Top of the ULX3S.

    Members
    -------
    clk_25mhz : clock of the board
    uart_rx, uart_tx : from and to the FT231X
    button_n : button PWR, low when pressed: reset
    led_0 : out of reset
    led_1 : a command was damaged or refused
    led_2, led_3 : the serial lines carry something, from and to the host
    """

    def __init__(self, geometry: Geometry, *, program: Program | None = None, cycles: int):
        super().__init__({
            "clk_25mhz": In(1), "uart_rx": In(1, init=1), "uart_tx": Out(1),
            "button_n": In(1, init=1), **{f"led_{n}": Out(1) for n in range(LEDS)},
        }, geometry, program=program, cycles=cycles)

    def elaborate(self, platform):
        m = Module()
        clock, locked = Signal(), Signal()
        # 25 MHz * 24 = 600 MHz, / 12 = 50 MHz
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI="25", a_FREQUENCY_PIN_CLKOP="50", a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_CLKI_DIV=1,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=12, p_CLKOP_CPHASE=5, p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP", p_CLKFB_DIV=2,
            i_CLKI=self.clk_25mhz, i_CLKFB=clock, i_RST=0, i_STDBY=0, i_PHASESEL0=0,
            i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0,
            i_ENCLKOP=0, o_CLKOP=clock, o_LOCK=locked)
        link = self.connect(m, clock=clock, hold=~self.button_n | ~locked)
        m.d.comb += [
            self.led_0.eq(~ResetSignal()), self.led_1.eq(link.fault),
            self.led_2.eq(~self.uart_rx), self.led_3.eq(~self.uart_tx),
        ]
        return m


ULX3S = Board(
    name="ulx3s", title="ULX3S (85F)", target="ecp5-85k", platform=ULX3S_85F_Platform,
    resources={
        "clk_25mhz": ("clk25", 0, None),
        "uart_rx": ("uart", 0, "rx"),
        "uart_tx": ("uart", 0, "tx"),
        "button_n": ("button_pwr", 0, None),
        **{f"led_{n}": ("led", n, None) for n in range(LEDS)},
    },
    top=Ulx3sTop, clock_hz=50_000_000, array="small", baud=1_000_000)
