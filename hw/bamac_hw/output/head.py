"""What either collector gives: accesses of the vector memory, scores, and a copy for traces."""

from amaranth import *
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from ..geometry import Geometry
from ..lib.signature import SizedSignature
from ..memory.ports import read_signature, write_signature

__all__ = ["HeadRecordSignature", "collector_outputs", "score_layout"]


def score_layout() -> data.StructLayout:
    """A raw score; ``last`` marks a clip's last one."""
    return data.StructLayout({"value": signed(32), "last": 1})


class HeadRecordSignature(SizedSignature):
    """Each output of a dense layer as it leaves, for traces, as the collector sees it.

    Members
    -------
    valid : an output is at the members below
    index, value : its number in the layer, and itself
    """

    @classmethod
    def sizes(cls, geometry):
        return {"valid": Out(1), "index": Out(16), "value": Out(32)}


def collector_outputs(geometry: Geometry) -> dict[str, Member]:
    """Members of either collector.

    ``read``, ``write`` (ports of the vector memory), ``scores`` (raw scores, with ``last`` at the
    end of a clip), ``stalled`` (a score waits to be taken), ``record`` (``HeadRecordSignature``).
    """
    sizes = {"depth": 1 << geometry.address_bits, "shape": geometry.vector_bits}
    return {
        "read": In(read_signature(**sizes)),
        "write": In(write_signature(**sizes)),
        "scores": Out(stream.Signature(score_layout())),
        "stalled": Out(1),
        "record": Out(HeadRecordSignature(geometry)),
    }
