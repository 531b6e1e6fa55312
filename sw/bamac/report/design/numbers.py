"""Numbers as a report writes them."""

from __future__ import annotations

__all__ = ["count", "mega", "percent", "size"]


def count(value):
    """With commas between thousands."""
    return f"{value:,}"


def mega(value):
    """Millions with two decimals; smaller numbers as integers."""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,}"


def percent(share):
    """A share of 1, with one decimal."""
    return f"{100 * share:.1f} %"


def size(value):
    """Bytes."""
    return f"{value:,.0f} B" if value < 10_000 else f"{value / 1000:,.1f} kB"
