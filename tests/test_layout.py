"""Descriptor words: packed and back, and nothing that does not fit its field."""

import random

import pytest
from amaranth.lib import enum

from bamac_hw.abi.counters import COUNTER_SLOTS, COUNTERS, counter_index
from bamac_hw.abi.descriptors import (
    HEADER,
    LAYER,
    Emit,
    Source,
    layer_layout,
    pack_descriptor,
    unpack_descriptor,
)
from bamac_hw.abi.registers import Register
from bamac_hw.geometry import Geometry


def limits(shape):
    if isinstance(shape, enum.EnumMeta):
        values = [member.value for member in shape]
        return min(values), max(values)
    if shape.signed:
        return -(2 ** (shape.width - 1)), 2 ** (shape.width - 1) - 1
    return 0, 2 ** shape.width - 1


def width(shape):
    return {Source: 2, Emit: 3}[shape] if isinstance(shape, enum.EnumMeta) else shape.width


def fields_of(words):
    return {name: shape for word in words for name, shape in word.items()}


@pytest.mark.parametrize("words", [HEADER, LAYER])
def test_every_word_fits_32_bits_and_names_are_unique(words):
    assert len(words) <= 16
    assert all(sum(map(width, word.values())) <= 32 for word in words)
    assert sum(map(len, words)) == len(fields_of(words))


def test_layer_layout_is_all_fields():
    assert layer_layout().size == sum(map(width, fields_of(LAYER).values()))


def test_fields_are_as_narrow_as_the_memories():
    narrow = layer_layout(Geometry("g", tile_cols=4, channels=8, weight_rows=100, input_words=32,
                                   line_words=64, vector_words=16))
    widths = {name: width(field.shape) for name, field in narrow}
    assert widths | {"ring_base": 6, "group_start": 6, "out_groups": 6, "weight_base": 7,
                     "col_to_last": 9, "word_bits_last": 4, "end_channels_last": 3} == widths
    assert {name for name, _ in narrow} == set(fields_of(LAYER)) - {"pool_shift"}
    with_values = layer_layout(Geometry.preset("small_int8"))
    assert {name for name, _ in with_values} == set(fields_of(LAYER))


@pytest.mark.parametrize("words", [HEADER, LAYER])
@pytest.mark.parametrize("seed", range(5))
def test_round_trip(words, seed):
    rng = random.Random(seed)
    values = {}
    for name, shape in fields_of(words).items():
        low, high = limits(shape)
        values[name] = (low, high, rng.randint(low, high))[min(seed, 2)]
    packed = pack_descriptor(words, values)
    assert len(packed) == 16 and all(0 <= word < 1 << 32 for word in packed)
    assert unpack_descriptor(words, packed) == values


def test_bits_by_hand():
    values = dict.fromkeys(fields_of(LAYER), 0)
    values |= {"source": Source.VECTOR, "emit": Emit.RAW, "stride2": 1, "shift": 3,
               "padding_top": 6, "padding_left": 1, "row_low": 2, "col_low": 1, "group_start": -2}
    packed = pack_descriptor(LAYER, values)
    assert packed[1] == 0xFFFE << 16
    assert packed[2] == 2
    assert packed[3] == 1 | 6 << 13 | 1 << 16 | 2 << 19 | 1 << 21
    assert packed[6] == 5 | 3 << 7
    assert sum(word != 0 for word in packed) == 4


@pytest.mark.parametrize("words", [HEADER, LAYER])
def test_values_beyond_their_field_are_refused(words):
    good = {name: max(0, limits(shape)[0]) for name, shape in fields_of(words).items()}
    refused = 0
    for name, shape in fields_of(words).items():
        if isinstance(shape, enum.EnumMeta):
            continue
        low, high = limits(shape)
        for value in (low - 1, high + 1):
            with pytest.raises(ValueError) as caught:
                pack_descriptor(words, good | {name: value})
            assert str(caught.value) == (
                f"Descriptor field {name} must be in {low}..{high}, not {value}")
            refused += 1
    assert refused >= 18


def test_unknown_and_missing_fields_are_refused():
    good = dict.fromkeys(fields_of(HEADER), 0)
    with pytest.raises(ValueError, match="^Unknown descriptor field 'colour'$"):
        pack_descriptor(HEADER, good | {"colour": 1})
    del good["pitch"]
    with pytest.raises(ValueError, match="^Descriptor field pitch is missing$"):
        pack_descriptor(HEADER, good)


def test_counters_and_registers_do_not_overlap():
    assert len(COUNTERS) <= COUNTER_SLOTS
    assert counter_index(0, "cycles_compute") == 0
    assert counter_index(2, "events") == 2 * 32 + 8
    offsets = sorted(int(register) for register in Register)
    assert offsets == list(range(0, 4 * len(offsets), 4))
