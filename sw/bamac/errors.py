"""Errors that several parts of the package raise."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """An input cannot be used: wrong kind of file, shape, type or range."""
