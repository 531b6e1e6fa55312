"""The one interface of every datapath variant."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import layer_layout
from ..control.work import WorkSignature
from ..geometry import Geometry
from ..memory.weight_store import weight_read_signature
from ..output.results import HeadSumsSignature, SumsSignature

__all__ = ["DatapathSignature"]


class DatapathSignature(wiring.Signature):
    """What a datapath takes and gives, as the datapath sees it.

    Parameters
    ----------
    geometry : Geometry
    work : type
        Signature of ``work``, which the variant's walker drives.
    results : type
        Signature of ``results``, which the variant's write-back takes.
    head : type
        Signature of ``head``, which the variant's collector takes.

    Members
    -------
    layer : ``In(layer_layout(geometry))``, the running layer's descriptor
    running : the program runs; while it does not, accumulators are cleared where they can be
    job_start : a job's walk starts in the next cycle; ``layer.weight_base`` is its
    work : ``In(work(geometry))``: steps of the walk (stage 0) and their activation bits (stage 5)
    weights : read ports of the weight store, one for each stream; enabled at stage 3, their data is
        there at stage 4
    hits : ``pixels * macs_per_lane`` bits, stage 6: activation bits (int8 maps: values) that were
        offered and are not 0, for the counters
    results : ``Out(results(geometry))``: a tile's results
    head : ``Out(head(geometry))``: sums of the head's dense layers
    """

    def __init__(self, geometry: Geometry, *, work: type[WorkSignature] = WorkSignature,
                 results: type[wiring.Signature] = SumsSignature,
                 head: type[wiring.Signature] = HeadSumsSignature):
        self._geometry, self._kinds = geometry, (work, results, head)
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "running": In(1),
            "job_start": In(1),
            "work": In(work(geometry)),
            "weights": In(weight_read_signature(geometry)).array(geometry.streams),
            "hits": Out(geometry.pixels * geometry.macs_per_lane),
            "results": Out(results(geometry)),
            "head": Out(head(geometry)),
        })

    @property
    def geometry(self) -> Geometry:
        """What the widths follow from."""
        return self._geometry

    def create(self, *, path: tuple[str, ...] | None = None,
               src_loc_at: int = 0) -> wiring.PureInterface:
        """An interface object with these members."""
        return wiring.PureInterface(self, path=path, src_loc_at=1 + src_loc_at)

    def __eq__(self, other: object) -> bool:
        return (type(self) is type(other) and self._geometry == other._geometry
                and self._kinds == other._kinds)

    def __repr__(self) -> str:
        work, results, head = (kind.__name__ for kind in self._kinds)
        return (f"DatapathSignature({self._geometry!r}, work={work}, results={results}, "
                f"head={head})")
