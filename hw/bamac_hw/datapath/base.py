"""What the datapath variants share."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import *
from amaranth.hdl import ValueLike
from amaranth.lib import wiring

from ..control.work import WorkSignature
from ..geometry import Geometry
from ..output.results import HeadSumsSignature, SumsSignature
from ..pipeline import LANE_STAGE, Addition, Step
from .signature import DatapathSignature

__all__ = ["Datapath"]


class Datapath(wiring.Component):
    """Base of the variants; a subclass elaborates operands, lanes and read-out.

    Its ports are those of :class:`~bamac_hw.datapath.signature.DatapathSignature`, with the
    signatures that the class attributes name.

    Parameters
    ----------
    geometry : Geometry
    family : "ecp5", "ice40" or None
        Build for this family.

    Attributes
    ----------
    Work, Results, Head : type
        Signatures of the members ``work``, ``results`` and ``head``.
    """

    Work: type[WorkSignature] = WorkSignature
    Results: type[wiring.Signature] = SumsSignature
    Head: type[wiring.Signature] = HeadSumsSignature

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        self._geometry, self._family = geometry, family
        super().__init__(DatapathSignature(geometry, work=self.Work, results=self.Results,
                                           head=self.Head))

    @property
    def geometry(self) -> Geometry:
        """Sizes of the accelerator."""
        return self._geometry

    @property
    def family(self) -> str | None:
        """What is built for."""
        return self._family

    @property
    def lane_sizes(self) -> dict:
        """Arguments of an array of lanes: sizes, and the family if its cells are used."""
        g = self._geometry
        sizes = {"pixels": g.pixels, "channels": g.channels, "acc_bits": g.acc_bits,
                 "family": self._family if self._family == "ecp5" else None}
        return sizes | ({"own_bits": True} if g.depthwise else {})

    def step_stages(self, m: Module) -> list:
        """The step at stages 0 to ``LANE_STAGE``."""
        stages = [Signal(Step, name=f"step_{n}") for n in range(LANE_STAGE + 1)]
        m.d.comb += stages[0].eq(self.work.step)
        m.d.sync += [to.eq(step) for step, to in zip(stages, stages[1:], strict=False)]
        return stages

    def addition_stages(self, m: Module) -> list[list]:
        """The same of each stream of events behind the first, to the stage before the lanes."""
        found = []
        for stream, first in enumerate(self.work.additions, start=1):
            stages = [first, *(Signal(Addition, name=f"step_{n}_of_{stream}")
                               for n in range(1, LANE_STAGE))]
            m.d.sync += [to.eq(step) for step, to in zip(stages, stages[1:], strict=False)]
            found.append(stages)
        return found

    def lane_enables(self, bits: ValueLike, start: ValueLike, computes: ValueLike) -> Value:
        """Which lanes change: one bit per pixel, or, with the geometry's ``depthwise``, per lane.

        All do with ``start``; else those of the streams that compute, by their pixel's bit, and in
        a depthwise layer by that of their own channel.
        """
        g = self._geometry
        by_pixel = (bits & computes) | start.replicate(g.pixels)
        if not g.depthwise:
            return by_pixel
        return Cat(
            Mux(self.layer.depthwise, own & computes[pixel].replicate(g.channels),
                (bits[pixel] & computes[pixel]).replicate(g.channels))
            | start.replicate(g.channels) for pixel, own in enumerate(self.work.own))

    def count_hits(self, m: Module, offered: ValueLike, *steps) -> Value:
        """Register ``offered`` as hits in the streams whose step (stage 5) computes.

        Returns a mask of the bits of these streams.
        """
        computes = Cat(step.compute.replicate(len(self.hits) // self._geometry.streams)
                       for step in steps)
        m.d.sync += self.hits.eq(offered & computes)
        return computes

    def give_sums(self, m: Module, stages: list, acc: Sequence[Value]) -> None:
        """Drive ``results`` and ``head`` from accumulators whose signs are the outputs."""
        m.d.comb += [
            self.results.capture.eq(stages[LANE_STAGE].capture),
            self.results.last.eq(stages[LANE_STAGE].pass_),
            *(to.eq(value) for to, value in zip(self.results.acc, acc, strict=True)),
            # Those of pixel 0 come first.
            *(to.eq(value) for to, value in zip(self.head.acc, acc, strict=False)),
        ]
