"""One stream of the event-driven walk: its words, and their events one by one."""

from functools import reduce
from operator import or_
from types import SimpleNamespace

from amaranth import *

from ..abi.descriptors import Source
from ..geometry import Geometry
from ..pipeline import EVENT_PLANE_MOST
from .activity_queue import ActivityQueue, tag_layout

__all__ = ["event_scan"]


# One word's state, whose parts all depend on each other: longer than a function should be.
def event_scan(m: Module, geometry: Geometry, layer, queue: ActivityQueue, step, *, scanning: Value,
               closes: Value, stream: int = 0) -> SimpleNamespace:
    """Take words out of a queue and find their events, in the caller's module.

    An event of a plane beyond ``EVENT_PLANE_MOST`` is offered several times. Only head vectors
    have such planes, and their words are those of the first pixel, so only the first stream has
    logic for it.

    Parameters
    ----------
    m : Module
    geometry : Geometry
    layer : the running layer's descriptor
    queue : ActivityQueue
        The stream's.
    step : Step or Addition
        What the stream adds: ``compute``, ``row`` and ``plane`` are driven.
    scanning : events are offered, one in each cycle in which ``some`` is set
    closes : this is the last cycle of a tile
    stream : int

    Returns ``held`` (there is a word), ``some`` (it has events left; else it is a tile's last),
    ``tag`` (the word's), ``bits`` (pixels of the lowest event, by their words' places), ``words``
    (the words themselves), ``offset``
    (its weight row in the word) and ``is_vector`` (the layer reads a head vector).
    """
    g = geometry

    def signal(shape, name):
        return Signal(shape, name=f"{name}_of_{stream}" if stream else name)

    # The word that is being scanned.
    held = signal(1, "held")
    tag = signal(tag_layout(g), "tag")
    words = [signal(g.word_bits, f"word_{q}") for q in range(g.stream_pixels)]
    active = signal(g.word_bits, "active")             # positions at which any pixel has a 1
    events = signal(range(g.word_bits + 1), "events")  # left in the word
    some = signal(1, "some")                           # events != 0
    final = signal(1, "final")                         # events == 1

    # The lowest event in it.
    lowest = signal(g.word_bits, "lowest")
    index = signal(range(g.word_bits), "index")
    bits = signal(g.stream_pixels, "bits")
    rest = signal(g.word_bits, "rest")  # the events behind it
    m.d.comb += [
        lowest.eq(active & (~active + 1)[:g.word_bits]), rest.eq(active & ~lowest),
        index.eq(Cat(reduce(or_, [lowest[n] for n in range(g.word_bits) if n >> k & 1])
                     for k in range(len(index)))),
        bits.eq(Cat((lowest & word).any() for word in words)),
    ]
    is_depthwise = C(0)
    if g.depthwise:
        # A word is one event, and every lane takes its own bit of it.
        is_depthwise = signal(1, "is_depthwise")
        m.d.sync += is_depthwise.eq(layer.depthwise)
        with m.If(is_depthwise):
            m.d.comb += bits.eq(Cat(word.any() for word in words))

    is_line, is_input, is_vector = (signal(1, name) for name in
                                    ("is_line", "is_input", "is_vector"))
    m.d.sync += [is_line.eq(layer.source == Source.LINE),
                 is_input.eq(layer.source == Source.INPUT),
                 is_vector.eq(layer.source == Source.VECTOR)]

    last_offer = signal(1, "offer")  # an event, for the last time
    finish = signal(1, "finish")     # this is the last cycle of the word
    take = signal(1, "take")         # the head is the next word to be scanned
    head_active = signal(g.word_bits, "head_active")

    beyond = again = C(0)
    if not stream:
        beyond, again = _repeat_offers(
            m, active, rest, head_active, is_vector=is_vector, offers=step.compute, take=take,
            last_offer=last_offer, vector_bits=g.VECTOR_BITS)

    m.d.comb += [
        head_active.eq(reduce(or_, queue.head_words)),
        last_offer.eq(scanning & some & ~again),
        finish.eq(closes | (scanning & final & ~again & ~tag.tile_end)),
        queue.pop.eq(queue.valid & (queue.head_skip | ~held | finish)),
        take.eq(queue.valid & ~queue.head_skip & (~held | finish)),
    ]
    with m.If(last_offer):
        m.d.sync += [active.eq(rest), events.eq(events - 1),
                     some.eq(~final), final.eq(events == 2)]
    with m.If(finish):
        m.d.sync += held.eq(0)
    with m.If(take):
        m.d.sync += [
            held.eq(1), tag.eq(queue.head_tag), events.eq(queue.head_events),
            some.eq(queue.head_events != 0), final.eq(queue.head_events == 1),
            active.eq(head_active),
            *(word.eq(head) for word, head in zip(words, queue.head_words, strict=True)),
        ]

    rows_read = signal(2, "rows_read")  # of this word: the row, the negative row
    negative = signal(1, "negative")
    # Each event of a map has a weight row of its own. Planes of a value share one for each sign.
    same_row = signal(1, "same_row")
    m.d.comb += [
        negative.eq(is_input & index[3]),
        same_row.eq(~is_line & Mux(negative, rows_read[1], rows_read[0])),
    ]
    with m.If(step.compute):
        m.d.sync += rows_read.eq(rows_read | Mux(negative, 0b10, 0b01))
    with m.If(take):
        m.d.sync += rows_read.eq(0)

    with m.If(scanning):
        m.d.comb += [
            step.compute.eq(some), step.row.eq(some & ~same_row),
            step.plane.eq(Mux(is_line, 0, Mux(beyond, EVENT_PLANE_MOST, index[:3]))),
        ]

    return SimpleNamespace(held=held, some=some, tag=tag, bits=bits, is_vector=is_vector,
                           words=words, offset=Mux(is_line, index & ~is_depthwise.replicate(
                               len(index)) if g.depthwise else index, negative))


def _repeat_offers(m, active, rest, head_active, *, is_vector, offers, take, last_offer,
                   vector_bits):
    """Count how often an event of a plane beyond ``EVENT_PLANE_MOST`` is offered.

    Returns ``beyond`` (the lowest event is of such a plane) and ``again`` (it is offered once more
    after this cycle).
    """
    planes = EVENT_PLANE_MOST + 1
    high = active[planes:vector_bits]
    beyond = Signal(name="beyond")
    repeat = Signal(len(high), init=1, name="repeat")  # the number of the next offer, from 0
    more = Signal(init=1, name="more")                 # the one at hand is not the last
    again = Signal(name="again")
    m.d.comb += again.eq(beyond & more)
    with m.If(take):
        m.d.sync += beyond.eq(is_vector & ~head_active[:planes].any())
    with m.Elif(last_offer):
        m.d.sync += beyond.eq(is_vector & ~rest[:planes].any())
    with m.If(offers):
        m.d.sync += [repeat.eq(1), more.eq(1)]
        with m.If(again):
            # All bits up to the lowest 1 of ``high`` are set in the last repetition.
            m.d.sync += [repeat.eq(repeat + 1), more.eq(
                Cat(~repeat[k] & ~high[:k].any() for k in range(len(high))).any())]
    return beyond, again
