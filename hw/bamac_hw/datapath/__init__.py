"""The lanes: what is added in a cycle, and how sums are read out.

Every variant is a component with the ports of
:class:`~bamac_hw.datapath.signature.DatapathSignature`. A variant from outside the package is one
file and one call. Lanes that add by another expression, for example, need the rest of what gated
lanes need::

    class ToyLaneArray(LaneArray):              # ports of LaneArray
        def elaborate(self, platform): ...

    class ToyDatapath(GatedDatapath):
        def build_lanes(self):
            return ToyLaneArray(**self.lane_sizes)

    class ToyTraits(DatapathTraits):
        lane = "toy"
        title = "toy lanes"

    register(ToyTraits(), ToyDatapath)
    Geometry("mine", lane="toy")

A variant with other words, steps or results also gives :func:`register` a walker, a fetch, a
write-back or a collector of its own.
"""

from ..traits import DatapathTraits
from .base import Datapath
from .event import EventDatapath
from .gated import GatedDatapath
from .int8 import Int8Datapath
from .lane_array import LaneArray
from .pair import PairDatapath
from .registry import Variant, register, variant_of
from .signature import DatapathSignature

__all__ = ["Datapath", "DatapathSignature", "DatapathTraits", "EventDatapath", "GatedDatapath",
           "Int8Datapath", "LaneArray", "PairDatapath", "Variant", "register", "variant_of"]
