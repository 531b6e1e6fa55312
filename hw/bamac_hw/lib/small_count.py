"""Counting by one in LUTs: a carry chain of a few bits takes more of them than it saves."""

from functools import reduce
from operator import and_

from amaranth import *

__all__ = ["one_less", "one_more"]


def one_more(value: Value, by: Value | int = 1) -> Value:
    """``value + by`` without its carry; ``by`` is one bit."""
    return Cat(bit ^ reduce(and_, value[:k], C(by, 1) if isinstance(by, int) else by)
               for k, bit in enumerate(value))


def one_less(value: Value) -> Value:
    """``value - 1``, or zero."""
    return Cat(value.matches(*(n for n in range(1 << len(value)) if max(n - 1, 0) >> k & 1))
               for k in range(len(value)))
