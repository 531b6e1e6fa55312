"""The word that travels down the pipeline: what happens in one cycle of the array."""

from amaranth import *
from amaranth.lib import data

__all__ = ["Addition", "COLLECT_LATENCY", "EVENT_PLANE_MOST", "LANE_STAGE", "PLANE_BITS",
           "READ_OUT_CYCLES", "READ_STAGE", "SCORE_CYCLES", "Step", "WORD_STAGE", "WRITE_STAGE"]

PLANE_BITS = 4  # planes of a head vector's value: 16
EVENT_PLANE_MOST = 7  # the highest that the event-driven walk shifts to: an input value has 8


class Step(data.Struct):
    """Operations of one cycle. A step with no bit set is a bubble.

    ============= =========================================================================
    ``byte``      read a word of start-value bytes, shift it into the start registers
    ``start``     every lane adds its channel's start value (event-driven walk: takes it, whatever
                  it holds)
    ``pass_``     with ``start`` (dense walk): the first tile of a pass; with ``clear`` or
                  ``capture``: the last one
    ``load``      fetch the activation words of the window's current phase
    ``shift``     move every activation word on to its next bit
    ``compute``   lanes whose bit is 1 add the operand
    ``row``       read the next weights; without it the operand doubles (next binary plane)
    ``plane``     the binary plane of an event: the operand is the weight row times 2**plane; pair
                  lanes: half the number of the lower of the two planes that are fetched
    ``double``    every lane doubles its accumulator (pair lanes)
    ``clear``     set every accumulator to zero (dense walk)
    ``capture``   hand the sign bits to the write-back (read before ``clear`` or ``start``)
    ============= =========================================================================
    """

    byte: 1
    start: 1
    pass_: 1
    load: 1
    shift: 1
    compute: 1
    row: 1
    clear: 1
    capture: 1
    plane: PLANE_BITS
    double: 1


class Addition(data.Struct):
    """What a further stream of events adds in one cycle: fields of a :class:`Step`."""

    compute: 1
    row: 1
    plane: PLANE_BITS


# Pipeline stages, in cycles after a step leaves the walker:
#   1 row and column addresses   2 bank addresses      3 memories read (activations)
#   4 raw words registered, weights read               5 word registers, weights registered
#   6 enables and operands at the lanes; sign bits captured
#   7 pooled   8 written
READ_STAGE = 3
WORD_STAGE = 5
LANE_STAGE = 6
WRITE_STAGE = 8

# The serial end of the accelerator, in cycles:
COLLECT_LATENCY = WRITE_STAGE + 4  # a global pool of n channels keeps the collector busy for n more
READ_OUT_CYCLES = 5  # for each output of a dense layer, and one more for each bit of its shift
SCORE_CYCLES = 3     # for each score of int8 lanes
