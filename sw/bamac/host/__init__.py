"""Talks to an accelerator on a board through a serial port."""

from bamac.errors import LinkError

from .link import Link
from .session import BoardRun, Session

__all__ = ["BoardRun", "Link", "LinkError", "Session"]
