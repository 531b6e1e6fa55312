"""Write the descriptors: the header, and one for each layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bamac.ir.checks import Array
from bamac.ir.network import InputSpec
from bamac_hw.abi.descriptors import HEADER, Emit, Source, layer_words, pack_descriptor
from bamac_hw.abi.frames import row_beats
from bamac_hw.geometry import Geometry

from .images import WeightStore
from .rings import Ring
from .walk import Walk

__all__ = ["write_descriptors"]


def write_descriptors(spec: InputSpec, walks: list[Walk], geometry: Geometry,
                      store: WeightStore, rings: dict[int, Ring],
                      vector_bases: list[int]) -> Array:
    """All descriptors, uint32.

    Parameters
    ----------
    spec : the network's input
    store : the weight store
    rings : of the inputs of convolutions, by layer
    vector_bases : address of each layer's input vector, one more than there are layers
    """
    entries = [_header(spec, walks, rings[0], geometry)]
    for walk in walks:
        following = walk.index + 1
        last = following == len(walks)
        entries.append(pack_descriptor(layer_words(geometry), _layer(
            walk, geometry, store, rings.get(walk.index), rings.get(following),
            vector_bases[walk.index], 0 if last else vector_bases[following])))
    return np.array(entries, np.uint32).reshape(-1)


def _header(spec: InputSpec, walks: list[Walk], ring: Ring, geometry: Geometry) -> list[int]:
    first = walks[0]
    return list(pack_descriptor(HEADER, {
        "layers_last": len(walks) - 1,
        "outputs_last": walks[-1].out_channels - 1,
        "rows_needed": first.rows,
        "rows_last": spec.rows - 1,
        "cols_last": row_beats(spec.channels, spec.cols, geometry.tile_cols,
                               interleaved=geometry.interleaved) - 1,
        "ring_base": ring.base, "ring_end": ring.end, "pitch": ring.pitch,
        "credit": ring.rows - first.padding[0],
        "offset": -spec.min,
        "high_mask": 0xFF & ~((1 << spec.bits) - 1),
        "channels_last": spec.channels - 1 if geometry.interleaved else 0,
        "zero_point": spec.zero_point if geometry.zero_points else 0,
    }))


def _layer(walk: Walk, geometry: Geometry, store: WeightStore, ring: Ring | None,
           next_ring: Ring | None, vector_base: int, next_vector: int) -> dict[str, Any]:
    top, _, left, _ = walk.padding
    tile_rows, tile_cols = geometry.tile_rows, geometry.tile_cols
    span = max(walk.span, tile_rows)  # a dense layer's other pixels look beyond its only row
    values: dict[str, Any] = {
        "source": walk.source, "emit": walk.emit, "stride2": int(walk.stride[0] == 2),
        "pool_rows_log2": walk.pool[0].bit_length() - 1,
        "pool_cols_log2": walk.pool[1].bit_length() - 1,
        "shift": walk.shift, "pool_shift": walk.pool_shift, "limit": walk.limit,
        "kernel_rows_last": walk.kernel[0] - 1, "kernel_cols_last": walk.kernel[1] - 1,
        "word_bits_last": walk.word_bits - 1, "end_bits_last": walk.end_bits - 1,
        "groups_last": walk.pixel_words - 1,
        "ahead_start": walk.rows + top - span, "col_to_last": walk.cols - 1 + left,
        "pad": walk.offset, "span": span,
        "pass_channels_last": geometry.channels - 1,
        "end_channels_last": walk.pass_channels(walk.passes - 1, geometry) - 1,
        "padding_top": top, "padding_left": left,
        "row_low": -top % tile_rows, "col_low": -left % tile_cols,
        "group_start": (-left // tile_cols) * walk.pixel_words,
        "tiles_last": walk.tiles - 1,
        "passes_last": walk.passes - 1,
        "weight_base": store.bases[walk.index] // geometry.store_rows,
        "out_base": 0, "out_end": 0, "out_pitch": 0, "out_groups": 0,
        "out_rows": walk.out_rows, "out_cols": walk.out_cols,
    }
    if geometry.extended:
        values |= {"stride2_cols": int(walk.stride[1] == 2),
                   "depthwise": int(walk.depthwise), "mask_rows": store.mask_rows[walk.index]}
    if walk.source == Source.VECTOR:
        values |= {"ring_base": 0, "ring_end": 0, "pitch": 0, "ring_start": 0,
                   "group_start": vector_base}
    else:
        assert ring is not None
        slot = (-top // tile_rows) % ring.slots
        values |= {"ring_base": ring.base, "ring_end": ring.end, "pitch": ring.pitch,
                   "ring_start": ring.base + slot * ring.pitch}
    if walk.emit == Emit.MAP:
        assert next_ring is not None
        values |= {"out_base": next_ring.base, "out_end": next_ring.end,
                   "out_pitch": next_ring.pitch, "out_groups": walk.out_words}
    elif walk.emit != Emit.RAW:
        values["out_base"] = next_vector
    return values
