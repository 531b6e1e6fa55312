"""Place every layer in the memories, and write descriptors and images."""

import numpy as np

from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.descriptors import HEADER, LAYER, Emit, Source, pack_descriptor
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

from .errors import CompileError
from .images import accumulator_bounds, weight_image
from .schedule import ring_rows
from .shapes import walks as walks_of

__all__ = ["CompileError", "compile_network"]


def _ceil_div(a, b):
    return -(-a // b)


class _Ring:
    """Rows of one map, in slots of ``tile_rows`` rows."""

    def __init__(self, base, slots, pitch, rows, word_bits):
        self.base, self.slots, self.pitch = base, slots, pitch
        self.rows, self.word_bits = rows, word_bits

    @property
    def end(self):
        return self.base + (self.slots - 1) * self.pitch

    @property
    def words(self):
        """Words of each bank."""
        return self.slots * self.pitch


def compile_network(network: IntegerNetwork, geometry: Geometry) -> Program:
    """Map every layer of ``network`` onto the array.

    The same network and geometry always give the same program.

    Raises
    ------
    CompileError
        If a layer cannot be mapped exactly, or the network does not fit; the message names the
        layer or the memory, the size needed, and the nearest preset that fits.
    """
    try:
        return _compile(network, geometry)
    except _DoesNotFit as error:
        fitting = []
        for preset in Geometry.presets().values():
            try:
                _compile(network, preset)
            except (CompileError, _DoesNotFit):
                continue
            fitting.append(preset.name)
        advice = (f"preset {fitting[0]} fits" if fitting else
                  "no preset fits; describe a larger array in a .toml file")
        raise CompileError(f"{error}; {advice}") from None


class _DoesNotFit(Exception):
    """A memory of the geometry is too small."""


def _compile(network, geometry):
    walks = walks_of(network, geometry)
    if len(walks) > geometry.max_layers:
        raise _DoesNotFit(f"{network.name}: {len(walks)} layers do not fit array {geometry.name}, "
                          f"which has descriptors for {geometry.max_layers}")

    weights, weight_bases, used = [], [], 0
    for walk in walks:
        image = weight_image(walk, geometry)
        weight_bases.append(used)
        weights.append(image)
        used += len(image)
    if used > geometry.weight_rows:
        raise _DoesNotFit(
            f"{network.name}: {used} weight rows of {geometry.channels} bytes do not fit array "
            f"{geometry.name}, which has {geometry.weight_rows}")

    rings = _place_rings(network, walks, geometry)
    vectors, vector_words = [], 0
    for walk in walks:
        vectors.append(vector_words)
        if walk.source == Source.VECTOR:
            vector_words += walk.words
    if vector_words > geometry.vector_words:
        raise _DoesNotFit(
            f"{network.name}: {vector_words} words of the head do not fit array {geometry.name}, "
            f"whose vector memory has {geometry.vector_words}")

    descriptors = [_header(network, walks, rings, geometry)]
    table = []
    for walk in walks:
        following = walk.index + 1
        descriptors.append(pack_descriptor(LAYER, _descriptor(
            walk, geometry, weight_bases[walk.index], rings.get(walk.index),
            rings.get(following), vectors[walk.index],
            vectors[following] if following < len(walks) else 0)))
        table.append(_table_row(walk, geometry, weight_bases[walk.index],
                                len(weights[walk.index]), rings.get(walk.index)))

    manifest = {
        "credit": rings[0].rows - walks[0].padding[0],
        "network": {
            "name": network.name,
            "digest": network.digest(),
            "rows": network.input.rows,
            "cols": network.input.cols,
            "input_bits": network.input.bits,
            "input_signed": network.input.signed,
            "outputs": walks[-1].layer.out_channels,
            "score_scale": network.score_scale,
            "score_offset": network.score_offset,
            "front_end": {"kind": network.front_end.kind, "offset": network.front_end.offset,
                          "steps": network.front_end.steps},
        },
        "layers": table,
        "memory": _memory_use(network, walks, rings, used, vector_words, geometry),
    }
    return Program(geometry, np.concatenate(weights),
                   np.array(descriptors, np.uint32).reshape(-1), manifest)


def _place_rings(network, walks, geometry):
    """A ring for the input of each convolution; the first has room for frames to come."""
    rings = {}
    first = walks[0]
    pitch = _ceil_div(first.cols, geometry.tile_cols)
    slots = _ceil_div(first.span, geometry.tile_rows)
    ahead = slots + _ceil_div(first.advance, geometry.tile_rows)
    if slots * pitch > geometry.input_words:
        raise _DoesNotFit(
            f"{network.name}: {slots * pitch} words per bank of the input buffer do not fit array "
            f"{geometry.name}, which has {geometry.input_words}")
    if ahead * pitch <= geometry.input_words:
        slots = ahead
    rings[0] = _Ring(0, slots, pitch, slots * geometry.tile_rows, geometry.input_word_bits)

    base = 0
    for walk in walks[1:]:
        if walk.source != Source.LINE:
            break
        pitch = _ceil_div(walk.cols, geometry.tile_cols) * walk.words
        slots = _ceil_div(ring_rows(walks, walk.index), geometry.tile_rows)
        rings[walk.index] = _Ring(base, slots, pitch, slots * geometry.tile_rows,
                                  geometry.channels)
        base += slots * pitch
    if base > geometry.line_words:
        raise _DoesNotFit(
            f"{network.name}: {base} words per bank of the line buffers do not fit array "
            f"{geometry.name}, which has {geometry.line_words}")
    return rings


def _header(network, walks, rings, geometry):
    first, ring = walks[0], rings[0]
    return pack_descriptor(HEADER, {
        "layers_last": len(walks) - 1,
        "outputs_last": walks[-1].layer.out_channels - 1,
        "rows_needed": first.rows,
        "rows_last": network.input.rows - 1, "cols_last": first.cols - 1,
        "ring_base": ring.base, "ring_end": ring.end, "pitch": ring.pitch,
        "credit": ring.rows - first.padding[0],
        "offset": -network.input.min,
        "high_mask": 0xFF & ~((1 << network.input.bits) - 1),
    })


def _descriptor(walk, geometry, weight_base, ring, next_ring, vector_base, next_vector):
    top, _, left, _ = walk.padding
    tile_rows, tile_cols = geometry.tile_rows, geometry.tile_cols
    span = max(walk.span, tile_rows)  # a dense layer's other pixels look beyond its only row
    values = {
        "source": walk.source, "emit": walk.emit, "stride2": int(walk.stride == 2),
        "pool_rows_log2": walk.pool[0].bit_length() - 1,
        "pool_cols_log2": walk.pool[1].bit_length() - 1,
        "shift": 0, "pool_shift": 0, "limit": 1,
        "kernel_rows_last": walk.kernel[0] - 1, "kernel_cols_last": walk.kernel[1] - 1,
        "word_bits_last": walk.word_bits - 1, "end_bits_last": walk.end_bits - 1,
        "groups_last": walk.words - 1,
        "ahead_start": walk.rows + top - span, "col_to_last": walk.cols - 1 + left,
        "pad": walk.offset, "span": span,
        "pass_channels_last": geometry.channels - 1,
        "end_channels_last": walk.pass_channels(walk.passes - 1, geometry) - 1,
        "padding_top": top, "padding_left": left,
        "row_low": -top % tile_rows, "col_low": -left % tile_cols,
        "group_start": (-left // tile_cols) * walk.words,
        "tiles_last": walk.tiles - 1,
        "passes_last": walk.passes - 1, "weight_base": weight_base // geometry.store_rows,
        "out_base": 0, "out_end": 0, "out_pitch": 0, "out_groups": 0,
        "out_rows": walk.out_rows, "out_cols": walk.out_cols,
    }
    if walk.source == Source.VECTOR:
        values |= {"ring_base": 0, "ring_end": 0, "pitch": 0, "ring_start": 0,
                   "group_start": vector_base}
        if walk.emit == Emit.UNSIGNED:
            values |= {"shift": walk.layer.shift, "limit": (1 << walk.layer.bits) - 1}
    else:
        slot = (-top // tile_rows) % ring.slots
        values |= {"ring_base": ring.base, "ring_end": ring.end, "pitch": ring.pitch,
                   "ring_start": ring.base + slot * ring.pitch}
    if walk.source != Source.VECTOR and walk.layer.values:
        values |= {"shift": walk.layer.shift, "pool_shift": walk.layer.pool_shift}
    if walk.emit == Emit.MAP:
        values |= {"out_base": next_ring.base, "out_end": next_ring.end,
                   "out_pitch": next_ring.pitch, "out_groups": walk.out_words}
    elif walk.emit != Emit.RAW:
        values["out_base"] = next_vector
    return values


def _table_row(walk, geometry, weight_base, weight_rows, ring):
    low, high = accumulator_bounds(walk)
    pooled = walk.out_rows * walk.pool[0], walk.out_cols * walk.pool[1]
    row = {
        "index": walk.index, "name": walk.layer.name,
        "kind": "dense" if walk.source == Source.VECTOR else "conv",
        "source": walk.source.name.lower(), "emit": walk.emit.name.lower(),
        "in_rows": walk.rows, "in_cols": walk.cols,
        "in_channels": walk.layer.in_channels, "out_channels": walk.layer.out_channels,
        "kernel": list(walk.kernel), "stride": walk.stride, "padding": list(walk.padding),
        "pool": list(walk.pool), "planes": walk.word_bits if walk.source != Source.LINE else 1,
        "conv_rows": walk.conv_rows, "conv_cols": walk.conv_cols,
        "tiled_rows": pooled[0], "tiled_cols": pooled[1],
        "out_rows": walk.out_rows, "out_cols": walk.out_cols,
        "jobs": walk.jobs, "passes": walk.passes, "tiles": walk.tiles, "steps": walk.steps,
        "words": walk.words, "rounds": walk.rounds,
        "fetches": walk.rounds * walk.taps * walk.words * (walk.phases(geometry) - 1),
        "rows_per_pass": walk.rows_per_pass, "span": walk.span, "advance": walk.advance,
        "block_rows": walk.block_rows,
        "shift": walk.layer.shift if walk.emit == Emit.UNSIGNED else 0,
        "weight_base": weight_base, "weight_rows": weight_rows,
        "acc_min": low, "acc_max": high,
        # Additions of an int8 weight under a bit that this layer needs, whatever the bits are.
        "binary_macs": pooled[0] * pooled[1] * walk.layer.out_channels * walk.bits,
    }
    if ring:
        row["ring"] = {"rows": ring.rows, "words_per_bank": ring.words,
                       "bytes": ring.words * geometry.pixels * ring.word_bits // 8}
    return row


def _memory_use(network, walks, rings, weight_rows, vector_words, geometry):
    """Bytes on chip by purpose: what this network uses, and what the geometry has."""
    banks = geometry.pixels
    line_words = sum(ring.words for index, ring in rings.items() if index)
    weight_bytes = sum(walk.layer.weights.size for walk in walks)
    stored = weight_rows * geometry.channels
    start_rows = geometry.start_reads * geometry.store_rows
    starts = sum(walk.passes for walk in walks) * start_rows * geometry.channels
    state_bits = 17 + 18 + 16 + 16 + 2 + 16 + 16
    used = {
        "weights": weight_bytes,
        "weight_padding": stored - starts - weight_bytes,
        "start_values": starts,
        "input_buffer": _ceil_div(rings[0].words * banks * geometry.input_word_bits, 8),
        "line_buffers": line_words * banks * geometry.channels // 8,
        "vectors": vector_words * geometry.vector_bits // 8,
        "descriptors": (len(walks) + 1) * 64,
        "layer_state": _ceil_div(len(walks) * state_bits, 8),
    }
    capacity = {
        "weights": geometry.weight_bytes,
        "input_buffer": _ceil_div(geometry.input_words * banks * geometry.input_word_bits, 8),
        "line_buffers": geometry.line_words * banks * geometry.channels // 8,
        "vectors": geometry.vector_words * geometry.vector_bits // 8,
        "descriptors": (geometry.max_layers + 1) * 64,
        "layer_state": _ceil_div(geometry.max_layers * state_bits, 8),
    }
    return {
        "used_bytes": used,
        "capacity_bytes": capacity,
        "activation_bytes": used["input_buffer"] + used["line_buffers"] + used["vectors"],
    }
