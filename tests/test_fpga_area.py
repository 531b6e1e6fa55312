"""Upper bounds of what the presets cost, so that no change makes them larger unseen."""

import pytest

from bamac.fpga import Target, flow
from bamac.fpga.cache import Cache
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import TOP, verilog_text


@pytest.mark.slow
def test_small_after_mapping():
    """Without place and route, and without a program: the memories' contents cost nothing."""
    verilog = verilog_text(Geometry.preset("small"))
    _, synthesis = flow._synthesise(verilog, TOP, Target.named("ecp5-25k"), Cache(),
                                    lambda *stage: None)
    total = synthesis["total"]
    assert total["lut"] <= 6200
    assert total["bram"] <= 46 and total["dsp"] == 0
    # One LUT for each accumulator's chain beside the 20 of its sum.
    assert synthesis["modules"]["lanes"]["lut"] <= 128 * 21 + 10
