"""From Verilog to a bitstream with open tools, and what it costs: resources, timing, the path.

:func:`bamac.fpga.flow.implement` is the whole flow; the other modules hold one idea each.
"""

from bamac.errors import FpgaError, GivenUp

from .flow import SEED_LIMIT, implement, mapped
from .targets import Target

__all__ = ["SEED_LIMIT", "FpgaError", "GivenUp", "Target", "implement", "mapped"]
