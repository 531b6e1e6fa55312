"""The event-driven walk: only the weight rows for which any pixel of the tile has a 1."""

from functools import reduce
from operator import and_, or_
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..abi.descriptors import READ_OUT, Emit, Source, layer_layout
from ..geometry import Geometry
from ..lib.delay import delayed
from ..memory.weight_store import weight_read_signature
from ..memory.window import WordFetchSignature, register_places, strides
from ..pipeline import LANE_STAGE, READ_STAGE, WORD_STAGE
from .activity_queue import QUEUE_LATENCY, ActivityQueue, tag_layout
from .event_scan import event_scan
from .jobs import WalkJobSignature
from .window_walk import WindowWalk
from .work import CauseSignature, CollectSignature, EventWorkSignature

__all__ = ["FETCH_LATENCY", "QUEUE_DEPTH", "EventWalker"]

# Words between a window's fetch and the scanner. More than the cycles in between, so that empty
# words in a row leave the queue at one per cycle.
QUEUE_DEPTH = 16
# From the cycle of a word's last window until the word can be at the head of the queue.
FETCH_LATENCY = WORD_STAGE + QUEUE_LATENCY


class EventWalker(wiring.Component):
    """Walks one job, with a cycle only for (tap, bit) pairs that some pixel of the tile needs.

    Two halves run at the same time. The *fetch* half steps through the windows of the whole job,
    as fast as there is room in a queue of activation words. The *scan* half takes words out of
    the queue and offers one event per cycle to the lanes: the lowest bit position that is left at
    which any pixel has a 1 (see :func:`~bamac_hw.control.event_scan.event_scan`). ::

        WindowWalk ─ window ─▶ WindowFetch ─ words ─▶ ActivityQueue ─▶ scan ─▶ step, bits, row
             ▲                                              │
             └───────────────── room ◀──────────────────────┘

    An input value becomes a word with 8 bits for the planes of positive values and 8 for those of
    negative ones; there is a weight row for each sign. Values near zero have few ones in this
    form, and neither padding nor silence has any.

    The operand's shifter ends at plane ``EVENT_PLANE_MOST``. An event of a higher plane ``p`` of a
    head vector adds its weight row times ``2**EVENT_PLANE_MOST`` several times, namely
    ``2**(p - EVENT_PLANE_MOST)``. Such events are few, and a wider shifter would take a LUT for
    each bit and channel.

    With two streams, each half of the tile's rows of pixels has its own queue, its own scan and its
    own weight row per cycle. A word is fetched when both queues have room. A tile ends for both
    streams in the same cycle, when both have offered all of its events, because start values,
    write-back and collector are shared.

    Cycles of the scan half:

    - for each pass ``start_bytes`` and 1 (start of its first tile); for each tile 1 for each event
      and 1 (its end, and the start of the tile behind it), plus the waits for the collector that
      :class:`~bamac_hw.control.dense_walker.DenseWalker` has too; in a head vector, an event of
      plane ``p`` beyond ``EVENT_PLANE_MOST`` takes ``2**(p - EVENT_PLANE_MOST)``;
    - a word without an event leaves the queue by itself, one per cycle, unless it is a tile's
      last word. It costs time only when the scan has to wait for the word behind it;
    - *waits for words*: a word's last window can be fetched when the word ``QUEUE_DEPTH`` before
      it has left the queue, and not before the cycle behind the previous window. The word is at
      the head ``FETCH_LATENCY`` cycles later. It leaves the queue in the last cycle of the word
      before it, which is that word's last event or the end of its tile. Its events can be offered
      from the next cycle on;
    - with two streams, a tile ends when the later stream ends it, and all of the above holds for
      each queue by itself. A cycle computes if either stream offers an event. If neither does, the
      cycle waits for words until both streams have reached the end of the tile.

    With the geometry's ``zero_rows``, a bit whose weight row is all zeros is no event: masks, which
    come from the weight store, clear it on its way into the queue. In a depthwise layer a word with
    any 1 is one event, and goes to the lanes whole.

    :mod:`bamac.perf.events` computes the same.

    Parameters
    ----------
    geometry : Geometry

    Members
    -------
    layer : the running layer's descriptor
    job : ``In(WalkJobSignature)``, from the scheduler
    fetch : ``Out(WordFetchSignature)``, to the window fetch
    work : ``Out(EventWorkSignature)``, to the datapath
    collect : ``Out(CollectSignature)``, to the collector
    causes : ``Out(CauseSignature)``, to the counters
    masks : ``In(weight_read_signature(geometry))``, a read port of the weight store, if the
        geometry has ``zero_rows``
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "job": In(WalkJobSignature(geometry)),
            "fetch": Out(WordFetchSignature(geometry)),
            "work": Out(EventWorkSignature(geometry)),
            "collect": Out(CollectSignature(geometry)),
            "causes": Out(CauseSignature(geometry)),
        } | ({"masks": In(weight_read_signature(geometry))} if geometry.zero_rows else {}))

    def elaborate(self, platform):
        m = Module()
        queues = [ActivityQueue(self._geometry, depth=QUEUE_DEPTH)
                  for _ in range(self._geometry.streams)]
        for stream, queue in enumerate(queues):
            m.submodules[f"queue_{stream}" if stream else "queue"] = queue
        self._fetch(m, queues)
        self._scan(m, queues)
        return m

    def _fetch(self, m, queues):
        """Fetch the windows of a job while all queues have room; tag their words and push them."""
        g, layer = self._geometry, self.layer
        m.submodules.windows = windows = WindowWalk(g)

        # Long paths begin at the load of a window, so it is a register.
        active, load = Signal(), Signal()
        tag = Signal(tag_layout(g))
        complete, goes_on = Signal(), Signal()
        frees = []
        for stream, queue in enumerate(queues):
            room = Signal(range(QUEUE_DEPTH + 1), init=QUEUE_DEPTH, name=f"room_{stream}")
            free = Signal(name=f"free_{stream}")  # there is room in the next cycle
            m.d.comb += free.eq(queue.pop | Mux(complete, room != 1, room != 0))
            m.d.sync += room.eq(room - complete + queue.pop)
            frees.append(free)
        m.d.sync += [active.eq(self.job.start | goes_on),
                     load.eq(self.job.start | reduce(and_, frees, goes_on))]
        connect(m, flipped(self.job.place), windows.place)
        m.d.comb += [
            windows.layer.eq(layer), windows.begin.eq(self.job.start), windows.advance.eq(load),
            self.fetch.window.eq(windows.window), self.fetch.load.eq(load),
            complete.eq(load & windows.last_phase),
            goes_on.eq(active & ~(complete & tag.tile_end & tag.pass_end & tag.job_end)),
        ]

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
        with m.If(self.job.start):
            m.d.sync += [row.eq(first_row), pass_row.eq(first_row)]
        with m.Elif(complete):
            m.d.sync += row.eq(next_row)
            with m.If(tag.tile_end):
                m.d.sync += row.eq(pass_row)
                with m.If(tag.pass_end):
                    m.d.sync += [row.eq(next_pass_row), pass_row.eq(next_pass_row)]

        m.d.comb += word_rows.eq(1 + self._last_row(
            Mux(windows.last_word, layer.end_bits_last, layer.word_bits_last)))

        tags, pushes = [tag], [complete]
        for stage in range(1, WORD_STAGE + 1):
            tags.append(Signal(tag_layout(g), name=f"tag_{stage}"))
            pushes.append(Signal(name=f"push_{stage}"))
            m.d.sync += [tags[stage].eq(tags[stage - 1]), pushes[stage].eq(pushes[stage - 1])]
        for queue in queues:
            m.d.comb += [queue.push.eq(pushes[WORD_STAGE]), queue.tag.eq(tags[WORD_STAGE])]
            if g.depthwise:
                m.d.comb += queue.depthwise.eq(layer.depthwise)
        # An input value has its sign above its magnitude, and nothing above that.
        planes, sign = g.INPUT_BITS, g.INPUT_BITS
        kept = self._masks(m, complete, tag) if g.zero_rows else None
        words = (list(self.fetch.words) if g.streams == 1 else
                 self._words_of_rows(tags[WORD_STAGE].row_low))
        if kept is not None:
            words = [word & kept for word in words]
        for to, word in zip((to for queue in queues for to in queue.words), words, strict=True):
            m.d.comb += to.eq(word)
            with m.If(layer.source == Source.INPUT):
                magnitude = word[:planes]
                m.d.comb += to[:2 * planes].eq(Mux(word[sign], magnitude << planes, magnitude))

    def _masks(self, m, complete, tag):
        """Masks of the words at ``WORD_STAGE``: the bits whose weight rows are not all zeros.

        A layer's masks lie in front of its passes in the weight store, eight to a row; a pass
        begins with a new row. A row is read with the first of its words.
        """
        g, layer, port = self._geometry, self.layer, self.masks
        # Counts masks: the row of the weight store, and the place in it.
        mask = Signal(g.row_bits + 3)
        pass_mask = Signal.like(mask)
        next_pass, first = Signal.like(mask), Signal.like(mask)
        masked = Signal()
        m.d.comb += [next_pass.eq((mask | 7) + 1),
                     first.eq((layer.weight_base - layer.mask_rows)[:g.row_bits] << 3)]
        m.d.sync += masked.eq(layer.mask_rows.any())
        with m.If(self.job.start):
            m.d.sync += [mask.eq(first), pass_mask.eq(first)]
        with m.Elif(complete):
            m.d.sync += mask.eq(mask + 1)
            with m.If(tag.tile_end):
                m.d.sync += mask.eq(pass_mask)
                with m.If(tag.pass_end):
                    m.d.sync += [mask.eq(next_pass), pass_mask.eq(next_pass)]
        reads = Signal()
        m.d.comb += [reads.eq(complete & masked & (mask[:3] == 0)),
                     port.en.eq(delayed(m, reads, READ_STAGE - 1, "mask_read"))]
        place = delayed(m, mask, READ_STAGE - 1, "mask_delayed")
        m.d.comb += port.addr.eq(place[3:])
        # Block RAM is slow to come out: a register before the choice of the mask.
        row = Signal(8 * g.channels, reset_less=True)
        kept = Signal(g.channels, init=-1)
        chosen = delayed(m, place[:3], 2, "mask_chosen")
        m.d.sync += [row.eq(port.data),
                     kept.eq(Mux(masked, row.word_select(chosen, g.channels), -1))]
        # An input value has one weight, whatever its planes; a vector is never masked.
        wide = Signal(g.word_bits)
        m.d.comb += wide.eq(Mux(layer.source == Source.LINE, kept,
                                kept[0].replicate(g.word_bits)))
        return wide

    def _words_of_rows(self, row_low):
        """The words by pixel rows, in the places that they have within a row."""
        g = self._geometry
        columns = [Cat(self.fetch.words[row * g.tile_cols + col] for row in range(g.tile_rows))
                   for col in range(g.tile_cols)]
        return [column.word_select(row, g.word_bits)
                for row in register_places(row_low, g.tile_rows, strides(self.layer, g)[0])
                for column in columns]

    def _last_row(self, bits_last):
        """Weight rows of a word, less 1.

        A map has one for each channel, an input value the row and its negative, a vector one.
        """
        source = self.layer.source
        return Mux(source == Source.LINE, bits_last, source == Source.INPUT)

    def _scan(self, m, queues):
        """Take words out of the queues and offer their events, one of each queue per cycle."""
        g, layer, step = self._geometry, self.layer, self.work.step
        steps = [step, *self.work.additions]
        # The states SCAN and COLLECT, and a tile's last cycle in either: registers with few levels
        # of logic behind them, because they decide which word leaves a queue next.
        scanning, reads_out, closes = Signal(), Signal(), Signal()
        scans = [event_scan(m, g, layer, queue, one, scanning=scanning, closes=closes,
                            stream=stream)
                 for stream, (queue, one) in enumerate(zip(queues, steps, strict=True))]

        start_row = Signal(g.row_bits)  # of the pass's start values
        count = Signal(range(max(g.start_bytes, LANE_STAGE + 1)))
        is_global = Signal()
        some, lacking = Signal(), Signal()
        # A register: known long before a tile ends.
        m.d.sync += is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM))
        collects = scans[0].is_vector  # the layer is read out by the collector
        if g.map_head:
            collects = Signal(name="collects")
            m.d.sync += collects.eq(Cat(layer.emit == emit for emit in READ_OUT).any())
        m.d.comb += [
            some.eq(reduce(or_, (scan.some for scan in scans))),
            lacking.eq(reduce(or_, (~scan.held for scan in scans))),
            closes.eq((scanning | reads_out) & ~some & ~lacking & ~Mux(
                reads_out, self.collect.busy,
                collects | (is_global & self.collect.busy))),
        ]
        self._sequence(m, scans[0], SimpleNamespace(
            scanning=scanning, reads_out=reads_out, closes=closes, start_row=start_row,
            count=count, some=some, lacking=lacking, collects=collects))

        first_row, *other_rows = self.work.rows
        self._send(m, scans[0], first_row, start=(step.byte, start_row, count))
        for scan, row in zip(scans[1:], other_rows, strict=True):
            self._send(m, scan, row)
        m.d.comb += [
            self.collect.capture.eq(step.capture),
            self.work.bits.eq(Cat(self._pixel_bits(m, scan) for scan in scans)),
        ]
        if g.depthwise:
            own = Cat(self._pixel_words(m, scan) for scan in scans)
            m.d.comb += [to.eq(own.word_select(pixel, g.channels))
                         for pixel, to in enumerate(self.work.own)]

    def _sequence(self, m, scan, at):
        """Passes and tiles of the scan half; ``scan`` is the first stream's."""
        g, layer, step = self._geometry, self.layer, self.work.step
        tag = scan.tag  # at a tile's end, that of all streams

        def next_tile():
            """Leave a tile that has ended: on to the next tile, pass, or out."""
            with m.If(tag.pass_end):
                # The next pass's rows lie behind the last word's.
                m.d.sync += [at.scanning.eq(0), at.reads_out.eq(0), at.count.eq(0),
                             at.start_row.eq(tag.row + 1 + self._last_row(layer.end_bits_last))]
                m.next = "BYTES"
                with m.If(tag.job_end):
                    m.d.comb += self.job.done.eq(1)
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [at.count.eq(0), at.start_row.eq(layer.weight_base)]
                with m.If(self.job.start):
                    m.next = "BYTES"

            with m.State("BYTES"):
                # Fields that this walk never sets are driven all the same.
                m.d.comb += [step.byte.eq(1), step.load.eq(0), step.shift.eq(0),
                             step.clear.eq(0), step.double.eq(0), self.causes.loading.eq(1)]
                m.d.sync += at.count.eq(at.count + 1)
                with m.If(at.count == g.start_bytes - 1):
                    m.next = "START"

            with m.State("START"):
                m.d.comb += [step.start.eq(1), self.causes.tiling.eq(1)]
                m.d.sync += [at.count.eq(0), at.scanning.eq(1)]
                m.next = "SCAN"

            with m.State("SCAN"):
                with m.If(at.closes):
                    # The sums are read while the next tile's start values take their place.
                    m.d.comb += [step.capture.eq(1), step.start.eq(~tag.pass_end),
                                 step.pass_.eq(tag.pass_end), self.causes.tiling.eq(1)]
                    next_tile()
                with m.Elif(~at.some & at.lacking):
                    m.d.comb += self.causes.fetching.eq(1)
                with m.Elif(~at.some):
                    # For the lanes, or for the collector.
                    m.d.comb += self.causes.collecting.eq(1)
                with m.If(~at.some & ~at.lacking & at.collects):
                    m.d.sync += at.count.eq(at.count + 1)
                    with m.If(at.count == LANE_STAGE - 1):
                        m.d.comb += self.collect.start.eq(1)
                        m.d.sync += [at.scanning.eq(0), at.reads_out.eq(1)]
                        m.next = "COLLECT"

            with m.State("COLLECT"):
                m.d.comb += [self.causes.collecting.eq(~at.closes),
                             self.causes.tiling.eq(at.closes)]
                with m.If(at.closes):
                    next_tile()

    def _send(self, m, scan, weight_row, *, start=None):
        """The weight row travels beside the step until it is read."""
        g = self._geometry
        row = Signal(g.row_bits)
        offset = Signal(range(g.word_bits))
        row_1, offset_1 = Signal.like(row), Signal.like(offset)
        from_row, from_offset = scan.tag.row, scan.offset
        if start is not None:
            now, start_row, count = start
            from_row, from_offset = Mux(now, start_row, from_row), Mux(now, count, from_offset)
        m.d.comb += [row.eq(from_row), offset.eq(from_offset)]
        m.d.sync += [row_1.eq(row), offset_1.eq(offset)]
        m.d.comb += weight_row.eq(
            delayed(m, (row_1 + offset_1)[:g.row_bits], READ_STAGE - 1, "row_delayed"))

    def _pixel_bits(self, m, scan):
        """An event's bits, given to their pixels a cycle later, travel beside the step."""
        bits_1, tag_1 = Signal.like(scan.bits), Signal.like(scan.tag)
        rotated = Signal.like(scan.bits)
        m.d.sync += [bits_1.eq(scan.bits), tag_1.eq(scan.tag)]
        m.d.comb += rotated.eq(Cat(bits_1.bit_select(place, 1) for place in self._places(tag_1)))
        return delayed(m, rotated, WORD_STAGE - 1, "bits_delayed")

    def _pixel_words(self, m, scan):
        """The words themselves, in the same way: of each pixel the bits of all channels."""
        g = self._geometry
        words_1, tag_1 = Signal(g.channels * g.stream_pixels), Signal.like(scan.tag)
        m.d.sync += [words_1.eq(Cat(word[:g.channels] for word in scan.words)),
                     tag_1.eq(scan.tag)]
        placed = Cat(words_1.word_select(place, g.channels) for place in self._places(tag_1))
        return delayed(m, placed, WORD_STAGE - 1, "words_delayed")

    def _places(self, tag):
        """For each pixel of a stream, which of the tag's words is its own."""
        g = self._geometry
        row_strides, col_strides = strides(self.layer, g)
        rows = g.tile_rows // g.streams
        row_of = (register_places(tag.row_low, rows, row_strides) if g.streams == 1 else
                  [C(row, (rows - 1).bit_length()) for row in range(rows)])
        col_of = register_places(tag.col_low, g.tile_cols, col_strides)
        return [Cat(col, row) for row in row_of for col in col_of]
