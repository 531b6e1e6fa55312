"""From a window's position to the activation bits, or words, that a walker asked for.

Every variant of the fetch addresses the banks and gathers their words alike; they differ in what
they take of a stored word, and in what they do with it behind that.
"""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..abi.descriptors import Source, layer_layout
from ..geometry import Geometry
from ..pipeline import Step
from ..traits import VALUE_BITS
from .ports import BankedReadSignature, read_signature
from .window import BitFetchSignature, WordFetchSignature, register_places, strides

__all__ = ["Int8WindowFetch", "PairWindowFetch", "WindowFetch", "WordFetch"]


class _Fetch(wiring.Component):
    """Stages 0 to 4 of every fetch: addresses, reads, and words in the places of their banks.

    A subclass has a ``Request`` signature for its ``request`` member, a shape ``Asked`` of what
    travels beside the data (at least ``load``), and places the words in ``_place_words``.
    """

    Request: type
    Asked: object

    def __init__(self, geometry: Geometry, *, family: str | None = None):
        g = self._geometry = geometry
        self._family = family
        super().__init__({
            "layer": In(layer_layout(geometry)),
            "request": In(self.Request(geometry)),
            "input": Out(BankedReadSignature(banks=g.pixels, width=g.input_word_bits,
                                             address_bits=g.address_bits)),
            "line": Out(BankedReadSignature(banks=g.pixels, width=g.channels,
                                            address_bits=g.address_bits)),
            "vector": In(read_signature(depth=1 << g.address_bits, shape=g.vector_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        # What is asked for, at stages 0 to 4.
        asked = [Signal(self.Asked, name=f"asked_{stage}") for stage in range(5)]
        m.d.comb += asked[0].eq(self._asked())
        m.d.sync += [to.eq(value) for value, to in zip(asked, asked[1:], strict=False)]
        places = self._carry_places(m)
        bank_en, bank_pad = self._address_banks(m, places[0], asked[1].load)
        words = self._gather_words(m, bank_en, bank_pad, asked)
        self._place_words(m, words, places[3], asked[4])
        return m

    def _carry_places(self, m):
        """The window's place in the banks travels along with the data: stages 1 to 4."""
        window = self.request.window
        places = [
            (Signal(2, name=f"row_low_{n}"), Signal(2, name=f"col_low_{n}"),
             Signal(name=f"phase_row_{n}"), Signal(name=f"phase_col_{n}"))
            for n in range(1, 5)
        ]
        previous = (window.row_low, window.col_low, window.phase_row, window.phase_col)
        for place in places:
            m.d.sync += [to.eq(value) for to, value in zip(place, previous, strict=True)]
            previous = place
        return places

    def _address_banks(self, m, place, load):
        """Stages 0 to 2: which word of which bank is read, and which pixels are padding."""
        g = self._geometry
        rows, cols = g.tile_rows, g.tile_cols
        layer, window = self.layer, self.request.window
        row_strides, col_strides = strides(layer, g)

        # Stage 0 to 1: the slot of each bank row and the group of each bank column.
        slot = [Signal(g.address_bits, name=f"slot_{i}") for i in range(rows)]
        group = [Signal(g.address_bits, name=f"group_{j}") for j in range(cols)]
        row_ok, col_ok = Signal(rows), Signal(cols)
        for i in range(rows):
            m.d.sync += slot[i].eq(Mux(
                (i >= window.row_low) | (i == rows - 1), window.slot_low, window.slot_high))
            used = 1 if i % 2 == 0 or rows == 1 else ~row_strides
            m.d.sync += row_ok[i].eq(window.rows_in[i] & used)
        for j in range(cols):
            m.d.sync += group[j].eq(Mux(
                (j >= window.col_low) | (j == cols - 1), window.group_low, window.group_high))
            used = 1 if j % 2 == 0 or cols == 1 else ~col_strides
            m.d.sync += col_ok[j].eq(window.cols_in[j] & used)

        # Stage 1 to 2: bank addresses and enables.
        row_low, col_low, _, _ = place
        addr = [Signal(g.address_bits, name=f"addr_{bank}") for bank in range(g.pixels)]
        bank_en = Signal(g.pixels)
        bank_pad = Signal(g.pixels)
        for i in range(rows):
            for j in range(cols):
                bank = i * cols + j
                wi = (i - row_low)[: max(1, (rows - 1).bit_length())] if rows > 1 else C(0)
                wj = (j - col_low)[: max(1, (cols - 1).bit_length())] if cols > 1 else C(0)
                seen = row_ok.bit_select(wi, 1) & col_ok.bit_select(wj, 1)
                skipped = ((row_strides & wi[0]) | (col_strides & wj[0]) if g.axis_strides else
                           layer.stride2 & (wi[0] | wj[0]))
                m.d.sync += [
                    addr[bank].eq(slot[i] + group[j]),
                    bank_en[bank].eq(seen & load),
                    bank_pad[bank].eq(~seen & ~skipped & load),
                ]
                m.d.comb += [self.input.addr[bank].eq(addr[bank]),
                             self.line.addr[bank].eq(addr[bank])]
        m.d.comb += [self.vector.addr.eq(addr[0]), self.vector.en.eq(0)]
        with m.Switch(layer.source):
            with m.Case(Source.INPUT):
                m.d.comb += self.input.en.eq(bank_en)
            with m.Case(Source.LINE):
                m.d.comb += self.line.en.eq(bank_en)
            with m.Case(Source.VECTOR):
                m.d.comb += self.vector.en.eq(bank_en[0])
        return bank_en, bank_pad

    def _gather_words(self, m, bank_en, bank_pad, asked):
        """Stage 3 to 4: each word stays with its bank: bits are rotated, not words.

        Block RAM is slow to come out, so its output is registered at once. A word that is not
        wanted is zero (by the registers' synchronous reset), so an OR takes the place of a
        selection.
        """
        g, layer = self._geometry, self.layer
        read, pad_3, pad_4 = (Signal(g.pixels, name=name) for name in ("read", "pad_3", "pad_4"))
        m.d.sync += [read.eq(bank_en), pad_3.eq(bank_pad), pad_4.eq(pad_3)]
        words = []
        for bank in range(g.pixels):
            of_line = layer.source == Source.LINE
            kinds = [("input", layer.source == Source.INPUT,
                      self._taken(self.input.data[bank], asked[3])),
                     ("line", of_line, self.line.data[bank])]
            if self._family == "ice40":
                (_, of_input, given), (_, _, line) = kinds
                kinds = [("map", of_input | of_line, Mux(of_line, line, given))]
            if bank == 0:
                kinds.append(("vector", layer.source == Source.VECTOR,
                              self._taken(self._vector_value(), asked[3])))
            word = self._padding(pad_4[bank], asked[4])
            for name, wanted, value in kinds:
                raw = Signal(len(value), name=f"{name}_raw_{bank}")
                m.d.sync += raw.eq(Mux(read[bank] & wanted, value, 0))
                word = word | raw
            words.append(word)
        return words

    def _registers(self, m, words, place, asked):
        """Stage 4 to 5, for each bank: ``(register, what is loaded, when)``.

        With stride 2, the banks of an axis are used in pairs, one of which is read in each phase:
        register ``2 * pair + phase`` takes the word of either.
        """
        g, layer = self._geometry, self.layer
        _, _, phase_row, phase_col = place
        rows, cols = g.tile_rows, g.tile_cols

        if g.axis_strides:
            yield from self._registers_by_axis(m, words, phase_row, phase_col)
            return

        def pair(index, size):
            return range(index & ~1, (index & ~1) + 2) if size > 1 else (0,)

        for i in range(rows):
            for j in range(cols):
                register = Signal(self._register_bits(i * cols + j), name=f"word_{i}_{j}")
                strided = reduce(or_, (words[a * cols + b] for a in pair(i, rows)
                                       for b in pair(j, cols)))
                either = Signal(g.word_bits, name=f"either_{i}_{j}")
                mine = ((phase_row == (i & 1 if rows > 1 else 0))
                        & (phase_col == (j & 1 if cols > 1 else 0)))
                m.d.comb += either.eq(Mux(layer.stride2, strided, 0))
                yield register, words[i * cols + j] | either, mine | ~layer.stride2

    def _registers_by_axis(self, m, words, phase_row, phase_col):
        """The same where the stride of each axis is its own."""
        g = self._geometry
        rows, cols = g.tile_rows, g.tile_cols
        row_strides, col_strides = strides(self.layer, g)

        def joined(word, other, strided, size, name):
            """``word``, with that of the other bank of its pair if the axis is strided."""
            if size == 1:
                return word
            either = Signal(g.word_bits, name=name)
            m.d.comb += either.eq(Mux(strided, other, 0))
            return word | either

        for i in range(rows):
            of_rows = [joined(words[i * cols + j], words[(i ^ 1) % rows * cols + j], row_strides,
                              rows, f"either_row_{i}_{j}") for j in range(cols)]
            for j in range(cols):
                register = Signal(self._register_bits(i * cols + j), name=f"word_{i}_{j}")
                new = joined(of_rows[j], of_rows[(j ^ 1) % cols], col_strides, cols,
                             f"either_col_{i}_{j}")
                mine = ((~row_strides | (phase_row == (i & 1 if rows > 1 else 0)))
                        & (~col_strides | (phase_col == (j & 1 if cols > 1 else 0))))
                yield register, new, mine

    def _vector_value(self):
        """The part of the vector memory's word that a layer reads."""
        return self.vector.data

    def _taken(self, value, asked):
        """The part of a stored value that is taken at once."""
        return value


class WindowFetch(_Fetch):
    """Addresses the banks, routes what comes back to the tile's pixels, shifts out the bits.

    Pixels outside the map read as the layer's ``pad`` word, and their banks are not read.

    Latency: a window given with the step at stage 0 reads the memories at stage 2; its words'
    first bits are at ``request.bits`` at stage 5, and move on with each step that has ``shift``.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        On ``"ice40"`` the words of input buffer and line buffers share a register.

    Members
    -------
    layer : the running layer's descriptor
    request : ``In(BitFetchSignature)``, from the walker
    input, line, vector : read ports of the memories; enabled at stage 2, their data is used at
        stage 3
    """

    Request = BitFetchSignature
    Asked = Step

    def _asked(self):
        return self.request.step

    def _padding(self, is_padding, asked):
        return Mux(is_padding, self._taken(self.layer.pad, asked), 0)

    def _register_bits(self, bank):
        # Only the first bank's words may be those of a vector, which can be the widest.
        g = self._geometry
        return min(g.word_bits, max(g.channels, g.INPUT_BITS)) if bank else g.word_bits

    def _place_words(self, m, words, place, asked):
        """Stage 4 to 5: load or shift. Stage 5: which register holds the bit of each pixel."""
        g = self._geometry
        load, shift = asked.load, asked.shift
        lowest, held_words = [], []
        for register, new, mine in self._registers(m, words, place, asked):
            with m.If(Mux(load, mine, shift)):
                m.d.sync += register.eq(Mux(load, new, register >> g.step_bits))
            lowest.append(register[:g.step_bits])
            held_words.append(register[:g.channels])

        row_low, col_low, _, _ = place
        chosen = []
        row_strides, col_strides = strides(self.layer, g)
        for size, low, stride2, name in ((g.tile_rows, row_low, row_strides, "row"),
                                         (g.tile_cols, col_low, col_strides, "col")):
            chosen.append([])
            for k, index in enumerate(register_places(low, size, stride2)):
                held = Signal(len(index), name=f"{name}_of_{k}")
                with m.If(load):
                    m.d.sync += held.eq(index)
                chosen[-1].append(held)
        row_of, col_of = chosen
        for i in range(g.tile_rows):
            for j in range(g.tile_cols):
                m.d.comb += self.request.bits.word_select(i * g.tile_cols + j, g.step_bits).eq(
                    Cat(lowest).word_select(Cat(col_of[j], row_of[i]), g.step_bits))
                if g.depthwise:
                    m.d.comb += self.request.own[i * g.tile_cols + j].eq(
                        Cat(held_words).word_select(Cat(col_of[j], row_of[i]), g.channels))


class PairWindowFetch(WindowFetch):
    """The same for lanes that take two bits of a pixel at once.

    Of a value with binary planes, these are its planes ``2 * plane`` and ``2 * plane + 1`` of the
    step that loads it.
    """

    def _taken(self, value, asked):
        return value.word_select(asked.plane, 2)


class Int8WindowFetch(WindowFetch):
    """The same for lanes that take a value of eight bits at once."""

    def _vector_value(self):
        # What a layer reads has been brought to 8 bits.
        return self.vector.data[:VALUE_BITS]


class WordFetch(_Fetch):
    """Addresses the banks and hands whole words over, for a walk that looks for ones in them.

    Pixels outside the map read as 0, and their banks are not read.

    Latency: a window reads the memories two cycles after ``request.load``; its words are at
    ``request.words`` five cycles after it, until the next ones.

    Parameters
    ----------
    geometry : Geometry
    family : str or None
        As of :class:`WindowFetch`.

    Members
    -------
    layer : the running layer's descriptor
    request : ``In(WordFetchSignature)``, from the walker
    input, line, vector : as of :class:`WindowFetch`
    """

    Request = WordFetchSignature
    Asked = data.StructLayout({"load": 1})

    def _asked(self):
        return self.request.load

    def _padding(self, is_padding, asked):
        return C(0)

    def _register_bits(self, bank):
        return self._geometry.word_bits

    def _place_words(self, m, words, place, asked):
        for to, (register, new, mine) in zip(
                self.request.words, self._registers(m, words, place, asked), strict=True):
            with m.If(asked.load & mine):
                m.d.sync += register.eq(new)
            m.d.comb += to.eq(register)
