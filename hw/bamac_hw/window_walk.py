"""The order in which a job looks at its input, and where each look falls in the rings."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import layer_layout
from .window_fetch import POSITION_BITS, Window

__all__ = ["WindowWalk"]


class WindowWalk(wiring.Component):
    """Steps through the windows of one job, one for each ``advance``.

    ::

        for each pass (group of output channels):
            for each tile along the columns:
                for each kernel row, kernel column, word:
                    for each phase (a strided tile needs up to four windows for a word)

    Latency: one cycle from ``begin`` or ``advance`` to the new ``window``. ``layer``, ``slot``
    and ``row`` must be stable from two cycles before ``begin``; behind the job's last window, the
    walk stands at its first tile again.

    Members
    -------
    layer : the running layer's descriptor
    slot, row : ring slot and map row of the job's first kernel row
    begin : stand at the job's first window
    advance : go on to the next window
    next_slot : ring slot of the next job's first kernel row
    window : the current one
    last_phase, last_word, last_tap : the window is the last of its word; the word is the last of
        its kernel tap; the tap is the tile's last
    first_tile, last_tile, last_pass : the tile is the first, or last, of its pass; the pass is
        the job's last
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout()),
            "slot": In(16),
            "row": In(signed(POSITION_BITS)),
            "begin": In(1),
            "advance": In(1),
            "next_slot": Out(16),
            "window": Out(Window),
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

        groups = Signal(13)
        m.d.comb += groups.eq(layer.groups_last + 1)

        # Slots of the job's first kernel row and of the two slots behind it in the ring.
        def next_slot(slot):
            return Mux(slot == layer.ring_end, layer.ring_base, (slot + layer.pitch)[:16])

        job_slots = [self.slot, Signal(16, name="job_slot_1"), Signal(16, name="job_slot_2")]
        slots = [Signal(16, name=f"slot_{k}") for k in range(3)]
        m.d.sync += [job_slots[k + 1].eq(next_slot(job_slots[k])) for k in range(2)]
        m.d.comb += self.next_slot.eq(Mux(layer.stride2, job_slots[2], job_slots[1]))

        passes = Signal(8)
        tile = Signal(16)
        tile_group = Signal(16)
        tile_col = Signal(signed(POSITION_BITS))
        tap_row = Signal(3)
        tap_col = Signal(3)
        group = Signal(12)
        phase_row = Signal()
        phase_col = Signal()

        row_low = Signal(2)
        col_low = Signal(2)
        row = Signal(signed(POSITION_BITS))
        col = Signal(signed(POSITION_BITS))
        group_addr = Signal(16)

        stride_groups = Signal(14)
        m.d.comb += stride_groups.eq(Mux(layer.stride2, groups << 1, groups))
        phase_addr = Signal(16)
        m.d.comb += [
            phase_addr.eq(group_addr + Mux(phase_col, groups, 0)),
            window.slot_low.eq(Mux(phase_row, slots[1], slots[0])),
            window.slot_high.eq(Mux(phase_row, slots[2], slots[1])),
            window.group_low.eq(phase_addr),
            window.group_high.eq(phase_addr + groups),
            window.row_low.eq(row_low),
            window.col_low.eq(col_low),
            window.row.eq(row + Mux(phase_row, g.tile_rows, 0)),
            window.col.eq(col + Mux(phase_col, g.tile_cols, 0)),
            window.phase_row.eq(phase_row),
            window.phase_col.eq(phase_col),
        ]

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

        def stand_at(new_group, new_col):
            """Stand at the first window of the tile at this column group and column."""
            return [
                *(to.eq(value) for to, value in zip(slots, job_slots, strict=True)),
                row_low.eq(layer.row_low), row.eq(self.row),
                col_low.eq(layer.col_low), col.eq(new_col), group_addr.eq(new_group),
                tile_col.eq(new_col), tile_group.eq(new_group),
                tap_row.eq(0), tap_col.eq(0), group.eq(0),
            ]

        with m.If(self.begin):
            m.d.sync += [tile.eq(0), passes.eq(0), phase_row.eq(0), phase_col.eq(0),
                         *stand_at(layer.group_start, layer.col_start)]
        with m.Elif(self.advance & ~self.last_phase):
            with m.If(phase_col == last_phase_col):
                m.d.sync += [phase_col.eq(0), phase_row.eq(1)]
            with m.Else():
                m.d.sync += phase_col.eq(1)
        with m.Elif(self.advance):
            m.d.sync += [phase_row.eq(0), phase_col.eq(0), group.eq(group + 1),
                         group_addr.eq(group_addr + 1)]
            with m.If(self.last_word):
                m.d.sync += group.eq(0)
                with m.If(tap_col != layer.kernel_cols_last):
                    m.d.sync += [tap_col.eq(tap_col + 1), col.eq(col + 1)]
                    with m.If(col_low == g.tile_cols - 1):
                        m.d.sync += col_low.eq(0)  # group_addr has just moved to the next group
                    with m.Else():
                        m.d.sync += [col_low.eq(col_low + 1),
                                     group_addr.eq(group_addr - layer.groups_last)]
                with m.Else():
                    m.d.sync += [tap_col.eq(0), tap_row.eq(tap_row + 1), row.eq(row + 1),
                                 col.eq(tile_col), col_low.eq(layer.col_low),
                                 group_addr.eq(tile_group)]
                    with m.If(row_low == g.tile_rows - 1):
                        m.d.sync += [row_low.eq(0), slots[0].eq(slots[1]), slots[1].eq(slots[2]),
                                     slots[2].eq(next_slot(slots[2]))]
                    with m.Else():
                        m.d.sync += row_low.eq(row_low + 1)
                with m.If(self.last_tap):
                    columns = Mux(layer.stride2, 2 * g.tile_cols, g.tile_cols)
                    m.d.sync += [tile.eq(tile + 1),
                                 *stand_at(tile_group + stride_groups, tile_col + columns)]
                    with m.If(self.last_tile):
                        m.d.sync += [tile.eq(0), passes.eq(passes + 1),
                                     *stand_at(layer.group_start, layer.col_start)]
        return m
