"""A value some cycles later."""

from amaranth import *

__all__ = ["delayed"]


def delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """``value`` through ``cycles`` registers, called ``name`` and a number from 0 up."""
    for stage in range(cycles):
        later = Signal(len(value), name=f"{name}_{stage}")
        m.d.sync += later.eq(value)
        value = later
    return value
