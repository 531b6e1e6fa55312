"""Activation words on their way from the memories to an event scanner."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry

__all__ = ["QUEUE_LATENCY", "ActivityQueue", "tag_layout"]

# From a word's push until it can be at the head.
QUEUE_LATENCY = 2


def tag_layout(geometry: Geometry) -> data.StructLayout:
    """What goes with the activation words of one kernel tap.

    ``row`` is the weight row of the word's first bit. ``row_low`` and ``col_low`` are the window's,
    and say which pixel each word belongs to. ``tile_end`` marks a tile's last word; together with
    it, ``pass_end`` and ``job_end`` say that the tile is the last of its pass, and the pass the
    last of its job.
    """
    g = geometry
    return data.StructLayout({
        "row": g.row_bits, "row_low": (g.tile_rows - 1).bit_length(),
        "col_low": (g.tile_cols - 1).bit_length(), "tile_end": 1, "pass_end": 1, "job_end": 1})


class ActivityQueue(wiring.Component):
    """First-in, first-out queue of a stream's activation words, with the number of events in each.

    An *event* is a bit position at which any pixel's word has a 1. Counting them takes a cycle of
    its own, so a word is in the queue one cycle before its count.

    Latency: a word pushed into an empty queue is at the head two cycles later
    (``QUEUE_LATENCY``). Throughput: one word per cycle. There is no check for room: the block that
    pushes counts the free places.

    Parameters
    ----------
    geometry : Geometry
    depth : int
        Places, a power of two.

    Members
    -------
    push, tag, words : put a word of each pixel of the stream in
    valid : there is a head
    head_tag, head_words, head_events : the head
    head_skip : it has no event and ends no tile
    pop : take it out
    depthwise : with the geometry's ``depthwise``: a word with ones is one event, whatever their
        number
    """

    def __init__(self, geometry: Geometry, *, depth: int):
        if not isinstance(depth, int) or depth < 2 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two from 2 on, not {depth!r}")
        g = self._geometry = geometry
        self._depth = depth
        super().__init__({
            "push": In(1),
            "tag": In(tag_layout(geometry)),
            "words": In(g.word_bits).array(g.stream_pixels),
            "valid": Out(1),
            "head_tag": Out(tag_layout(geometry)),
            "head_words": Out(g.word_bits).array(g.stream_pixels),
            "head_events": Out(range(g.word_bits + 1)),
            "head_skip": Out(1),
            "pop": In(1),
        } | ({"depthwise": In(1)} if g.depthwise else {}))

    def elaborate(self, platform):
        g, depth = self._geometry, self._depth
        m = Module()

        content = data.StructLayout({
            "tag": tag_layout(g), "words": data.ArrayLayout(g.word_bits, g.stream_pixels)})
        m.submodules.store = store = Memory(shape=content, depth=depth, init=[])
        # ``skip`` is found together with the count: it costs no more memory, and is early at the
        # head.
        counted = data.StructLayout({"events": range(g.word_bits + 1), "skip": 1})
        m.submodules.counts = counts = Memory(shape=counted, depth=depth, init=[])
        store_write, store_read = store.write_port(), store.read_port(domain="comb")
        count_write, count_read = counts.write_port(), counts.read_port(domain="comb")

        # The words enter.
        last_in = Signal(range(depth))
        with m.If(self.push):
            m.d.sync += last_in.eq(last_in + 1)
        m.d.comb += [
            store_write.en.eq(self.push), store_write.addr.eq(last_in),
            store_write.data.tag.eq(self.tag),
            *(store_write.data.words[q].eq(self.words[q]) for q in range(g.stream_pixels)),
        ]

        # Their count enters one cycle later.
        active = Signal(g.word_bits)
        m.d.comb += active.eq(reduce(or_, self.words))
        parts = []
        for low in range(0, g.word_bits, 4):
            part = Signal(3, name=f"ones_{low}")
            m.d.sync += part.eq(_sum(list(active[low:low + 4])))
            parts.append(part)
        counting, ends_tile = Signal(), Signal()
        count_in = Signal(range(depth))
        m.d.sync += [counting.eq(self.push), ends_tile.eq(self.tag.tile_end)]
        with m.If(counting):
            m.d.sync += count_in.eq(count_in + 1)
        m.d.comb += [count_write.en.eq(counting), count_write.addr.eq(count_in),
                     count_write.data.events.eq(
                         Mux(self.depthwise, Cat(parts).any(), _sum(parts)) if g.depthwise else
                         _sum(parts)),
                     count_write.data.skip.eq(~ends_tile & ~Cat(parts).any())]

        level = Signal(range(depth + 1))
        valid = Signal()  # level != 0
        m.d.sync += [level.eq(level + counting - self.pop),
                     valid.eq(counting | Mux(self.pop, level != 1, valid))]
        first = Signal(range(depth))
        with m.If(self.pop):
            m.d.sync += first.eq(first + 1)
        m.d.comb += [
            self.valid.eq(valid),
            store_read.addr.eq(first), count_read.addr.eq(first),
            self.head_tag.eq(store_read.data.tag),
            *(self.head_words[q].eq(store_read.data.words[q]) for q in range(g.stream_pixels)),
            self.head_events.eq(count_read.data.events),
            self.head_skip.eq(count_read.data.skip),
        ]
        return m


def _sum(terms):
    """Sum as a balanced tree."""
    while len(terms) > 1:
        terms = [sum(terms[k + 1:k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]
