"""From an integer network to a program for one geometry, exactly or not at all."""

from .compile import CompileError, compile_network

__all__ = ["CompileError", "compile_network"]
