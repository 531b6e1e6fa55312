"""The order in which a job reads its input windows, and where each of them lies in the rings."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import layer_layout
from ..geometry import Geometry
from ..lib.small_count import one_less, one_more
from ..memory.window import strides, window_layout
from .jobs import JobPlaceSignature

__all__ = ["WindowWalk"]


class WindowWalk(wiring.Component):
    """Steps through the windows of one job, one for each ``advance``.

    ::

        for each pass (group of output channels):
            for each tile along the columns:
                for each kernel row, kernel column, word:
                    for each phase (a strided tile needs up to four windows for a word)

    Pass ``n`` of a depthwise layer takes word ``n`` of each pixel alone.

    Latency: one cycle from ``begin`` or ``advance`` to the new ``window``. ``place.above``,
    ``place.ahead`` and the first four descriptor words' ``layer`` must be stable from two cycles
    before ``begin``, the other words of the walk from ``begin`` on, ``place.slot`` from
    ``place.prepare`` on and the layer's input ring from the cycle behind it. Behind the job's last
    window, the walk returns to the job's first tile.

    Members
    -------
    layer : the running layer's descriptor
    place : ``In(JobPlaceSignature)``; ``prepare`` comes four cycles before ``begin``, or earlier
    begin : go to the job's first window
    advance : go on to the next window
    again : with ``advance``, behind a tile's last window: go back to the tile's first one
    window : the current one
    last_phase, last_word, last_tap : the window is the last of its word; the word is the last of
        its kernel tap; the tap is the tile's last
    first_tile, last_tile, last_pass : the tile is the first, or last, of its pass; the pass is
        the job's last
    """

    def __init__(self, geometry: Geometry):
        g = self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "place": In(JobPlaceSignature(g)),
            "begin": In(1),
            "advance": In(1),
            "again": In(1),
            "window": Out(window_layout(geometry)),
            "last_phase": Out(1),
            "last_word": Out(1),
            "last_tap": Out(1),
            "first_tile": Out(1),
            "last_tile": Out(1),
            "last_pass": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        loops = self._loops(m)
        ends = self._ends(m, loops)
        self._step_phase(m, loops, ends)
        self._step_loops(m, loops, ends)
        self._step_slots(m, loops, ends)
        self._step_groups(m, loops, ends)
        self._find_rows(m, loops.phase_row, begin=ends.restart, step=ends.row)
        self._find_columns(m, loops.phase_col, loops.tap_col, begin=self.begin | ends.leave,
                           to_first=ends.to_first)
        return m

    def _loops(self, m):
        """The position of each loop, and whether it is the loop's last."""
        g, layer, window = self._geometry, self.layer, self.window

        # Each counter holds the next index, so that "this is the last" can be a register.
        def counted(name, last):
            """Statements ``begin`` and ``step`` of a loop up to ``last``, and ``is_last``."""
            ahead = Signal(len(last), name=f"{name}_ahead")
            is_last, several = Signal(name=f"last_{name}"), Signal(name=f"several_{name}s")
            m.d.sync += several.eq(last.any())
            return SimpleNamespace(
                begin=[ahead.eq(1), is_last.eq(~several)],
                step=[ahead.eq(one_more(ahead)), is_last.eq(ahead == last)], is_last=is_last)

        last_word = layer.groups_last
        if g.depthwise:
            # A pass takes one word of each pixel.
            last_word = Signal.like(layer.groups_last, name="last_word_walked")
            m.d.comb += last_word.eq(Mux(layer.depthwise, 0, layer.groups_last))
        loops = SimpleNamespace(
            word=counted("word", last_word), col=counted("tap_col", layer.kernel_cols_last),
            row=counted("tap_row", layer.kernel_rows_last),
            tap_col=Signal(g.padding_bits, name="tap_col"), passes=Signal(8, name="passes"),
            tile=Signal.like(layer.tiles_last, name="tile"), last_tile=Signal(name="last_tile"),
            phase_row=Signal(name="phase_row"), phase_col=Signal(name="phase_col"),
            row_low=Signal(2, name="row_low"), col_low=Signal(2, name="col_low"))
        # Constant in a job.
        row_strides, col_strides = strides(layer, g)
        if g.axis_strides:
            row_phases, col_phases = Signal(), Signal()
            m.d.sync += [row_phases.eq(row_strides), col_phases.eq(col_strides)]
        else:
            row_phases = col_phases = Signal(name="strides")
            m.d.sync += row_phases.eq(row_strides)
        loops.last_phase_row = row_phases if g.tile_rows > 1 else C(0)
        loops.last_phase_col = col_phases if g.tile_cols > 1 else C(0)
        m.d.comb += [
            loops.last_tile.eq(loops.tile == layer.tiles_last),
            self.last_phase.eq((loops.phase_row == loops.last_phase_row)
                               & (loops.phase_col == loops.last_phase_col)),
            self.last_word.eq(loops.word.is_last),
            self.last_tap.eq(loops.col.is_last & loops.row.is_last),
            self.last_tile.eq(loops.last_tile),
            self.last_pass.eq(loops.passes == layer.passes_last),
            window.row_low.eq(loops.row_low), window.col_low.eq(loops.col_low),
            window.phase_row.eq(loops.phase_row), window.phase_col.eq(loops.phase_col),
        ]
        return loops

    def _ends(self, m, loops):
        """What an advance ends: a phase, a word, a tap, a kernel row, a tile or its repetition."""
        ends = SimpleNamespace(**{name: Signal(name=f"end_{name}") for name in (
            "phase", "word", "tap", "row", "tile", "leave", "restart")})
        # ``advance`` comes late in the cycle, so it only enables what has been worked out before.
        ends.row_over, ends.tile_left, ends.to_first = (
            Signal(name=name) for name in ("row_over", "tile_left", "to_first"))
        tile_over = Signal()
        m.d.comb += [
            ends.row_over.eq(loops.word.is_last & loops.col.is_last),
            tile_over.eq(ends.row_over & loops.row.is_last),
            ends.tile_left.eq(tile_over & ~self.again),
            ends.to_first.eq(self.begin | loops.last_tile),
            ends.phase.eq(self.advance & ~self.last_phase),
            ends.word.eq(self.advance & self.last_phase),
            ends.tap.eq(ends.word & loops.word.is_last), ends.row.eq(ends.word & ends.row_over),
            ends.tile.eq(ends.word & tile_over), ends.leave.eq(ends.word & ends.tile_left),
            ends.restart.eq(self.begin | ends.tile),
        ]
        return ends

    def _step_phase(self, m, loops, ends):
        with m.If(ends.phase):
            with m.If(loops.phase_col == loops.last_phase_col):
                m.d.sync += [loops.phase_col.eq(0), loops.phase_row.eq(1)]
            with m.Else():
                m.d.sync += loops.phase_col.eq(1)
        with m.If(self.begin | ends.word):
            m.d.sync += [loops.phase_row.eq(0), loops.phase_col.eq(0)]

    def _step_loops(self, m, loops, ends):
        """Words, taps, tiles and passes."""
        g, layer = self._geometry, self.layer
        tap_col, col_low, row_low = loops.tap_col, loops.col_low, loops.row_low
        with m.If(ends.word):
            m.d.sync += loops.word.step
        with m.If(self.begin | ends.tap):
            m.d.sync += loops.word.begin

        with m.If(ends.tap):
            m.d.sync += [*loops.col.step, tap_col.eq(one_more(tap_col)),
                         col_low.eq(Mux(col_low == g.tile_cols - 1, 0, col_low + 1))]
        with m.If(self.begin | ends.row):
            m.d.sync += [*loops.col.begin, tap_col.eq(0), col_low.eq(layer.col_low)]

        with m.If(ends.row):
            m.d.sync += [*loops.row.step, row_low.eq(row_low + 1)]
            with m.If(row_low == g.tile_rows - 1):
                m.d.sync += row_low.eq(0)
        with m.If(ends.restart):
            m.d.sync += [*loops.row.begin, row_low.eq(layer.row_low)]

        with m.If(self.begin | ends.leave):
            m.d.sync += [loops.tile.eq(Mux(ends.to_first, 0, loops.tile + 1)),
                         self.first_tile.eq(ends.to_first)]
        with m.If(ends.leave & loops.last_tile):
            m.d.sync += loops.passes.eq(loops.passes + 1)
        with m.If(self.begin):
            m.d.sync += loops.passes.eq(0)

    def _step_slots(self, m, loops, ends):
        """Slots of the kernel row and of the two slots behind it in the ring.

        One adder computes all of them; before the job, those of the first kernel row, where every
        tile begins.
        """
        g, layer, window, place = self._geometry, self.layer, self.window, self.place
        slots = [Signal(g.address_bits, name=f"slot_{k}") for k in range(3)]
        job_slots = [place.slot, Signal(g.address_bits, name="job_slot_1"),
                     Signal(g.address_bits, name="job_slot_2")]
        prepared = [Signal(name=f"prepared_{k}") for k in range(3)]
        next_slots = [
            slots[0].eq(slots[1]), slots[1].eq(slots[2]),
            slots[2].eq(Mux(slots[2] == layer.ring_end, layer.ring_base,
                            (slots[2] + layer.pitch)[:g.address_bits])),
        ]
        m.d.sync += Cat(prepared).eq(Cat(place.prepare, prepared[:-1]))
        m.d.comb += [
            place.next_slot.eq(Mux(layer.stride2, job_slots[2], job_slots[1])),
            window.slot_low.eq(Mux(loops.phase_row, slots[1], slots[0])),
            window.slot_high.eq(Mux(loops.phase_row, slots[2], slots[1])),
        ]
        with m.If(prepared[2]):
            m.d.sync += [to.eq(slot) for to, slot in zip(job_slots[1:], slots[1:], strict=True)]
        with m.If(ends.row):
            with m.If(loops.row_low == g.tile_rows - 1):
                m.d.sync += next_slots
        with m.If(prepared[0] | prepared[1]):
            m.d.sync += next_slots
        with m.If(place.prepare):
            m.d.sync += slots[2].eq(place.slot)
        with m.If(ends.tile):
            m.d.sync += [to.eq(value) for to, value in zip(slots, job_slots, strict=True)]

    def _step_groups(self, m, loops, ends):
        """Addresses of columns.

        On by one word; or back to the first word of the column and so to the next column; or on to
        the next tile.
        """
        g, layer, window, address = (self._geometry, self.layer, self.window,
                                     self._geometry.address_bits)
        # Constant in a job.
        groups = Signal(address + 1)
        stride_groups = Signal(address)
        m.d.sync += [groups.eq(layer.groups_last + 1),
                     stride_groups.eq(Mux(strides(layer, g)[1], groups << 1, groups))]

        tile_group, group_addr, phase_addr, stepped, new_group, next_group = (
            Signal(address, name=name) for name in (
                "tile_group", "group_addr", "phase_addr", "stepped", "new_group", "next_group"))
        m.d.comb += [
            phase_addr.eq(group_addr + Mux(loops.phase_col, groups, 0)),
            window.group_low.eq(phase_addr), window.group_high.eq(phase_addr + groups),
            stepped.eq(self._stepped_group(loops, group_addr, groups)),
            new_group.eq(Mux(ends.to_first, self._first_group(m, loops, ends),
                             tile_group + stride_groups)),
            next_group.eq(Mux(self.begin | ends.tile_left, new_group,
                              Mux(ends.row_over, tile_group, stepped))),
        ]
        with m.If(self.begin | ends.word):
            m.d.sync += group_addr.eq(next_group)
        with m.If(self.begin | ends.leave):
            m.d.sync += tile_group.eq(new_group)

    def _stepped_group(self, loops, group_addr, groups):
        """The address behind a word's: on by one, or back to the first word of the next column."""
        g, layer = self._geometry, self.layer
        same_group = loops.col_low != g.tile_cols - 1
        stepped = group_addr - Mux(loops.word.is_last & same_group, layer.groups_last,
                                   C(-1, g.address_bits))
        if g.depthwise:
            stepped = Mux(layer.depthwise, group_addr + Mux(same_group, 0, groups), stepped)
        return stepped

    def _first_group(self, m, loops, ends):
        """The address where a pass's first tile begins."""
        g, layer = self._geometry, self.layer
        if not g.depthwise:
            return layer.group_start
        # A depthwise pass takes the word behind that of the pass before.
        first, now = (Signal(g.address_bits, name=name) for name in ("first_group", "first_now"))
        m.d.comb += now.eq(Mux(self.begin, layer.group_start, first + layer.depthwise))
        with m.If(self.begin | (ends.leave & loops.last_tile)):
            m.d.sync += first.eq(now)
        return now

    # Which rows and columns of the window lie in the map. A window is at most 15 rows and columns
    # away from the first one of its tile (kernel 7, second phase, tile 4; at most 31 with
    # a kernel of 15), so a few bits of that window's distances to the map's edges are enough.

    def _find_rows(self, m, phase, *, begin, step):
        """Rows, from two counters that stop at zero.

        One counts the rows of padding from the tap's row down, the other the rows from there to the
        map's end.
        """
        g, layer, window = self._geometry, self.layer, self.window
        bits = g.padding_bits + 1
        padding, left = (Signal(g.padding_bits, name="rows_of_padding"),
                         Signal(bits, name="rows_left"))
        job_left = Signal(bits, name="job_rows_left")
        all_left = Signal(signed(bits + 2))
        m.d.comb += all_left.eq(layer.span + self.place.ahead[:bits + 1].as_signed())
        m.d.sync += job_left.eq(Mux(self.place.ahead[-1], Mux(all_left[-1], 0, all_left[:bits]),
                                    (1 << bits) - 1))
        with m.If(step):
            m.d.sync += [padding.eq(one_less(padding)), left.eq(one_less(left))]
        with m.If(begin):
            m.d.sync += [padding.eq(self.place.above), left.eq(job_left)]

        def more(value, least):
            return value.matches(*range(least, 1 << len(value)))

        m.d.comb += window.rows_in.eq(Cat(
            Mux(phase, more(left, g.tile_rows + k + 1) & ~more(padding, g.tile_rows + k + 1),
                more(left, k + 1) & ~more(padding, k + 1)) for k in range(g.tile_rows)))

    def _find_columns(self, m, phase, tap, *, begin, to_first):
        """Columns, from each tile's distances."""
        g, layer, window = self._geometry, self.layer, self.window
        bits = g.padding_bits + 1
        left = Signal(g.padding_bits)  # columns of padding left of the tile's first column
        to_last = Signal(signed(g.column_bits + 2))
        columns = Mux(strides(layer, g)[1], 2 * g.tile_cols, g.tile_cols)
        with m.If(begin):
            m.d.sync += [
                left.eq(Mux(to_first, layer.padding_left,
                            Mux(left > columns, left - columns, 0))),
                to_last.eq(Mux(to_first, layer.col_to_last, to_last - columns)),
            ]
        offset = tap + Mux(phase, g.tile_cols, 0)
        near = Mux(to_last[bits:-1].any(), (1 << bits) - 1, to_last[:bits])
        m.d.comb += window.cols_in.eq(
            Cat((offset + k >= left) & (offset + k <= near) for k in range(g.tile_cols))
            & (~to_last[-1]).replicate(g.tile_cols))
