"""The words that compiler and gateware exchange: the program's header and layer descriptors.

A descriptor is sixteen 32-bit words. Entry 0 of the descriptor memory is the header, entry
``1 + n`` describes layer ``n``. A field never crosses a word; fields named ``*_last`` hold a
count minus one. ``weight_base`` counts words of the weight store, which with pair lanes are two
rows. With int8 lanes, values take the place of bits in ``word_bits_last`` and ``end_bits_last``.
Arrays with some options have extended layer descriptors, see :func:`layer_words`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth import Shape, signed, unsigned
from amaranth.lib import data, enum
from amaranth.utils import ceil_log2

__all__ = [
    "AHEAD_BITS",
    "DESCRIPTOR_WORDS",
    "EXTENDED_LAYER",
    "FORMAT_VERSION",
    "HEADER",
    "KERNEL_MOST",
    "LAYER",
    "READ_OUT",
    "WALK_WORDS",
    "Emit",
    "Source",
    "header_layout",
    "layer_layout",
    "layer_words",
    "pack_descriptor",
    "unpack_descriptor",
    "walk_words",
    "word_layout",
]

FORMAT_VERSION = 3  # of programs and registers
DESCRIPTOR_WORDS = 16
KERNEL_MOST = 7  # rows or columns of a kernel, of an array without options
AHEAD_BITS = 17  # signed: rows of a map, or how many a job reads beyond it


class Source(enum.Enum, shape=2):
    """Which memory a layer reads its activations from."""

    INPUT = 0   # int8 frames: one word is one pixel, its bits are binary planes
    LINE = 1    # maps: one word is up to ``word_channels`` channels of one pixel
    VECTOR = 2  # head: one word is one unsigned integer, its bits are binary planes


class Emit(enum.Enum, shape=3):
    """What a layer makes of its accumulators.

    With int8 lanes, 8-bit values ``clamp((acc + start) >> shift)`` take the place of sign bits, and
    the vector memory gets ``min(sum >> pool_shift, 255)`` of a global sum.
    """

    MAP = 0         # sign bits, pooled, to the line buffers
    GLOBAL_MAX = 1  # sign bits, ORed over the map, to the vector memory
    GLOBAL_SUM = 2  # sign bits, counted over the map, to the vector memory
    UNSIGNED = 3    # clamp(acc >> shift, 0, limit), to the vector memory
    BIT = 4         # acc >= 0, to the vector memory
    RAW = 5         # acc, to the score stream


# What the collector reads out of the lanes, one output after the other.
READ_OUT = (Emit.UNSIGNED, Emit.BIT, Emit.RAW)


# Header: what the scheduler and the frame writer need before the first layer runs.
HEADER = (
    {"layers_last": unsigned(4), "outputs_last": unsigned(12), "rows_needed": unsigned(16)},
    {"rows_last": unsigned(16), "cols_last": unsigned(16)},
    {"ring_base": unsigned(16), "ring_end": unsigned(16)},
    {"pitch": unsigned(16), "credit": unsigned(16)},
    {"offset": unsigned(8), "high_mask": unsigned(8), "zero_point": signed(9)},
    {"channels_last": unsigned(12)},
)

# The words are read in this order while the pipeline still holds the end of the job before. That
# job's last activation word needs the fields of the third and fourth word for four more cycles, and
# its outputs need those behind WALK_WORDS for eight.
LAYER = (
    {"ring_base": unsigned(16), "ring_end": unsigned(16)},
    {"pitch": unsigned(16), "group_start": signed(16)},
    {"source": Source, "kernel_rows_last": unsigned(3), "kernel_cols_last": unsigned(3),
     "word_bits_last": unsigned(6), "end_bits_last": unsigned(6), "groups_last": unsigned(12)},
    {"stride2": unsigned(1), "pad": unsigned(8), "span": unsigned(4), "padding_top": unsigned(3),
     "padding_left": unsigned(3), "row_low": unsigned(2), "col_low": unsigned(2),
     "passes_last": unsigned(8)},
    {"col_to_last": unsigned(15), "weight_base": unsigned(16)},
    {"tiles_last": unsigned(16), "ring_start": unsigned(16)},
    {"emit": Emit, "pool_rows_log2": unsigned(2), "pool_cols_log2": unsigned(2),
     "shift": unsigned(5), "pool_shift": unsigned(4), "pass_channels_last": unsigned(6),
     "end_channels_last": unsigned(6)},
    {"limit": unsigned(16), "out_rows": unsigned(16)},
    {"out_base": unsigned(16), "out_end": unsigned(16)},
    {"out_pitch": unsigned(16), "out_cols": unsigned(16)},
    {"ahead_start": signed(AHEAD_BITS), "out_groups": unsigned(12)},
)
WALK_WORDS = 6  # all that a walk needs to start

# With options that need more or wider fields: the third and fourth word give two of theirs to a
# word of their own behind them. ``mask_rows`` rows of masks lie in front of ``weight_base``.
EXTENDED_LAYER = (
    *LAYER[:2],
    {"source": Source, "kernel_rows_last": unsigned(4), "kernel_cols_last": unsigned(4),
     "word_bits_last": unsigned(6), "end_bits_last": unsigned(6)},
    {"stride2": unsigned(1), "stride2_cols": unsigned(1), "pad": unsigned(8), "span": unsigned(5),
     "padding_top": unsigned(4), "padding_left": unsigned(4), "row_low": unsigned(2),
     "col_low": unsigned(2), "depthwise": unsigned(1)},
    {"groups_last": unsigned(12), "passes_last": unsigned(8), "mask_rows": unsigned(12)},
    *LAYER[4:],
)


def layer_words(geometry: Any = None) -> tuple[Mapping[str, Any], ...]:
    """The words of a layer descriptor of an array: ``LAYER``, or ``EXTENDED_LAYER``.

    In an extended descriptor ``stride2`` is the rows' alone.
    """
    return EXTENDED_LAYER if geometry is not None and geometry.extended else LAYER


def walk_words(geometry: Any = None) -> int:
    """Words of a layer descriptor that a walk needs to start."""
    return WALK_WORDS + len(layer_words(geometry)) - len(LAYER)


def word_layout(fields: Mapping[str, Any]) -> data.StructLayout:
    """The 32-bit layout of one descriptor word."""
    used = data.StructLayout(fields).size
    assert used <= 32, fields
    return data.StructLayout(dict(fields) | ({"reserved": 32 - used} if used < 32 else {}))


def pack_descriptor(words: Sequence[Mapping[str, Any]],
                    values: Mapping[str, Any]) -> list[int]:
    """Pack named integers into sixteen 32-bit words.

    Raises
    ------
    ValueError
        If a value does not fit its field, or a name is unknown or missing.
    """
    values = dict(values)
    packed: list[int] = []
    for fields in words:
        layout = word_layout(fields)
        word = {}
        for name, shape in fields.items():
            if name not in values:
                raise ValueError(f"Descriptor field {name} is missing")
            value = values.pop(name)
            if isinstance(shape, type):
                word[name] = shape(value)
                continue
            low = -(1 << (shape.width - 1)) if shape.signed else 0
            high = (1 << (shape.width - shape.signed)) - 1
            if not low <= value <= high:
                raise ValueError(f"Descriptor field {name} must be in {low}..{high}, not {value}")
            word[name] = int(value)
        packed.append(layout.const(word).as_bits())
    if values:
        raise ValueError(f"Unknown descriptor field {sorted(values)[0]!r}")
    return packed + [0] * (DESCRIPTOR_WORDS - len(packed))


def unpack_descriptor(words: Sequence[Mapping[str, Any]],
                      packed: Sequence[int]) -> dict[str, int]:
    """The named integers in sixteen 32-bit words: the inverse of :func:`pack_descriptor`."""
    values: dict[str, int] = {}
    for fields, word in zip(words, packed, strict=False):
        view = word_layout(fields).from_bits(int(word))
        for name in fields:
            item = view[name]
            values[name] = item.value if isinstance(item, enum.Enum) else item
    return values


_ADDRESSES = {"groups_last", "channels_last", "ring_base", "ring_end", "pitch", "ring_start",
              "group_start", "out_base", "out_end", "out_pitch", "out_groups"}
_COLUMNS = {"col_to_last", "cols_last", "tiles_last", "out_cols"}


def layer_layout(geometry: Any = None) -> data.StructLayout:
    """All fields of a layer descriptor as one structure: what the scheduler holds in registers.

    With a geometry, fields are no wider than its memories need, and those that it never uses are
    left out. The bits that are cut off are zero in every program that fits.
    """
    return _joined(layer_words(geometry), geometry)


def header_layout(geometry: Any = None) -> data.StructLayout:
    """All header fields as one structure, like :func:`layer_layout`."""
    return _joined(HEADER, geometry)


def _joined(words: Sequence[Mapping[str, Any]], geometry: Any) -> data.StructLayout:
    fields: dict[str, Any] = {}
    for word in words:
        fields |= word
    if geometry is not None:
        g = geometry
        narrow = {name: g.address_bits for name in _ADDRESSES}
        narrow |= {name: g.column_bits for name in _COLUMNS}
        narrow |= {
            "credit": (g.tile_rows * g.input_words).bit_length(),
            "word_bits_last": ceil_log2(g.word_bits), "end_bits_last": ceil_log2(g.word_bits),
            "pass_channels_last": ceil_log2(g.channels),
            "end_channels_last": ceil_log2(g.channels),
            "weight_base": ceil_log2(g.weight_rows),
        }
        if g.kernel_most == KERNEL_MOST:
            narrow |= {name: 3 for name in ("kernel_rows_last", "kernel_cols_last", "padding_top",
                                            "padding_left")} | {"span": 4}
        if not g.int8_maps:
            fields.pop("pool_shift", None)
        if not g.axis_strides:
            fields.pop("stride2_cols", None)
        if not g.zero_rows:
            fields.pop("mask_rows", None)
        if not g.depthwise:
            fields.pop("depthwise", None)
        if not g.zero_points:
            fields.pop("zero_point", None)
        if not g.interleaved:
            fields.pop("channels_last", None)
        for name, width in narrow.items():
            if name in fields and width < fields[name].width:
                fields[name] = Shape(width, fields[name].signed)
    return data.StructLayout(fields)
