"""Describe the program: its network, its layer table, and the use of each memory."""

from __future__ import annotations

from typing import Any

from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.descriptors import READ_OUT, Emit, Source
from bamac_hw.abi.layer_state import layer_state_bits
from bamac_hw.geometry import Geometry

from .images import WeightStore, accumulator_bounds
from .native import Lowered
from .rings import Ring
from .walk import Walk, ceil_div

__all__ = ["write_manifest"]

DESCRIPTOR_BYTES = 64


def write_manifest(network: IntegerNetwork, lowered: Lowered, walks: list[Walk],
                   geometry: Geometry, store: WeightStore, rings: dict[int, Ring],
                   vector_words: int) -> dict[str, Any]:
    """The manifest of a program, plain values; see ``docs/program.md``.

    ``network`` is the one that was compiled, ``lowered`` what the array runs of it.
    """
    return {
        "credit": rings[0].rows - walks[0].padding[0],
        "network": {
            "name": network.name,
            "digest": network.digest(),
            "rows": network.input.rows,
            "cols": network.input.cols,
            "channels": network.input.channels,
            "input_bits": network.input.bits,
            "input_signed": network.input.signed,
            "zero_point": network.input.zero_point,
            "outputs": walks[-1].out_channels,
            "score_scale": network.score_scale,
            "score_offset": network.score_offset,
            "front_end": {"kind": network.front_end.kind, "offset": network.front_end.offset,
                          "steps": network.front_end.steps},
            **({} if lowered.arrangement is None else
               {"arrangement": lowered.arrangement.to_dict()}),
        },
        "layers": [_table_row(walk, geometry, store, rings.get(walk.index)) for walk in walks],
        "memory": _memory_use(walks, geometry, store, rings, vector_words),
    }


def _table_row(walk: Walk, geometry: Geometry, store: WeightStore,
               ring: Ring | None) -> dict[str, Any]:
    low, high = accumulator_bounds(walk)
    tiled_rows, tiled_cols = walk.out_rows * walk.pool[0], walk.out_cols * walk.pool[1]
    row: dict[str, Any] = {
        "index": walk.index, "name": walk.name,
        "kind": "dense" if walk.emit in READ_OUT else "conv",
        "source": walk.source.name.lower(), "emit": walk.emit.name.lower(),
        "in_rows": walk.rows, "in_cols": walk.cols,
        "in_channels": walk.in_channels, "out_channels": walk.out_channels,
        "kernel": list(walk.kernel),
        "stride": walk.stride[0] if len(set(walk.stride)) == 1 else list(walk.stride),
        "padding": list(walk.padding),
        "pool": list(walk.pool), "planes": walk.word_bits if walk.source != Source.LINE else 1,
        "conv_rows": walk.conv_rows, "conv_cols": walk.conv_cols,
        "tiled_rows": tiled_rows, "tiled_cols": tiled_cols,
        "out_rows": walk.out_rows, "out_cols": walk.out_cols,
        "jobs": walk.jobs, "passes": walk.passes, "tiles": walk.tiles, "steps": walk.steps,
        "words": walk.words, "depthwise": walk.depthwise, "rounds": walk.rounds,
        "fetches": walk.rounds * walk.taps * walk.words * (walk.phases(geometry) - 1),
        "rows_per_pass": walk.rows_per_pass, "span": walk.span, "advance": walk.advance,
        "block_rows": walk.block_rows,
        "shift": walk.shift if walk.emit == Emit.UNSIGNED else 0,
        "weight_base": store.bases[walk.index], "mask_rows": store.mask_rows[walk.index],
        "weight_rows": len(store.images[walk.index]) - store.mask_rows[walk.index],
        "acc_min": low, "acc_max": high,
        # Additions of an int8 weight under a bit that this layer needs, whatever the bits are.
        "binary_macs": tiled_rows * tiled_cols * walk.out_channels * walk.bits,
    }
    if ring:
        row["ring"] = {"rows": ring.rows, "words_per_bank": ring.words,
                       "bytes": ring.words * geometry.pixels * ring.word_bits // 8}
    return row


def _memory_use(walks: list[Walk], geometry: Geometry, store: WeightStore, rings: dict[int, Ring],
                vector_words: int) -> dict[str, Any]:
    """Bytes on chip by purpose: what this network uses, and what the geometry has."""
    banks = geometry.pixels
    line_words = sum(ring.words for index, ring in rings.items() if index)
    weight_bytes = sum(int(walk.weights.size) for walk in walks)
    stored = store.rows * geometry.channels
    start_rows = geometry.start_reads * geometry.store_rows
    masks = sum(store.mask_rows) * geometry.channels
    starts = sum(walk.passes for walk in walks) * start_rows * geometry.channels
    state_bits = layer_state_bits(geometry)
    used = {
        "weights": weight_bytes,
        "weight_padding": stored - starts - weight_bytes - masks,
        "start_values": starts,
        "input_buffer": ceil_div(rings[0].words * banks * geometry.input_word_bits, 8),
        "line_buffers": line_words * banks * geometry.channels // 8,
        "vectors": vector_words * geometry.vector_bits // 8,
        "descriptors": (len(walks) + 1) * DESCRIPTOR_BYTES,
        "layer_state": ceil_div(len(walks) * state_bits, 8),
    }
    if masks:
        used["weight_masks"] = masks
    capacity = {
        "weights": geometry.weight_bytes,
        "input_buffer": ceil_div(geometry.input_words * banks * geometry.input_word_bits, 8),
        "line_buffers": geometry.line_words * banks * geometry.channels // 8,
        "vectors": geometry.vector_words * geometry.vector_bits // 8,
        "descriptors": (geometry.max_layers + 1) * DESCRIPTOR_BYTES,
        "layer_state": ceil_div(geometry.max_layers * state_bits, 8),
    }
    return {
        "used_bytes": used,
        "capacity_bytes": capacity,
        "activation_bytes": used["input_buffer"] + used["line_buffers"] + used["vectors"],
    }
