"""A job on its way: from the scheduler to the walker and to the write-back.

A job is one row of tiles of one layer.
"""

from amaranth import signed
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import AHEAD_BITS
from ..lib.signature import SizedSignature

__all__ = ["JobPlaceSignature", "OutputJobSignature", "WalkJobSignature"]


class JobPlaceSignature(SizedSignature):
    """Where a job's input begins, as the scheduler sees it.

    ``above`` and ``ahead`` are stable from two cycles before the walk's start until its end,
    ``slot`` from ``prepare`` on.

    Members
    -------
    prepare : the ring slots of the job's kernel rows can be found
    slot : ring slot of the job's first kernel row
    above, ahead : rows of padding above that row; rows of the map behind the job's last kernel row
    next_slot : ring slot of the next job's first kernel row; from four cycles behind ``prepare`` on
    """

    @classmethod
    def sizes(cls, geometry):
        return {"prepare": Out(1), "slot": Out(geometry.address_bits),
                "above": Out(geometry.padding_bits),
                "ahead": Out(signed(AHEAD_BITS)), "next_slot": In(geometry.address_bits)}


class WalkJobSignature(SizedSignature):
    """A job's walk, as the scheduler sees it.

    ``place.prepare`` comes four cycles before ``start``, or earlier. The first four words of the
    layer's descriptor are stable from two cycles before ``start`` until ``done``, the other words
    of the walk (``walk_words``) from ``start`` on, the rest from five cycles behind it.

    Members
    -------
    place : ``Out(JobPlaceSignature)``
    start : begin the walk
    done : this is the last cycle of the walk
    """

    @classmethod
    def sizes(cls, geometry):
        return {"place": Out(JobPlaceSignature(geometry)), "start": Out(1), "done": In(1)}


class OutputJobSignature(SizedSignature):
    """A job's output, as the scheduler sees it.

    All members but ``start`` stay until the job's last tile is written.

    Members
    -------
    start : the members below are those of a new job
    slot, low : ring slot and first bank row of the job's output
    left : rows of the output map from there on
    first : the job is the first of a clip
    """

    @classmethod
    def sizes(cls, geometry):
        return {"start": Out(1), "slot": Out(geometry.address_bits), "low": Out(2),
                "left": Out(16), "first": Out(1)}
