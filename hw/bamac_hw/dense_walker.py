"""The dense walk: every tap, channel and binary plane of every tile of one job."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .layout import Emit, Source, layer_layout
from .step import LANE_STAGE, Step
from .window_fetch import POSITION_BITS, Window

__all__ = ["DenseWalker"]


class DenseWalker(wiring.Component):
    """Walks one job: the passes and tiles of one row of tiles of one layer.

    ::

        for each pass (group of output channels):          start_bytes cycles
            for each tile along the columns:               1 cycle (start)
                for each kernel row, kernel column, word:  phases - 1 cycles
                    for each bit of the word:              1 cycle
                end                                        1 cycle, plus the wait below

    A tile of a globally pooled layer ends when the collector is free. A dense layer ends its
    only tile by waiting for the lanes, then for the collector to read every output.

    Members
    -------
    start : begin a job; ``layer``, ``slot``, ``row`` must stay until ``done``
    slot, row : ring slot and map row of the job's first kernel row
    next_slot : ring slot of the next job; valid from the third cycle on
    done : in the last cycle of the walk
    step, window : what enters the pipeline in this cycle
    collector_busy : a collection is under way; collector_start : begin one (dense layers)
    fetching, tiling, collecting, loading : the cause of a cycle that is not ``step.compute``
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({
            "layer": In(layer_layout()),
            "start": In(1),
            "slot": In(16),
            "row": In(signed(POSITION_BITS)),
            "next_slot": Out(16),
            "done": Out(1),
            "step": Out(Step),
            "window": Out(Window),
            "collector_busy": In(1),
            "collector_start": Out(1),
            "fetching": Out(1),
            "tiling": Out(1),
            "collecting": Out(1),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        g = self._geometry
        layer, step, window = self.layer, self.step, self.window
        m = Module()

        groups = Signal(13)
        m.d.comb += groups.eq(layer.groups_last + 1)

        # Slots of the job's first kernel row and of the two slots behind it in the ring.
        def next_slot(slot):
            return Mux(slot == layer.ring_end, layer.ring_base, (slot + layer.pitch)[:16])

        job_slots = [Signal(16, name=f"job_slot_{k}") for k in range(3)]
        slots = [Signal(16, name=f"slot_{k}") for k in range(3)]
        m.d.sync += [job_slots[k + 1].eq(next_slot(job_slots[k])) for k in range(2)]
        m.d.comb += self.next_slot.eq(Mux(layer.stride2, job_slots[2], job_slots[1]))

        tile = Signal(16)
        passes = Signal(8)
        tile_group = Signal(16)
        tile_col = Signal(signed(POSITION_BITS))
        count = Signal(range(max(g.start_bytes, LANE_STAGE + 1)))

        tap_row = Signal(3)
        tap_col = Signal(3)
        group = Signal(12)
        bit = Signal(6)
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

        def begin_tile(tile_group, tile_col):
            return [
                *(to.eq(value) for to, value in zip(slots, job_slots, strict=True)),
                row_low.eq(layer.row_low), row.eq(self.row),
                col_low.eq(layer.col_low), col.eq(tile_col), group_addr.eq(tile_group),
                tap_row.eq(0), tap_col.eq(0), group.eq(0), bit.eq(0),
                phase_row.eq(0), phase_col.eq(0),
            ]

        last_phase_row = layer.stride2 if g.tile_rows > 1 else C(0)
        last_phase_col = layer.stride2 if g.tile_cols > 1 else C(0)
        last_phase = Signal()
        last_group = Signal()
        last_bit = Signal()
        first_bit = Signal()
        m.d.comb += [
            first_bit.eq(bit == 0),
            last_phase.eq((phase_row == last_phase_row) & (phase_col == last_phase_col)),
            last_group.eq(group == layer.groups_last),
            last_bit.eq(bit == Mux(last_group, layer.end_bits_last, layer.word_bits_last)),
        ]
        is_global = Signal()
        m.d.comb += is_global.eq((layer.emit == Emit.GLOBAL_MAX) | (layer.emit == Emit.GLOBAL_SUM))

        def next_tile():
            """Leave a tile that has ended: on to the next tile, pass, or out."""
            m.d.sync += [tile.eq(tile + 1), tile_group.eq(tile_group + stride_groups),
                         tile_col.eq(tile_col + Mux(layer.stride2, 2 * g.tile_cols, g.tile_cols))]
            m.next = "START"
            with m.If(tile == layer.tiles_last):
                m.d.sync += [tile.eq(0), passes.eq(passes + 1), count.eq(0),
                             tile_group.eq(layer.group_start), tile_col.eq(layer.col_start)]
                m.next = "BYTES"
                with m.If(passes == layer.passes_last):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    job_slots[0].eq(self.slot), tile.eq(0), passes.eq(0), count.eq(0),
                    tile_group.eq(layer.group_start), tile_col.eq(layer.col_start),
                ]
                with m.If(self.start):
                    m.next = "BYTES"

            with m.State("BYTES"):
                m.d.comb += [step.byte.eq(1), self.loading.eq(1)]
                m.d.sync += count.eq(count + 1)
                with m.If(count == g.start_bytes - 1):
                    m.next = "START"

            with m.State("START"):
                m.d.comb += [step.start.eq(1), step.pass_.eq(tile == 0), self.tiling.eq(1)]
                m.d.sync += begin_tile(tile_group, tile_col)
                m.next = "WALK"

            with m.State("WALK"):
                m.d.comb += step.load.eq(first_bit)
                with m.If(first_bit & ~last_phase):
                    m.d.comb += self.fetching.eq(1)
                    with m.If(phase_col == last_phase_col):
                        m.d.sync += [phase_col.eq(0), phase_row.eq(1)]
                    with m.Else():
                        m.d.sync += phase_col.eq(1)
                with m.Else():
                    m.d.comb += [
                        step.compute.eq(1),
                        step.shift.eq(~first_bit),
                        step.row.eq(first_bit | (layer.source == Source.LINE)),
                    ]
                    m.d.sync += bit.eq(bit + 1)
                    with m.If(last_bit):
                        m.d.sync += [bit.eq(0), phase_row.eq(0), phase_col.eq(0),
                                     group.eq(group + 1), group_addr.eq(group_addr + 1)]
                        with m.If(last_group):
                            self._next_tap(m, layer, next_slot, slots, group, tap_row, tap_col,
                                           row, row_low, col, col_low, group_addr, tile_col,
                                           tile_group)
                            with m.If((tap_col == layer.kernel_cols_last)
                                      & (tap_row == layer.kernel_rows_last)):
                                m.d.sync += count.eq(0)
                                m.next = "END"

            with m.State("END"):
                with m.If(layer.source == Source.VECTOR):
                    m.d.comb += self.collecting.eq(1)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == LANE_STAGE - 1):
                        m.d.comb += self.collector_start.eq(1)
                        m.next = "COLLECT"
                with m.Elif(is_global & self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += [step.capture.eq(1), step.clear.eq(1), self.tiling.eq(1)]
                    next_tile()

            with m.State("COLLECT"):
                with m.If(self.collector_busy):
                    m.d.comb += self.collecting.eq(1)
                with m.Else():
                    m.d.comb += [step.clear.eq(1), self.tiling.eq(1)]
                    next_tile()
        return m

    def _next_tap(self, m, layer, next_slot, slots, group, tap_row, tap_col, row, row_low, col,
                  col_low, group_addr, tile_col, tile_group):
        """Move the window on to the next kernel column, or to the next kernel row."""
        g = self._geometry
        m.d.sync += group.eq(0)
        with m.If(tap_col != layer.kernel_cols_last):
            m.d.sync += [tap_col.eq(tap_col + 1), col.eq(col + 1)]
            with m.If(col_low == g.tile_cols - 1):
                m.d.sync += col_low.eq(0)  # group_addr has just moved on to the next column group
            with m.Else():
                m.d.sync += [col_low.eq(col_low + 1),
                             group_addr.eq(group_addr - layer.groups_last)]
        with m.Else():
            m.d.sync += [tap_col.eq(0), tap_row.eq(tap_row + 1), row.eq(row + 1),
                         col.eq(tile_col), col_low.eq(layer.col_low), group_addr.eq(tile_group)]
            with m.If(row_low == g.tile_rows - 1):
                m.d.sync += [row_low.eq(0), slots[0].eq(slots[1]), slots[1].eq(slots[2]),
                             slots[2].eq(next_slot(slots[2]))]
            with m.Else():
                m.d.sync += row_low.eq(row_low + 1)
