"""What the compiler says when it refuses."""


class CompileError(ValueError):
    """A network, or one of its layers, cannot be mapped exactly onto a geometry."""
