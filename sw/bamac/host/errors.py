"""The errors of the serial link."""

__all__ = ["LinkError"]


class LinkError(RuntimeError):
    """The board does not answer, or what came over the link cannot be trusted."""
