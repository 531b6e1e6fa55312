"""From an integer network to a program for one geometry, exactly or not at all."""

from .compile import compile_network
from .errors import CompileError
from .lower import lower_network, lowering

__all__ = ["CompileError", "compile_network", "lower_network", "lowering"]
