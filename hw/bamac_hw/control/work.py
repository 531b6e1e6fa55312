"""What a walker drives: the datapath, the collector, and the counters of cycles by cause."""

from amaranth.lib.wiring import In, Out

from ..lib.signature import SizedSignature
from ..pipeline import Addition, Step

__all__ = ["CauseSignature", "CollectSignature", "EventWorkSignature", "WorkSignature"]


class WorkSignature(SizedSignature):
    """The steps of a walk and the activation bits that they offer, as the walker sees them.

    Members
    -------
    step : what enters the pipeline in this cycle (stage 0)
    additions : the same of each stream of events behind the first
    bits : ``step_bits`` activation bits per pixel, ``WORD_STAGE`` cycles after their step
    own : with the geometry's ``depthwise``, the bits of a pixel's word beside them: in a depthwise
        layer, each lane takes its own channel's
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        own = {"own": Out(g.channels).array(g.pixels)} if g.depthwise else {}
        return {"step": Out(Step), "additions": Out(Addition).array(g.streams - 1),
                "bits": Out(g.pixels * g.step_bits)} | own


class EventWorkSignature(WorkSignature):
    """The same where the walk chooses its weight rows.

    Members
    -------
    step, additions, bits : as of :class:`WorkSignature`
    rows : address in the weight store for each stream, ``READ_STAGE`` cycles after the step
    """

    @classmethod
    def sizes(cls, geometry):
        g = geometry
        return {**super().sizes(g), "rows": Out(g.row_bits).array(g.streams)}


class CollectSignature(SizedSignature):
    """A walker's dealings with the collector, as the walker sees them.

    Members
    -------
    capture : a tile ends; its results follow through the pipeline
    start : read out a dense layer's pass
    busy : the collector is not ready for another tile or pass; from the cycle behind ``start`` on,
        and behind the ``capture`` of a tile that is pooled one channel at a time
    """

    @classmethod
    def sizes(cls, geometry):
        return {"capture": Out(1), "start": Out(1), "busy": In(1)}


class CauseSignature(SizedSignature):
    """Why a walk's cycle has no step with ``compute``, as the walker sees it; at most one is set.

    Members
    -------
    fetching : the lanes wait for activation words
    tiling : a tile starts or ends, its sums are doubled or read out
    collecting : the walk waits for the collector
    loading : start values are read
    """

    @classmethod
    def sizes(cls, geometry):
        return {"fetching": Out(1), "tiling": Out(1), "collecting": Out(1), "loading": Out(1)}
