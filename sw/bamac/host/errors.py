"""The errors of the serial link."""

__all__ = ["DamagedReply", "LinkError"]


class LinkError(RuntimeError):
    """The board does not answer, or what came over the link cannot be trusted."""


class DamagedReply(LinkError):
    """A reply arrived damaged, or is none that this version knows."""
