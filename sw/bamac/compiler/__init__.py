"""From an integer network to a program for one geometry, exactly or not at all."""

from .compile import compile_network
from .errors import CompileError
from .lower import lower_network, lowering
from .native import Lowered, lower_for

__all__ = ["CompileError", "Lowered", "compile_network", "lower_for", "lower_network", "lowering"]
