"""The event-driven walk's cycles, from the activations alone.

The rules are those of the docstring of :mod:`bamac_hw.control.event_walker`. They make each word's
times a maximum of earlier times plus constants, so a layer is computed word by word, for all of its
jobs at once: jobs do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bamac.compiler.lower import lower_network
from bamac.ir import reference
from bamac.ir.checks import Array
from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.descriptors import READ_OUT, Emit, Source
from bamac_hw.control.event_walker import FETCH_LATENCY, QUEUE_DEPTH
from bamac_hw.geometry import Geometry
from bamac_hw.pipeline import COLLECT_LATENCY, EVENT_PLANE_MOST, LANE_STAGE, READ_OUT_CYCLES
from bamac_hw.program import Program

from .layer_table import LayerRow, stride_of

__all__ = [
    "LayerEvents", "concatenate", "event_limits",
    "job_cycles", "layer_unions", "tile_events", "vector_events",
]


@dataclass(frozen=True, eq=False)
class LayerEvents:
    """What the activation words of a layer hold, one for each word of each tile and stream.

    Both are unsigned integers (jobs, streams, tiles, words), with the words of a tile in the order
    of its walk (kernel row, kernel column, word); every pass of a job walks the same words.

    Parameters
    ----------
    events : in how many bit positions any pixel of the stream has a 1; in a head vector, how many
        cycles they take
    weight_rows : rows of the weight store that these need
    """

    events: Array
    weight_rows: Array

    @classmethod
    def of_words(cls, words: Array, source: Source | int) -> LayerEvents:
        """From the union over the stream's pixels of each word."""
        events = np.bitwise_count(words)
        if source == Source.LINE:
            return cls(events, events)
        if source == Source.VECTOR:
            return cls(vector_events(words), (events > 0).view(np.uint8))
        planes = np.uint64(Geometry.INPUT_BITS)
        negative = words >> planes
        positive = words != negative << planes
        return cls(events, positive.view(np.uint8) + (negative != 0).view(np.uint8))


def vector_events(words: Array) -> Array:
    """Cycles that the words of a head's vector, uint64, take: one for each bit that is 1.

    A bit above plane :data:`EVENT_PLANE_MOST` takes as many additions of that plane as it needs.
    """
    planes = np.uint64(EVENT_PLANE_MOST + 1)
    high = words >> planes
    cycles: Array = np.bitwise_count(words ^ high << planes) + 2 * high
    return cycles.astype(np.uint16)


def tile_events(program: Program, network: IntegerNetwork,
                frames: npt.ArrayLike) -> list[LayerEvents]:
    """The :class:`LayerEvents` of each layer, for one clip of integer ``frames``.

    Pixels beyond the map count as the hardware fetches them.
    """
    native = lower_network(network)
    trace = reference.run(native, frames)
    streams = program.geometry.streams
    layers = [LayerEvents.of_words(words.reshape(-1, streams, *words.shape[1:]),
                                   Source.LINE if index else Source.INPUT)
              for index, words in enumerate(layer_unions(program, trace, frames, streams))]
    for before in native.layers[len(layers) - 1:-1]:
        vector = trace.layers[before.name].result
        words = np.zeros((1, streams, 1, len(vector)), np.uint64)
        words[:, 0] = vector    # the first pixel's
        layers.append(LayerEvents.of_words(words, Source.VECTOR))
    return layers


