"""Datapath variants by name: what each is to geometry, compiler, model and reports.

A variant from outside the package derives from :class:`DatapathTraits`, and
:func:`bamac_hw.datapath.register` adds it together with its component.
"""

from __future__ import annotations

from .base import INPUT_BITS, VECTOR_BITS, DatapathTraits
from .event import EventTraits
from .int8 import SUM_BITS, VALUE_BITS, Int8DspTraits, Int8Traits
from .pair import PairTraits

__all__ = ["INPUT_BITS", "SUM_BITS", "VALUE_BITS", "VECTOR_BITS", "DatapathTraits", "EventTraits",
           "Int8DspTraits", "Int8Traits", "PairTraits", "lanes", "register_traits", "traits_of",
           "walks"]

_VARIANTS: dict[tuple[str, str], DatapathTraits] = {}


def register_traits(traits: DatapathTraits) -> None:
    """Add a variant.

    Raises
    ------
    ValueError
        If another variant has the same lane and walk.
    """
    key = traits.lane, traits.walk
    if key in _VARIANTS:
        raise ValueError(f"Lane {traits.lane} with walk {traits.walk} is registered already, "
                         f"as {_VARIANTS[key]!r}")
    _VARIANTS[key] = traits


def lanes() -> tuple[str, ...]:
    """Names of all lanes, in the order of their registration."""
    return tuple(dict.fromkeys(lane for lane, _ in _VARIANTS))


def walks() -> tuple[str, ...]:
    """Names of all walks, in the order of their registration."""
    return tuple(dict.fromkeys(walk for _, walk in _VARIANTS))


def traits_of(lane: str, walk: str) -> DatapathTraits | None:
    """The variant with that lane and walk, or None if there is none."""
    return _VARIANTS.get((lane, walk))


for _traits in (DatapathTraits(), EventTraits(), PairTraits(), Int8Traits(), Int8DspTraits()):
    register_traits(_traits)
