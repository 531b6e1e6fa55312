"""What the compiler says when it refuses."""

__all__ = ["CompileError", "DoesNotFitError"]


class CompileError(ValueError):
    """A network, or one of its layers, cannot be mapped exactly onto a geometry."""


class DoesNotFitError(Exception):
    """A memory of the geometry is too small; :func:`compile_network` adds which preset fits."""
