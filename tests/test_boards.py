# amaranth: UnusedElaboratable=no
"""Boards: pins, clocks, and that tops and constraint files name the same ports."""

import re
from functools import cache

import pytest

from bamac.fpga import Target, implement
from bamac.fpga.pins import constraints
from bamac_hw.boards import BOARDS, Board, BoardError
from bamac_hw.geometry import Geometry
from bamac_hw.serial.serial_link import clocks_per_bit
from bamac_sim.board import pll_model

NANO = Geometry("nano", channels=4, acc_bits=16, weight_rows=512,
                input_words=64, line_words=64, vector_words=64, max_layers=2, counters=False)

# From the boards' own files: ulx3s_v20.lpf (emard/ulx3s), icebreaker.pcf
# (icebreaker-fpga/icebreaker-verilog-examples).
SITES = {
    "ulx3s": {"clk_25mhz": "G2", "uart_rx": "M1", "uart_tx": "L4", "button_n": "D6",
              **dict(zip((f"led_{n}" for n in range(8)),
                         "B2 C2 C1 D2 D1 E2 E1 H3".split(), strict=True))},
    "icebreaker": {"clk_12mhz": "35", "uart_rx": "6", "uart_tx": "9", "button_n": "10",
                   "led_red_n": "11", "led_green_n": "37"},
}


@pytest.fixture(scope="module", params=BOARDS)
def board(request):
    return BOARDS[request.param]


@cache
def verilog_of(name):
    return BOARDS[name].verilog(NANO)


def ports(verilog, module):
    header = re.search(rf"^module {module}\((.*?)\);", verilog, re.S | re.M)[1]
    return {name.strip() for name in header.split(",")}


def test_pins_are_those_of_the_boards_own_files(board):
    assert {pin.port: pin.site for pin in board.pins()} == SITES[board.name]


def test_every_port_of_the_top_has_its_pin(board):
    assert ports(verilog_of(board.name), board.module) == set(SITES[board.name])
    for pin in board.pins():
        assert pin.inverted == pin.port.endswith("_n")


def test_constraint_file_places_every_port_once(board):
    family = Target.named(board.target).family
    text = constraints(board, family)
    pattern = r'^LOCATE COMP "(\w+)" SITE "(\w+)";$' if family == "ecp5" else \
        r"^set_io (?:-pullup yes )?(\w+) (\w+)$"
    assert dict(re.findall(pattern, text, re.M)) == SITES[board.name]
    assert len(re.findall(pattern, text, re.M)) == len(SITES[board.name])


def test_constraint_files_say_level_pull_and_clock():
    ulx3s = constraints(BOARDS["ulx3s"], "ecp5").splitlines()
    assert 'IOBUF PORT "button_n" IO_TYPE=LVCMOS33 PULLMODE=UP;' in ulx3s
    assert 'FREQUENCY PORT "clk_25mhz" 25 MHZ;' in ulx3s
    icebreaker = constraints(BOARDS["icebreaker"], "ice40").splitlines()
    assert "set_io -pullup yes uart_rx 6" in icebreaker
    assert "set_frequency clk_12mhz 12" in icebreaker


def test_pll_makes_the_clock_that_the_board_is_built_for():
    number = {name: int(value) for name, value in re.findall(r"\.(\w+_DIV)\(32'd(\d+)\)",
                                                             verilog_of("ulx3s"))}
    clock_in = next(pin.clock_hz for pin in BOARDS["ulx3s"].pins() if pin.clock_hz)
    clock = clock_in / number["CLKI_DIV"] * number["CLKFB_DIV"]
    assert clock == BOARDS["ulx3s"].clock_hz == 50e6
    assert 400e6 <= clock * number["CLKOP_DIV"] <= 800e6, "VCO, Lattice FPGA-DS-02012"


def test_simulation_model_of_the_pll_has_the_ports_that_are_used():
    used = re.search(r"EHXPLLL #\((.*?)\) \S+ \((.*?)\);", verilog_of("ulx3s"), re.S)
    parameters, pins = (set(re.findall(r"\.(\w+)\(", part)) for part in used.groups())
    model = pll_model()
    assert parameters == set(re.findall(r"parameter (\w+)", model))
    assert pins == set(re.findall(r"(?:^    |, )(?:input|output) (\w+)", model, re.M))


def test_baud_rate_decides_the_cycles_of_a_bit(board):
    assert board.cycles_per_bit() * 1_000_000 == board.clock_hz
    assert board.cycles_per_bit(115_200) == round(board.clock_hz / 115_200)
    with pytest.raises(BoardError, match="^Baud rate must be at most a quarter of the clock of "
                                         f"{board.clock_hz} Hz, not {board.clock_hz // 2}$"):
        board.verilog(NANO, baud=board.clock_hz // 2)


def test_baud_rate_that_the_clock_cannot_make():
    with pytest.raises(ValueError, match=r"^Baud rate must be within 2 % of a divisor of the clock "
                                         r"of 12000000 Hz, not 2700000 \(nearest: 3000000\)$"):
        clocks_per_bit(12_000_000, 2_700_000)


def test_unknown_board():
    with pytest.raises(BoardError, match="^Board must be one of ulx3s, icebreaker, not 'arty'$"):
        Board.named("arty")


def test_program_of_another_geometry_is_refused(board):
    from bamac.compiler import compile_network
    from bamac.ir.random_networks import random_case
    from bamac_hw.program import ProgramError

    wide = Geometry("wide", channels=8, acc_bits=24, weight_rows=8192, line_words=4096)
    program = compile_network(random_case(0, pools=[(1, 1)]).network, wide)
    with pytest.raises(ProgramError, match="^Program is for geometry wide, not for nano$"):
        board.verilog(NANO, program)


@pytest.mark.slow
def test_bitstream_of_a_small_array_meets_the_boards_clock(board, tmp_path):
    from bamac.fpga.cache import Cache

    result = implement(NANO, board=board, cache=Cache(tmp_path))
    assert result["timing_met"] and result["board"] == board.name
    assert result["target"]["clock_mhz"] == board.clock_hz / 1e6
    assert not result["pin_shell"]
    with open(result["bitstream"], "rb") as file:
        assert len(file.read()) > 10_000
