"""Values that a report does not have, and a cache that computes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from bamac.fpga import FpgaError
from bamac.fpga.cache import Cache

__all__ = ["Missing", "NotKept", "ReadOnlyCache"]


@dataclass(frozen=True)
class Missing:
    """A value that is not available; ``reason`` says why, and how to get it."""

    reason: str


class NotKept(FpgaError):
    """The result of a step is not in the cache."""


class ReadOnlyCache(Cache):
    """A cache that raises :class:`NotKept` for what it does not hold."""

    def get(self, kind, key, make):
        entry = self.find(kind, key)
        if entry is None:
            raise NotKept(kind)
        return entry
