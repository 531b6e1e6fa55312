"""Errors that several parts of the package raise."""

from __future__ import annotations

__all__ = ["DamagedReply", "FpgaError", "GivenUp", "InputError", "LinkError"]


class InputError(ValueError):
    """An input cannot be used: wrong kind of file, shape, type or range."""


class FpgaError(RuntimeError):
    """A design that does not fit, a tool that is missing or that failed; the text says which."""


class GivenUp(FpgaError):
    """A tool that was ended because it took longer than it may."""


class LinkError(RuntimeError):
    """The board does not answer, or what came over the link cannot be trusted."""


class DamagedReply(LinkError):
    """A reply arrived damaged, or is none that this version knows."""