def layer_unions(program: Program, trace: reference.ReferenceTrace, frames: npt.ArrayLike,
                 streams: int = 1) -> Iterator[Array]:
    """The OR over the pixels of a tile of every word, (jobs, tiles, words), of each layer.

    Of those that read a map or the input. With several ``streams``, over the pixels of each one's
    part of a tile: (jobs * streams, tiles, words). ``trace`` is the reference's of ``frames``, of
    the program's network. The words are uint64; a word of the input has the planes of positive
    values, and above them those of negative ones.
    """
    geometry = program.geometry
    values: Array = np.asarray(frames, np.int64).reshape(-1, *program.frame_shape[-2:])
    words = (np.abs(values) << np.where(values < 0, Geometry.INPUT_BITS, 0)).astype(np.uint64)
    for row in program.layers:
        if row["source"] == "vector":
            break
        yield _unions(words[:, :row["in_rows"]], row, row["jobs"] * streams,
                      geometry.tile_rows // streams, geometry.tile_cols)
        result = trace.layers[row["name"]].result
        if result.ndim == 3:
            words = _packed(result, geometry.channels)


def event_limits(walk: LayerRow, geometry: Geometry) -> tuple[LayerEvents, LayerEvents]:
    """The :class:`LayerEvents` of one clip without any 1, and with every bit 1."""
    word_bits = np.full(walk.words, walk.planes)
    if walk.source == Source.LINE:
        word_bits[:] = geometry.channels
        word_bits[-1] = walk.in_channels - (walk.words - 1) * geometry.channels
    words = ~np.uint64(0) >> (64 - word_bits).astype(np.uint64)
    if walk.source == Source.INPUT:
        words = words | words << np.uint64(Geometry.INPUT_BITS)
    taps = walk.kernel[0] * walk.kernel[1]
    words = np.tile(words, (walk.jobs, geometry.streams, walk.tiles, taps))
    if walk.source == Source.VECTOR:
        words[:, 1:] = 0    # a head vector is the first pixel's
    return (LayerEvents.of_words(np.zeros_like(words), walk.source),
            LayerEvents.of_words(words, walk.source))


def concatenate(layers: Sequence[LayerEvents]) -> LayerEvents:
    """The jobs of several clips as those of one."""
    return LayerEvents(np.concatenate([layer.events for layer in layers]),
                       np.concatenate([layer.weight_rows for layer in layers]))


def _packed(bits: Array, channels: int) -> Array:
    """Maps (channels, rows, cols) of bits as words of up to ``channels`` (<= 64) bits."""
    groups = -(-len(bits) // channels)
    padded = np.zeros((groups * channels, *bits.shape[1:]), np.uint8)
    padded[:len(bits)] = bits
    words = np.zeros((groups, *bits.shape[1:]), np.uint64)
    for channel in range(channels):
        words |= padded[channel::channels].astype(np.uint64) << np.uint64(channel)
    return words


def _unions(words: Array, row: dict[str, Any], parts: int, part_rows: int,
            part_cols: int) -> Array:
    """The OR over the pixels of each part of a map, (parts along rows, tiles, words)."""
    (row_stride, col_stride), tiles = stride_of(row), row["tiles"]
    kernel_rows, kernel_cols = row["kernel"]
    rows, cols = parts * part_rows, tiles * part_cols
    top, _, left, _ = row["padding"]
    height = (rows - 1) * row_stride + kernel_rows
    width = (cols - 1) * col_stride + kernel_cols
    padded = np.zeros((len(words), height, width), np.uint64)
    seen_rows = min(words.shape[1], height - top)
    seen_cols = min(words.shape[2], width - left)
    padded[:, top:top + seen_rows, left:left + seen_cols] = words[:, :seen_rows, :seen_cols]
    taps = []
    for i in range(kernel_rows):
        for j in range(kernel_cols):
            tap = padded[:, i:i + (rows - 1) * row_stride + 1:row_stride,
                         j:j + (cols - 1) * col_stride + 1:col_stride]
            union = np.zeros((len(words), parts, tiles), np.uint64)
            for r in range(part_rows):
                for c in range(part_cols):
                    union |= tap[:, r::part_rows, c::part_cols]
            taps.append(union)
    # (taps, words, parts, tiles) -> (parts, tiles, taps * words)
    unions: Array = np.array(taps).transpose(2, 3, 0, 1)
    return unions.reshape(*unions.shape[:2], -1)


def job_cycles(walk: LayerRow, geometry: Geometry, events: Array) -> dict[str, Array]:
    """Cycles by cause within the walk of each job, and behind it until the collector is free.

    ``events`` is (jobs, streams, tiles, words), see :class:`LayerEvents`. Returns a dict of int64
    arrays (jobs,): ``compute``, ``fetch``, ``tile``, ``collect``. The ``start_bytes`` of each pass
    are not among them. More events never make a job shorter: all times are sums and maxima of
    earlier ones.
    """
    jobs, streams, tiles, words = events.shape
    phases = 1 + walk.fetches // words
    start_bytes = geometry.start_bytes
    # Each column, and the times of its word, are (jobs,) or, with several streams, (streams, jobs).
    columns = events.reshape(jobs, streams, -1).T.astype(np.int64, order="C")
    several = streams > 1
    columns = columns if several else columns[:, 0]
    zero = np.zeros(jobs, np.int64)
    is_global = walk.emit in (Emit.GLOBAL_MAX, Emit.GLOBAL_SUM)

    # Cycles are counted from the job's start.
    last_window, free, end = zero, np.zeros_like(columns[0]), zero
    collect, collector_free = zero.copy(), zero
    popped: list[Array] = []
    begun: list[Array] = []
    for number in range(walk.passes):
        channels = min(geometry.channels, walk.out_channels - number * geometry.channels)
        for tile in range(tiles):
            scan = end + (1 if tile else 2 + start_bytes)
            for word in range(words):
                count = columns[tile * words + word]
                last_window = last_window + 1
                if len(popped) >= QUEUE_DEPTH:
                    left = popped[-QUEUE_DEPTH]
                    last_window = np.maximum(last_window,
                                             (left.max(axis=0) if several else left) + 1)
                last_window = last_window + (phases - 1)
                pop = last_window + FETCH_LATENCY
                if popped:
                    pop = np.maximum(pop, popped[-1] + 1)
                tile_end = word == words - 1
                held = np.maximum(pop, free)
                if not tile_end:
                    held = np.where(count > 0, held, pop)
                popped.append(held)
                begin = np.maximum(held + 1, scan)
                if several:
                    begun.append(begin)
                if tile_end:
                    end = begin + count
                    end = end.max(axis=0) if several else end
                else:
                    free = np.where(count > 0, begin + count - 1, free)
            if walk.emit in READ_OUT:
                read_out = LANE_STAGE + channels * (READ_OUT_CYCLES + walk.shift)
                end = end + read_out
                collect += read_out
            elif is_global:
                collect += np.maximum(collector_free - end, 0)
                end = np.maximum(end, collector_free)
                collector_free = end + COLLECT_LATENCY + channels
            free = np.broadcast_to(end, free.shape)

    compute = (_cycles_of_any(np.array(begun), np.concatenate([columns] * walk.passes), end)
               if several else walk.passes * columns.sum(axis=0))
    tile_cycles = np.full(jobs, (tiles + 1) * walk.passes)
    fetch = end - compute - tile_cycles - collect - walk.passes * start_bytes
    if is_global:
        collect = collect + np.maximum(collector_free - end - 1, 0)
    return {"compute": compute, "fetch": fetch, "tile": tile_cycles, "collect": collect}


def _cycles_of_any(begin: Array, count: Array, end: Array) -> Array:
    """For each job, the cycles before ``end`` (jobs,) in which any stream offers an event.

    ``begin`` and ``count``, (words, streams, jobs), are where each word's events begin, and how
    many cycles they take.
    """
    cycles = np.empty_like(end)
    for job, last in enumerate(end.tolist()):
        first, events = begin[..., job].ravel(), count[..., job].ravel()
        running = (np.bincount(first, minlength=last + 1)
                   - np.bincount(first + events, minlength=last + 1)).cumsum()
        cycles[job] = np.count_nonzero(running)
    return cycles
