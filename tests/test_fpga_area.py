"""Upper bounds of what the presets cost, so that no change makes them larger unseen."""

import pytest

from bamac.fpga.flow import implement, implement_verilog
from bamac_hw.boards import BOARDS
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, verilog_text


@pytest.mark.slow
def test_small_after_mapping():
    """Without place and route, and without a program: the memories' contents cost nothing."""
    result = implement_verilog(verilog_text(Geometry.preset("small"), family="ecp5"), TOP,
                               "ecp5-25k", place=False)
    total = result["resources"]
    assert total["lut"] <= 5760  # 45 per lane
    assert total["bram"] <= 47 and total["dsp"] == 0
    # One LUT for each accumulator's chain beside the 20 of its sum.
    assert result["modules"]["lanes"]["lut"] <= 128 * 21 + 10


@pytest.mark.slow
@pytest.mark.parametrize("board", [None, "icebreaker"])
def test_tiny_on_its_device(board):
    """Placed and routed; with nine cells of ten nextpnr would find no legal placement."""
    result = implement(Geometry.preset("tiny"), None if board else "ice40-up5k",
                       board=BOARDS[board] if board else None)
    used = result["seeds"][0]["used"]
    assert used["lut"] <= 4690 and used["spram"] == 4
    assert result["fmax_mhz"]["lowest"] >= 18  # half as fast again as the board's clock
