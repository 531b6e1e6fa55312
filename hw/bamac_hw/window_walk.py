"""The order in which a job looks at its input, and where each look falls in the rings."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import AHEAD_BITS, layer_layout
from .window_fetch import window_layout

__all__ = ["WindowWalk"]


class WindowWalk(wiring.Component):
    """Steps through the windows of one job, one for each ``advance``.

    ::

        for each pass (group of output channels):
            for each tile along the columns:
                for each kernel row, kernel column, word:
                    for each phase (a strided tile needs up to four windows for a word)

    Latency: one cycle from ``begin`` or ``advance`` to the new ``window``. ``layer``, ``slot``,
    ``above`` and ``ahead`` must be stable from two cycles before ``begin``; behind the job's last
    window, the walk stands at its first tile again.

    Members
    -------
    layer : the running layer's descriptor
    slot : ring slot of the job's first kernel row
    above, ahead : rows of padding above it; rows of the map behind the ``span`` of the job
    begin : stand at the job's first window
    advance : go on to the next window
    again : with ``advance``, behind a tile's last window: stand at its first again
    next_slot : ring slot of the next job's first kernel row
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
            "slot": In(g.address_bits),
            "above": In(3),
            "ahead": In(signed(AHEAD_BITS)),
            "begin": In(1),
            "advance": In(1),
            "again": In(1),
            "next_slot": Out(g.address_bits),
            "window": Out(window_layout(geometry)),
            "last_phase": Out(1),
            "last_word": Out(1),
            "last_tap": Out(1),
            "first_tile": Out(1),
            "last_tile": Out(1),
            "last_pass": Out(1),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer, window = self.layer, self.window
        m = Module()
        address = g.address_bits

        groups = Signal(address + 1)
        m.d.comb += groups.eq(layer.groups_last + 1)

        # Slots of the job's first kernel row and of the two slots behind it in the ring.
        def next_slot(slot):
            return Mux(slot == layer.ring_end, layer.ring_base, (slot + layer.pitch)[:address])

        job_slots = [self.slot, Signal(address, name="job_slot_1"),
                     Signal(address, name="job_slot_2")]
        slots = [Signal(address, name=f"slot_{k}") for k in range(3)]
        m.d.sync += [job_slots[k + 1].eq(next_slot(job_slots[k])) for k in range(2)]
        m.d.comb += self.next_slot.eq(Mux(layer.stride2, job_slots[2], job_slots[1]))

        passes = Signal(8)
        tile = Signal.like(layer.tiles_last)
        tile_group = Signal(address)
        tap_row = Signal(3)
        tap_col = Signal(3)
        group = Signal.like(layer.groups_last)
        phase_row = Signal()
        phase_col = Signal()

        row_low = Signal(2)
        col_low = Signal(2)
        group_addr = Signal(address)

        stride_groups = Signal(address + 2)
        m.d.comb += stride_groups.eq(Mux(layer.stride2, groups << 1, groups))
        phase_addr = Signal(address)
        m.d.comb += [
            phase_addr.eq(group_addr + Mux(phase_col, groups, 0)),
            window.slot_low.eq(Mux(phase_row, slots[1], slots[0])),
            window.slot_high.eq(Mux(phase_row, slots[2], slots[1])),
            window.group_low.eq(phase_addr),
            window.group_high.eq(phase_addr + groups),
            window.row_low.eq(row_low),
            window.col_low.eq(col_low),
            window.phase_row.eq(phase_row),
            window.phase_col.eq(phase_col),
        ]

        next_tile = Signal()
        m.d.comb += next_tile.eq(self.advance & self.last_phase & self.last_word & self.last_tap
                                 & ~self.again)
        last_phase_row = layer.stride2 if g.tile_rows > 1 else C(0)
        last_phase_col = layer.stride2 if g.tile_cols > 1 else C(0)
        m.d.comb += [
            self.last_phase.eq((phase_row == last_phase_row) & (phase_col == last_phase_col)),
            self.last_word.eq(group == layer.groups_last),
            self.last_tap.eq((tap_col == layer.kernel_cols_last)
                             & (tap_row == layer.kernel_rows_last)),
            self.first_tile.eq(tile == 0),
            self.last_tile.eq(tile == layer.tiles_last),
            self.last_pass.eq(passes == layer.passes_last),
        ]

        def stand_at(new_group):
            """Stand at the first window of the tile at this column group."""
            return [
                *(to.eq(value) for to, value in zip(slots, job_slots, strict=True)),
                row_low.eq(layer.row_low), col_low.eq(layer.col_low),
                group_addr.eq(new_group), tile_group.eq(new_group),
                tap_row.eq(0), tap_col.eq(0), group.eq(0),
            ]

        with m.If(self.begin):
            m.d.sync += [tile.eq(0), passes.eq(0), phase_row.eq(0), phase_col.eq(0),
                         *stand_at(layer.group_start)]
        with m.Elif(self.advance & ~self.last_phase):
            with m.If(phase_col == last_phase_col):
                m.d.sync += [phase_col.eq(0), phase_row.eq(1)]
            with m.Else():
                m.d.sync += phase_col.eq(1)
        with m.Elif(self.advance):
            # On by one, or back to the first group of the column and so to the next column.
            stepped = (group_addr - Mux(self.last_word & (col_low != g.tile_cols - 1),
                                        layer.groups_last, C(-1, address)))[:address]
            m.d.sync += [phase_row.eq(0), phase_col.eq(0), group.eq(group + 1),
                         group_addr.eq(stepped)]
            with m.If(self.last_word):
                m.d.sync += group.eq(0)
                with m.If(tap_col != layer.kernel_cols_last):
                    m.d.sync += [tap_col.eq(tap_col + 1),
                                 col_low.eq(Mux(col_low == g.tile_cols - 1, 0, col_low + 1))]
                with m.Else():
                    m.d.sync += [tap_col.eq(0), tap_row.eq(tap_row + 1),
                                 col_low.eq(layer.col_low),
                                 group_addr.eq(tile_group)]
                    with m.If(row_low == g.tile_rows - 1):
                        m.d.sync += [row_low.eq(0), slots[0].eq(slots[1]), slots[1].eq(slots[2]),
                                     slots[2].eq(next_slot(slots[2]))]
                    with m.Else():
                        m.d.sync += row_low.eq(row_low + 1)
                with m.If(self.last_tap & self.again):
                    m.d.sync += stand_at(tile_group)
                with m.Elif(self.last_tap):
                    m.d.sync += [tile.eq(tile + 1), *stand_at(tile_group + stride_groups)]
                    with m.If(self.last_tile):
                        m.d.sync += [tile.eq(0), passes.eq(passes + 1),
                                     *stand_at(layer.group_start)]

        self._find_padding(m, tap_row, tap_col, phase_row, phase_col,
                           first_tile=self.begin | (next_tile & self.last_tile),
                           next_tile=next_tile)
        return m

    def _find_padding(self, m, tap_row, tap_col, phase_row, phase_col, *, first_tile, next_tile):
        """Which rows and columns of the window lie in the map.

        A window is at most 15 rows and columns away from the first one of its tile (kernel 7,
        second phase, tile 4), so of that one's distances to the map's edges little is needed.
        """
        g, layer, window = self._geometry, self.layer, self.window

        def inside(offset, before, behind, size):
            """Whether ``offset + k`` is in ``before..behind``, for each ``k < size``."""
            return Cat((offset + k >= before) & (offset + k <= behind) for k in range(size))

        def at_most_15(distance):
            return Mux(distance[4:-1].any(), 15, distance[:4])

        # Rows, for the whole job: the map's last one, seen from the job's first.
        row_to_last = Signal(signed(6))
        with m.If(self.ahead[-1]):
            m.d.sync += row_to_last.eq(layer.span - 1 + self.ahead[:5].as_signed())
        with m.Else():
            m.d.sync += row_to_last.eq(15)
        row_offset = tap_row + Mux(phase_row, g.tile_rows, 0)
        m.d.comb += window.rows_in.eq(
            inside(row_offset, self.above, row_to_last[:4], g.tile_rows)
            & (~row_to_last[-1]).replicate(g.tile_rows))

        # Columns, for each tile.
        left = Signal(3)        # columns of padding left of the tile's first column
        columns = Mux(layer.stride2, 2 * g.tile_cols, g.tile_cols)
        col_to_last = Signal(signed(g.column_bits + 2))
        with m.If(first_tile):
            m.d.sync += [left.eq(layer.padding_left),
                         col_to_last.eq(layer.col_to_last)]
        with m.Elif(next_tile):
            m.d.sync += [left.eq(Mux(left > columns, left - columns, 0)),
                         col_to_last.eq(col_to_last - columns)]
        col_offset = tap_col + Mux(phase_col, g.tile_cols, 0)
        m.d.comb += window.cols_in.eq(
            inside(col_offset, left, at_most_15(col_to_last), g.tile_cols)
            & (~col_to_last[-1]).replicate(g.tile_cols))
