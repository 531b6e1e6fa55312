"""From a window's position to the activation bits at the lanes."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Source, layer_layout
from ..geometry import Geometry
from ..pipeline import Step
from ..traits import VALUE_BITS

__all__ = ["WindowFetch", "register_places", "window_layout"]


def window_layout(geometry):
    """Where the pixels of a tile see their input for one kernel tap.

    A window is as large as a tile, so each of its pixels lies in another bank. With stride 2, a
    tile needs up to four windows (phases) for each tap.

    ``slot_low`` and ``slot_high`` are the addresses of the ring slots of the window's first row
    and of the rows behind the next multiple of ``tile_rows``; ``group_low`` and ``group_high``
    the same for columns. ``row_low`` and ``col_low`` are the window's first row and column modulo
    the tile; ``rows_in`` and ``cols_in`` say which of its rows and columns lie in the map, the
    others are padding.
    """
    g = geometry
    return data.StructLayout({
        "slot_low": g.address_bits, "slot_high": g.address_bits,
        "group_low": g.address_bits, "group_high": g.address_bits,
        "row_low": 2, "col_low": 2, "rows_in": g.tile_rows, "cols_in": g.tile_cols,
        "phase_row": 1, "phase_col": 1,
    })


def register_places(low, size, stride2):
    """For each pixel of a tile along an axis of ``size`` banks: the index of its word's register.

    ``low`` is the window's first row or column modulo ``size``, see :func:`window_layout`.
    """
    bits = (size - 1).bit_length()
    if not bits:
        return [C(0, 0)]
    result = []
    for k in range(size):
        phase, second = 2 * k // size, 2 * k % size // 2
        strided = Cat(C(phase, 1), ((low >> 1) + second)[:bits - 1])
        result.append(Mux(stride2, strided, (low + k)[:bits]))
    return result


class WindowFetch(wiring.Component):
    """Addresses the banks, routes what comes back to the tile's pixels, shifts out the bits.

    Pixels outside the map read as the layer's ``pad`` word, and their banks are not read.

    Latency: a window given with the step at stage 0 reads the memories at stage 2; its words'
    first bits are at ``bits`` at stage 5, and move on with each step that has ``shift``. With pair
    lanes, two bits of a pixel are offered at once: of a value with binary planes, those of its
    planes ``2 * plane`` and ``2 * plane + 1``. With int8 lanes, the eight bits of a value are.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"`` the words of input buffer and line buffers share a register.

    Members
    -------
    layer : the running layer's descriptor
    window : at stage 0
    step_0, step_1, step_3, step_4 : the steps at these stages
    addr, input_en, line_en, vector_en : read ports of the memories, stage 2
    input_data, line_data, vector_data : what they return, stage 3
    bits : ``step_bits`` activation bits per pixel, stage 5
    words : the registers of activation words, stage 5 (event-driven walk, where ``bits`` stays 0);
        :func:`register_places` says which pixels' they are
    """

    def __init__(self, geometry: Geometry, *, family=None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "window": In(window_layout(geometry)),
            "step_0": In(Step),
            "step_1": In(Step),
            "step_3": In(Step),
            "step_4": In(Step),
            "addr": Out(g.address_bits).array(g.pixels),
            "input_en": Out(g.pixels),
            "line_en": Out(g.pixels),
            "vector_en": Out(1),
            "input_data": In(g.input_word_bits).array(g.pixels),
            "line_data": In(g.channels).array(g.pixels),
            "vector_data": In(g.vector_bits),
            "bits": Out(g.pixels * g.step_bits),
            "words": Out(g.word_bits).array(g.pixels),
        })

    def elaborate(self, platform):
        g = self._geometry
        rows, cols = g.tile_rows, g.tile_cols
        layer, window = self.layer, self.window
        m = Module()

        # Stage 0 to 1: the slot of each bank row and the group of each bank column.
        slot = [Signal(g.address_bits, name=f"slot_{i}") for i in range(rows)]
        group = [Signal(g.address_bits, name=f"group_{j}") for j in range(cols)]
        row_ok, col_ok = Signal(rows), Signal(cols)
        for i in range(rows):
            m.d.sync += slot[i].eq(Mux(
                (i >= window.row_low) | (i == rows - 1), window.slot_low, window.slot_high))
            used = 1 if i % 2 == 0 or rows == 1 else ~layer.stride2
            m.d.sync += row_ok[i].eq(window.rows_in[i] & used)
        for j in range(cols):
            m.d.sync += group[j].eq(Mux(
                (j >= window.col_low) | (j == cols - 1), window.group_low, window.group_high))
            used = 1 if j % 2 == 0 or cols == 1 else ~layer.stride2
            m.d.sync += col_ok[j].eq(window.cols_in[j] & used)

        # Placement travels along with the data.
        place = [
            (Signal(2, name=f"row_low_{n}"), Signal(2, name=f"col_low_{n}"),
             Signal(name=f"phase_row_{n}"), Signal(name=f"phase_col_{n}"))
            for n in range(1, 5)
        ]
        previous = (window.row_low, window.col_low, window.phase_row, window.phase_col)
        for stage in place:
            m.d.sync += [to.eq(value) for to, value in zip(stage, previous, strict=True)]
            previous = stage

        # Stage 1 to 2: bank addresses and enables.
        row_low, col_low, _, _ = place[0]
        bank_en = Signal(g.pixels)
        bank_pad = Signal(g.pixels)
        for i in range(rows):
            for j in range(cols):
                bank = i * cols + j
                wi = (i - row_low)[: max(1, (rows - 1).bit_length())] if rows > 1 else C(0)
                wj = (j - col_low)[: max(1, (cols - 1).bit_length())] if cols > 1 else C(0)
                seen = row_ok.bit_select(wi, 1) & col_ok.bit_select(wj, 1)
                skipped = layer.stride2 & (wi[0] | wj[0])
                m.d.sync += [
                    self.addr[bank].eq(slot[i] + group[j]),
                    bank_en[bank].eq(seen & self.step_1.load),
                    bank_pad[bank].eq(~seen & ~skipped & self.step_1.load),
                ]
        with m.Switch(layer.source):
            with m.Case(Source.INPUT):
                m.d.comb += self.input_en.eq(bank_en)
            with m.Case(Source.LINE):
                m.d.comb += self.line_en.eq(bank_en)
            with m.Case(Source.VECTOR):
                m.d.comb += self.vector_en.eq(bank_en[0])

        self._words_by_bank(m, bank_en, bank_pad, place[3])
        return m

    def _words_by_bank(self, m, bank_en, bank_pad, place):
        """Each word stays with its bank: bits are rotated, not words.

        A word that is not wanted is zero (by the registers' synchronous reset), so an OR takes
        the place of a selection. With stride 2, the banks of an axis are used in pairs, one of
        which is read in each phase: register ``2 * pair + phase`` takes the word of either.
        """
        g, layer = self._geometry, self.layer
        event = g.walk == "event"
        row_low, col_low, phase_row, phase_col = place

        # Stage 3 to 4: block RAM is slow to come out, so its output is registered at once.
        read, pad_3, pad_4 = (Signal(g.pixels, name=name) for name in ("read", "pad_3", "pad_4"))
        m.d.sync += [read.eq(bank_en), pad_3.eq(bank_pad), pad_4.eq(pad_3)]
        words = []

        def planes(value, step):
            return value.word_select(step.plane, 2) if g.lane == "pair" else value

        for bank in range(g.pixels):
            of_line = layer.source == Source.LINE
            kinds = [("input", layer.source == Source.INPUT,
                      planes(self.input_data[bank], self.step_3)),
                     ("line", of_line, self.line_data[bank])]
            if self._family == "ice40":
                (_, of_input, given), (_, _, line) = kinds
                kinds = [("map", of_input | of_line, Mux(of_line, line, given))]
            if bank == 0:
                # Of int8 lanes, what a layer reads has been brought to 8 bits
                vector = self.vector_data[:VALUE_BITS] if g.int8_maps else self.vector_data
                kinds.append(("vector", layer.source == Source.VECTOR,
                              planes(vector, self.step_3)))
            # In the event-driven walk, padding is zero.
            word = C(0) if event else Mux(pad_4[bank], planes(layer.pad, self.step_4), 0)
            for name, wanted, value in kinds:
                raw = Signal(len(value), name=f"{name}_raw_{bank}")
                m.d.sync += raw.eq(Mux(read[bank] & wanted, value, 0))
                word = word | raw
            words.append(word)

        # Stage 4 to 5: load or shift.
        load, shift = self.step_4.load, self.step_4.shift
        rows, cols = g.tile_rows, g.tile_cols
        lowest = []

        def pair(index, size):
            return range(index & ~1, (index & ~1) + 2) if size > 1 else (0,)

        for i in range(rows):
            for j in range(cols):
                # Only the first bank's words may be those of a vector, which can be the widest.
                width = g.word_bits if event or not (i or j) else min(
                    g.word_bits, max(g.channels, g.INPUT_BITS))
                register = Signal(width, name=f"word_{i}_{j}")
                strided = reduce(or_, (words[a * cols + b] for a in pair(i, rows)
                                       for b in pair(j, cols)))
                either = Signal(g.word_bits, name=f"either_{i}_{j}")
                mine = ((phase_row == (i & 1 if rows > 1 else 0))
                        & (phase_col == (j & 1 if cols > 1 else 0)))
                m.d.comb += either.eq(Mux(layer.stride2, strided, 0))
                new = words[i * cols + j] | either
                if event:
                    with m.If(load & (mine | ~layer.stride2)):
                        m.d.sync += register.eq(new)
                else:
                    with m.If(Mux(load, mine | ~layer.stride2, shift)):
                        m.d.sync += register.eq(Mux(load, new, register >> g.step_bits))
                m.d.comb += self.words[i * cols + j].eq(register)
                lowest.append(register[:g.step_bits])

        if event:
            return
        # Stage 5: which register holds the bit of each pixel.
        places = []
        for size, low, name in ((rows, row_low, "row"), (cols, col_low, "col")):
            places.append([])
            for k, place in enumerate(register_places(low, size, layer.stride2)):
                index = Signal(len(place), name=f"{name}_of_{k}")
                with m.If(load):
                    m.d.sync += index.eq(place)
                places[-1].append(index)
        row_of, col_of = places
        for i in range(rows):
            for j in range(cols):
                m.d.comb += self.bits.word_select(i * cols + j, g.step_bits).eq(
                    Cat(lowest).word_select(Cat(col_of[j], row_of[i]), g.step_bits))
