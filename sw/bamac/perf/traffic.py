"""Accesses of each memory, the bytes that they move, and the least that would do."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from bamac_hw.abi.descriptors import Emit, Source, layer_words
from bamac_hw.abi.layer_state import layer_state_bits
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

from .layer_table import LayerRow, layer_rows

__all__ = ["MEMORY_COUNTERS", "access_bytes", "lower_bounds", "shape_accesses", "traffic"]

MEMORY_COUNTERS = {
    "weights": ("weight_reads",),
    "input_buffer": ("input_reads", "input_writes"),
    "line_buffers": ("line_reads", "line_writes"),
    "vectors": ("vector_reads", "vector_writes"),
    "descriptors": ("descriptor_reads",),
    "layer_state": ("state_reads", "state_writes"),
}
"""The counters of each memory's ports."""


def shape_accesses(row: LayerRow, geometry: Geometry, clips: int) -> dict[str, int]:
    """Accesses of the memory ports that follow from a layer's shape alone, by counter.

    ``weight_reads`` are those of a walk that takes every weight row.
    """
    tiles = row.jobs * row.tiles
    counts = {
        "weight_reads": clips * row.passes * (
            row.jobs * geometry.start_reads + tiles * row.rows_per_pass),
        "descriptor_reads": clips * row.jobs * len(layer_words(geometry)),
        "state_writes": clips * row.jobs,
    }
    if not row.reads_map:
        counts["vector_reads"] = clips * row.passes * row.rounds * row.words
    else:
        top, _, left, _ = row.padding
        reads = (_taps_in_map(row.jobs * geometry.tile_rows, row.kernel[0], row.stride[0], top,
                              row.rows)
                 * _taps_in_map(row.tiles * geometry.tile_cols, row.kernel[1], row.stride[1], left,
                                row.in_cols))
        name = "input_reads" if row.source == Source.INPUT else "line_reads"
        counts[name] = clips * row.passes * row.rounds * row.words * reads

    if row.emit == Emit.MAP:
        counts["line_writes"] = clips * row.out_words(geometry) * row.out_rows * row.out_cols
    elif row.emit in (Emit.GLOBAL_MAX, Emit.GLOBAL_SUM):
        counts["vector_writes"] = clips * tiles * row.out_channels
        counts["vector_reads"] = clips * (tiles - 1) * row.out_channels
    elif row.emit == Emit.RAW:
        counts["scores"] = clips * row.out_channels
    else:
        counts["vector_writes"] = clips * row.out_channels
    return counts


def _taps_in_map(positions: int, kernel: int, stride: int, before: int, size: int) -> int:
    """How many (position, tap) pairs along one axis lie inside the map and not in padding."""
    taps = np.arange(positions)[:, None] * stride - before + np.arange(kernel)
    return int(((taps >= 0) & (taps < size)).sum())


def access_bytes(geometry: Geometry) -> dict[str, float]:
    """Bytes moved by one access of each memory; the state word is rounded up."""
    return {
        "weights": geometry.channels * geometry.store_rows,
        "input_buffer": geometry.input_word_bits / 8,
        "line_buffers": geometry.channels / 8,
        "vectors": geometry.vector_bits // 8,
        "descriptors": 4,
        "layer_state": -(-layer_state_bits(geometry) // 8),
        "stream": 1,
    }


def lower_bounds(program: Program) -> dict[str, int]:
    """Accesses per clip and memory if each datum were moved once, in words of that memory.

    Weights and start values are read once; each activation word is written once and read once;
    each descriptor is read once, and no layer's state is ever put away.
    """
    rows = layer_rows(program)
    line = sum(row.out_rows * row.out_cols * row.out_words(program.geometry) for row in rows
               if row.emit == Emit.MAP)
    vector = sum(row.words for row in rows if not row.reads_map)
    return {
        "weights": sum(row.weight_rows for row in rows) // program.geometry.store_rows,
        "input_buffer": 2 * prod(program.sent_shape),
        "line_buffers": 2 * line,
        "vectors": 2 * vector,
        "descriptors": len(layer_words(program.geometry)) * len(rows),
        "layer_state": 0,
    }


def traffic(program: Program, counted: Sequence[dict[str, int]],
            predicted: Sequence[dict[str, Any]],
            windows: int) -> dict[str, dict[str, dict[str, float]]]:
    """Accesses and bytes of each memory: ``counted``, ``predicted``, ``lower_bound``.

    Parameters
    ----------
    counted, predicted : counters of each layer, of all ``windows``
    """
    width = access_bytes(program.geometry)
    bounds = lower_bounds(program)
    found = {}
    for memory, names in MEMORY_COUNTERS.items():
        columns = {
            "counted": sum(int(layer[name]) for layer in counted for name in names),
            "predicted": sum(int(layer[name]) for layer in predicted for name in names),
            "lower_bound": bounds[memory] * windows,
        }
        found[memory] = {column: {"accesses": accesses, "bytes": accesses * width[memory]}
                         for column, accesses in columns.items()}
    return found
