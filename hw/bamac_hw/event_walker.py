"""The event-driven walk: only the weight rows for which any pixel of the tile has a 1."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .activity_queue import QUEUE_LATENCY, ActivityQueue, tag_layout
from .geometry import Geometry
from .layout import AHEAD_BITS, Emit, Source, layer_layout
from .step import EVENT_PLANE_MOST, LANE_STAGE, READ_STAGE, WORD_STAGE, Step
from .window_fetch import register_places, window_layout
from .window_walk import WindowWalk

__all__ = ["FETCH_LATENCY", "QUEUE_DEPTH", "EventWalker"]

# Words between a window's fetch and the scanner. More than the cycles in between, so that a
# run of empty words passes at one per cycle.
QUEUE_DEPTH = 16
# From the cycle of a word's last window until the word can be at the head of the queue.
FETCH_LATENCY = WORD_STAGE + QUEUE_LATENCY


class EventWalker(wiring.Component):
    """Walks one job, with a cycle only for (tap, bit) pairs that some pixel of the tile needs.

    Two halves work beside each other. The *fetch* half steps through the windows of the whole job,
    as fast as there is room in a queue of activation words. The *scan* half takes words out of
    the queue and offers one event per cycle to the lanes: the lowest bit position that is left at
    which any pixel has a 1. ::

        WindowWalk ─ window ─▶ WindowFetch ─ words ─▶ ActivityQueue ─▶ scan ─▶ step, bits, row
             ▲                                              │
             └───────────────── room ◀──────────────────────┘

    An input value becomes a word with 8 bits for the planes of positive values and 8 for those of
    negative ones; there is a weight row for each sign. Values near zero have few ones in this
    form, and neither padding nor silence has any.

    The operand's shifter ends at plane ``EVENT_PLANE_MOST``. Values of a head vector that have
    higher planes add their weight row times ``2**EVENT_PLANE_MOST`` as often as these are worth:
    there are few, and a wider shifter takes a LUT for each bit and channel.

    Cycles of the scan half:

    - for each pass ``start_bytes`` and 1 (start of its first tile); for each tile 1 for each event
      and 1 (its end, and the start of the tile behind it), plus the waits for the collector that
      :class:`~bamac_hw.dense_walker.DenseWalker` has too; in a head vector, an event of plane
      ``p`` beyond ``EVENT_PLANE_MOST`` takes ``2**(p - EVENT_PLANE_MOST)``;
    - a word without an event leaves the queue by itself, one per cycle, unless it is a tile's
      last word. It costs time only when the scan has to wait for the word behind it;
    - *waits for words*: a word's last window can be fetched when the word ``QUEUE_DEPTH`` before
      it has left the queue, and not before the cycle behind the previous window. The word is at
      the head ``FETCH_LATENCY`` cycles later, and the cycle after it has left the queue is the
      first that can offer its events. It leaves the queue in the last cycle of the word before
      it: its last event, or the end of its tile.

    :mod:`bamac.event_model` computes the same.

    Members
    -------
    prepare : comes four cycles before ``start``, or earlier, see ``WindowWalk``
    start : begin a job; ``slot``, ``above``, ``ahead`` and the first four descriptor words'
        ``layer`` must be stable from two cycles before it until ``done``, the other words of the
        walk (``WALK_WORDS``) from ``start``, the rest from five cycles behind it
    slot, above, ahead : place of the job's first kernel row, see ``WindowWalk``
    next_slot : ring slot of the next job
    done : in the last cycle of the walk
    window, load : a window to be fetched
    words : the activation words, ``WORD_STAGE`` cycles after their last window, in the order of
        :func:`~bamac_hw.window_fetch.register_places`
    step : what enters the pipeline in this cycle
    bits : one activation bit per pixel, ``WORD_STAGE`` cycles after the step
    weight_row : address in the weight store, ``READ_STAGE`` cycles after the step
    collector_busy : a collection is under way; collector_start : begin one (dense layers)
    fetching, tiling, collecting, loading : the cause of a cycle that is not ``step.compute``
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "prepare": In(1),
            "start": In(1),
            "slot": In(geometry.address_bits),
            "above": In(3),
            "ahead": In(signed(AHEAD_BITS)),
            "next_slot": Out(geometry.address_bits),
            "done": Out(1),
            "window": Out(window_layout(geometry)),
            "load": Out(1),
            "words": In(g.word_bits).array(g.pixels),
            "step": Out(Step),
            "bits": Out(g.pixels),
            "weight_row": Out(g.row_bits),
            "collector_busy": In(1),
            "collector_start": Out(1),
            "fetching": Out(1),
            "tiling": Out(1),
            "collecting": Out(1),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = ActivityQueue(self._geometry, depth=QUEUE_DEPTH)
        self._fetch(m, queue)
        self._scan(m, queue)
        return m

    def _fetch(self, m, queue):
        """Fetch the windows of a job while the queue has room; tag their words and push them."""
        g, layer = self._geometry, self.layer
        m.submodules.windows = windows = WindowWalk(g)

        active = Signal()
        room = Signal(range(QUEUE_DEPTH + 1), init=QUEUE_DEPTH)
        complete = Signal()
        m.d.comb += [
            windows.layer.eq(layer), windows.slot.eq(self.slot),
            windows.above.eq(self.above), windows.ahead.eq(self.ahead),
            windows.prepare.eq(self.prepare),
            windows.begin.eq(self.start), windows.advance.eq(self.load),
            self.next_slot.eq(windows.next_slot), self.window.eq(windows.window),
            self.load.eq(active & (room != 0)),
            complete.eq(self.load & windows.last_phase),
        ]
        m.d.sync += room.eq(room - complete + queue.pop)

        tag = Signal(tag_layout(g))
        row = Signal(g.row_bits)
        pass_row = Signal(g.row_bits)  # of the pass's first word
        first_row = Signal(g.row_bits)
        word_rows = Signal(7)
        next_row = Signal(g.row_bits)
        next_pass_row = Signal(g.row_bits)
        m.d.comb += [
            first_row.eq(layer.weight_base + g.start_bytes),
            next_row.eq(row + word_rows),
            next_pass_row.eq(next_row + g.start_bytes),
            tag.row.eq(row),
            tag.row_low.eq(windows.window.row_low), tag.col_low.eq(windows.window.col_low),
            tag.tile_end.eq(windows.last_word & windows.last_tap),
            tag.pass_end.eq(windows.last_tile),
            tag.job_end.eq(windows.last_pass),
        ]
        with m.If(self.start):
            m.d.sync += [active.eq(1), row.eq(first_row), pass_row.eq(first_row)]
        with m.Elif(complete):
            m.d.sync += row.eq(next_row)
            with m.If(tag.tile_end):
                m.d.sync += row.eq(pass_row)
                with m.If(tag.pass_end):
                    m.d.sync += [row.eq(next_pass_row), pass_row.eq(next_pass_row)]
                    with m.If(tag.job_end):
                        m.d.sync += active.eq(0)

        m.d.comb += word_rows.eq(1 + self._last_row(
            Mux(windows.last_word, layer.end_bits_last, layer.word_bits_last)))

        tags, pushes = [tag], [complete]
        for stage in range(1, WORD_STAGE + 1):
            tags.append(Signal(tag_layout(g), name=f"tag_{stage}"))
            pushes.append(Signal(name=f"push_{stage}"))
            m.d.sync += [tags[stage].eq(tags[stage - 1]), pushes[stage].eq(pushes[stage - 1])]
        m.d.comb += [
            queue.push.eq(pushes[WORD_STAGE]), queue.tag.eq(tags[WORD_STAGE]),
        ]
        # An input value has its sign above its magnitude, and nothing above that.
        planes, sign = g.INPUT_BITS, g.INPUT_BITS
        for to, word in zip(queue.words, self.words, strict=True):
            m.d.comb += to.eq(word)
            with m.If(layer.source == Source.INPUT):
                magnitude = word[:planes]
                m.d.comb += to[:2 * planes].eq(Mux(word[sign], magnitude << planes, magnitude))

    def _last_row(self, bits_last):
        """Weight rows of a word less 1: one for each channel; the row and its negative; or one."""
        source = self.layer.source
        return Mux(source == Source.LINE, bits_last, source == Source.INPUT)

    def _scan(self, m, queue):
        """Take words out of the queue and offer their events, one per cycle."""
        g, layer, step = self._geometry, self.layer, self.step

        # The word that is being scanned.
        held = Signal()
        tag = Signal(tag_layout(g))
        words = [Signal(g.word_bits, name=f"word_{q}") for q in range(g.pixels)]
        union = Signal(g.word_bits)
        events = Signal(range(g.word_bits + 1))  # left in the word
        some = Signal()                          # events != 0
        final = Signal()                         # events == 1

        # Its lowest event.
        lowest = Signal(g.word_bits)
        index = Signal(range(g.word_bits))
        bits = Signal(g.pixels)
        m.d.comb += [
            lowest.eq(union & (~union + 1)[:g.word_bits]),
            index.eq(Cat(reduce(or_, [lowest[n] for n in range(g.word_bits) if n >> k & 1])
                         for k in range(len(index)))),
            bits.eq(Cat((lowest & word).any() for word in words)),
        ]

        # An event of a plane beyond the shifter's is offered several times.
        low = union[:EVENT_PLANE_MOST + 1]
        high = union[EVENT_PLANE_MOST + 1:g.VECTOR_BITS]
        beyond = Signal()
        repeat = Signal(len(high))
        again = Signal()
        m.d.comb += [
            beyond.eq((layer.source == Source.VECTOR) & ~low.any()),
            # All bits up to the lowest 1 of ``high`` are set in the last repetition.
            again.eq(beyond & Cat(~repeat[k] & ~high[:k].any() for k in range(len(high))).any()),
        ]

        offer = Signal()     # an event, for the last time
        finish = Signal()    # this is the last cycle of the word
        skip = Signal()      # the head has nothing to scan and ends no tile
        m.d.comb += [
            skip.eq((queue.head_events == 0) & ~queue.head_tag.tile_end),
            queue.pop.eq(queue.valid & (skip | ~held | finish)),
        ]
        with m.If(offer):
            m.d.sync += [union.eq(union & ~lowest), events.eq(events - 1),
                         some.eq(~final), final.eq(events == 2)]
        with m.If(finish):
            m.d.sync += held.eq(0)
        with m.If(queue.pop & ~skip):
            m.d.sync += [
                held.eq(1), tag.eq(queue.head_tag), events.eq(queue.head_events),
                some.eq(queue.head_events != 0), final.eq(queue.head_events == 1),
                union.eq(reduce(or_, queue.head_words)),
                *(word.eq(head) for word, head in zip(words, queue.head_words, strict=True)),
            ]

        start_row = Signal(g.row_bits)  # of the pass's start values
        rows_read = Signal(2)  # of this word: the row, the negative row
        count = Signal(range(max(g.start_bytes, LANE_STAGE + 1)))
        is_global = Signal()
        is_line = Signal()
        is_input = Signal()
        negative = Signal()
        m.d.comb += [
            is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM)),
            is_line.eq(layer.source == Source.LINE),
            is_input.eq(layer.source == Source.INPUT),
            negative.eq(is_input & index[3]),
        ]
        # Events of a map have a weight row each; planes of a value, and of a sign, share one.
        same_row = Signal()
        m.d.comb += same_row.eq(~is_line & Mux(negative, rows_read[1], rows_read[0]))
        with m.If(step.compute):
            m.d.sync += [rows_read.eq(rows_read | Mux(negative, 0b10, 0b01)),
                         repeat.eq(Mux(again, repeat + 1, 0))]
        with m.If(queue.pop & ~skip):
            m.d.sync += rows_read.eq(0)

        def next_tile():
            """Leave a tile that has ended: on to the next tile, pass, or out."""
            m.d.comb += finish.eq(1)
            with m.If(tag.pass_end):
                # The next pass's rows lie behind the last word's.
                m.d.sync += [count.eq(0), start_row.eq(
                    tag.row + 1 + self._last_row(layer.end_bits_last))]
                m.next = "BYTES"
                with m.If(tag.job_end):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [count.eq(0), start_row.eq(layer.weight_base)]
                with m.If(self.start):
                    m.next = "BYTES"

            with m.State("BYTES"):
                # Words are fetched and shifted elsewhere, nothing is cleared: no step ever asks.
                m.d.comb += [step.byte.eq(1), step.load.eq(0), step.shift.eq(0),
                             step.clear.eq(0), step.double.eq(0), self.loading.eq(1)]
                m.d.sync += count.eq(count + 1)
                with m.If(count == g.start_bytes - 1):
                    m.next = "START"

            with m.State("START"):
                m.d.comb += [step.start.eq(1), self.tiling.eq(1)]
                m.d.sync += count.eq(0)
                m.next = "SCAN"

            with m.State("SCAN"):
                with m.If(~held):
                    m.d.comb += self.fetching.eq(1)
                with m.Elif(some):
                    m.d.comb += [
                        offer.eq(~again), finish.eq(final & ~again & ~tag.tile_end),
                        step.compute.eq(1), step.row.eq(~same_row),
                        step.plane.eq(
                            Mux(is_line, 0, Mux(beyond, EVENT_PLANE_MOST, index[:3]))),
                    ]
                with m.Elif(layer.source == Source.VECTOR):
                    m.d.comb += self.collecting.eq(1)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == LANE_STAGE - 1):
                        m.d.comb += self.collector_start.eq(1)
                        m.next = "COLLECT"
                with m.Elif(is_global & self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    # The sums are read while the next tile's start values take their place.
                    m.d.comb += [step.capture.eq(1), step.start.eq(~tag.pass_end),
                                 step.pass_.eq(tag.pass_end), self.tiling.eq(1)]
                    next_tile()

            with m.State("COLLECT"):
                with m.If(self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += self.tiling.eq(1)
                    next_tile()

        # Bits and weight row travel beside the step until they are needed.
        row = Signal(g.row_bits)
        offset = Signal(range(g.word_bits))
        row_1, offset_1 = Signal.like(row), Signal.like(offset)
        m.d.comb += [
            row.eq(Mux(step.byte, start_row, tag.row)),
            offset.eq(Mux(step.byte, count, Mux(is_line, index, negative))),
        ]
        m.d.sync += [row_1.eq(row), offset_1.eq(offset)]
        m.d.comb += self.weight_row.eq(
            _delayed(m, (row_1 + offset_1)[:g.row_bits], READ_STAGE - 1, "row"))
        # The words' bits are given to their pixels a cycle later.
        bits_1, tag_1, rotated = Signal.like(bits), Signal.like(tag), Signal.like(bits)
        m.d.sync += [bits_1.eq(bits), tag_1.eq(tag)]
        row_of = register_places(tag_1.row_low, g.tile_rows, layer.stride2)
        col_of = register_places(tag_1.col_low, g.tile_cols, layer.stride2)
        m.d.comb += rotated.eq(Cat(bits_1.bit_select(Cat(col, row), 1)
                                   for row in row_of for col in col_of))
        m.d.comb += self.bits.eq(_delayed(m, rotated, WORD_STAGE - 1, "bits"))


def _delayed(m, value, cycles, name):
    for stage in range(cycles):
        later = Signal(len(value), name=f"{name}_delayed_{stage}")
        m.d.sync += later.eq(value)
        value = later
    return value
