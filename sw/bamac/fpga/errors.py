"""What can go wrong between Verilog and a bitstream."""

__all__ = ["FpgaError", "GivenUp"]


class FpgaError(RuntimeError):
    """A design that does not fit, a tool that is missing or that failed; the text says which."""


class GivenUp(FpgaError):
    """A tool that was ended because it took longer than it may."""
