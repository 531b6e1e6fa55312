"""Values that a report does not have, and the cache that finds out."""

from __future__ import annotations

from dataclasses import dataclass

from bamac.fpga import FpgaError
from bamac.fpga.cache import Cache

__all__ = ["Missing", "NotKept", "ReadOnlyCache"]


@dataclass(frozen=True)
class Missing:
    """A value that is not there; ``reason`` says why, and how to get it."""

    reason: str


class NotKept(FpgaError):
    """A step is not in the cache, and was not asked for."""


class ReadOnlyCache(Cache):
    """A cache that refuses to run what it does not hold."""

    def get(self, kind, key, make):
        entry = self.find(kind, key)
        if entry is None:
            raise NotKept(kind)
        return entry
