"""Which components a datapath variant consists of, by name."""

from __future__ import annotations

from dataclasses import dataclass

from ..control.dense_walker import DenseWalker, Int8DenseWalker, PairDenseWalker
from ..control.event_walker import EventWalker
from ..geometry import Geometry
from ..memory.window_fetch import Int8WindowFetch, PairWindowFetch, WindowFetch, WordFetch
from ..output.collector import Collector
from ..output.int8_collector import Int8Collector
from ..output.int8_write_back import Int8WriteBack
from ..output.write_back import WriteBack
from ..traits import DatapathTraits, register_traits, traits_of
from .base import Datapath
from .event import EventDatapath
from .gated import GatedDatapath
from .int8 import Int8Datapath
from .pair import PairDatapath

__all__ = ["Variant", "register", "variant_of"]


@dataclass(frozen=True)
class Variant:
    """Components of a variant: classes, with the arguments that they are called with.

    Attributes
    ----------
    datapath : ``datapath(geometry, family=)``, see :class:`~bamac_hw.datapath.base.Datapath`
    walker : ``walker(geometry)``
        With the members of :class:`~bamac_hw.control.dense_walker.DenseWalker`; its ``work`` is the
        datapath's, its ``fetch`` the fetch's.
    fetch : ``fetch(geometry, family=)``
        With the members of :class:`~bamac_hw.memory.window_fetch.WindowFetch`.
    write_back : ``write_back(geometry, family=, accumulators=)``
        With the members of :class:`~bamac_hw.output.write_back.WriteBack` and its
        ``record_signature``; its ``results`` are the datapath's, its ``pooled`` the collector's.
    collector : ``collector(geometry, family=)``
        With the members of :class:`~bamac_hw.output.collector.Collector`; its ``head`` is the
        datapath's.
    """

    datapath: type[Datapath]
    walker: type
    fetch: type
    write_back: type
    collector: type


_VARIANTS: dict[tuple[str, str], Variant] = {}


def register(traits: DatapathTraits, datapath: type[Datapath], *, walker: type | None = None,
             fetch: type | None = None, write_back: type | None = None,
             collector: type | None = None) -> None:
    """Add a variant: its traits, and the components that it consists of.

    What is not given is what the traits suggest: the event-driven walk or the dense one, outputs of
    int8 maps or of signs.

    Raises
    ------
    ValueError
        If another variant has the same lane and walk.
    """
    if traits_of(traits.lane, traits.walk) is not traits:
        register_traits(traits)
    dense, bits = ((Int8DenseWalker, Int8WindowFetch) if traits.int8_maps else
                   (DenseWalker, WindowFetch))
    _VARIANTS[traits.lane, traits.walk] = Variant(
        datapath,
        walker or (EventWalker if traits.event_driven else dense),
        fetch or (WordFetch if traits.event_driven else bits),
        write_back or (Int8WriteBack if traits.int8_maps else WriteBack),
        collector or (Int8Collector if traits.int8_maps else Collector))


def variant_of(geometry: Geometry) -> Variant:
    """The components of the geometry's variant.

    Raises
    ------
    LookupError
        If only its traits are registered.
    """
    key = geometry.lane, geometry.walk
    if key not in _VARIANTS:
        raise LookupError(f"Lane {key[0]} with walk {key[1]} has no datapath; "
                          f"add one with bamac_hw.datapath.register")
    return _VARIANTS[key]


def _shipped(lane: str, walk: str) -> DatapathTraits:
    traits = traits_of(lane, walk)
    assert traits is not None
    return traits


register(_shipped("gated", "dense"), GatedDatapath)
register(_shipped("gated", "event"), EventDatapath)
register(_shipped("pair", "dense"), PairDatapath, walker=PairDenseWalker, fetch=PairWindowFetch)
register(_shipped("int8", "dense"), Int8Datapath)
register(_shipped("int8_dsp", "dense"), Int8Datapath)
