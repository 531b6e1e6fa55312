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

from bamac.compiler.native import lower_for
from bamac.ir import reference
from bamac.ir.checks import Array
from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.descriptors import READ_OUT, Emit, Source
from bamac_hw.control.event_walker import FETCH_LATENCY, QUEUE_DEPTH
from bamac_hw.geometry import Geometry
from bamac_hw.pipeline import COLLECT_LATENCY, EVENT_PLANE_MOST, LANE_STAGE, READ_OUT_CYCLES
from bamac_hw.program import Program

from .layer_table import LayerRow, layer_rows, stride_of

__all__ = [
    "LayerEvents", "concatenate", "depthwise_ones", "distinct_passes", "event_limits",
    "job_cycles", "layer_masks", "layer_unions", "masked_ones", "tile_events", "vector_events",
]


@dataclass(frozen=True, eq=False)
class LayerEvents:
    """What the activation words of a layer hold, one for each word of each tile and stream.

    Both are unsigned integers (jobs, streams, tiles, words), with the words of a tile in the order
    of its walk (kernel row, kernel column, word). Every pass of a job walks the same words, unless
    masks leave out some: then the tiles of all passes follow each other.

    Parameters
    ----------
    events : in how many bit positions any pixel of the stream has a 1; in a head vector, how many
        cycles they take
    weight_rows : rows of the weight store that these need
    """

    events: Array
    weight_rows: Array

    @classmethod
    def of_words(cls, words: Array, source: Source | int, *,
                 depthwise: bool = False) -> LayerEvents:
        """From the union over the stream's pixels of each word."""
        if depthwise:
            some = (words != 0).view(np.uint8)
            return cls(some, some)
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
    lowered = lower_for(network, program.geometry)
    native, frames = lowered.network, lowered.arrange(frames)
    trace = reference.run(native, frames)
    streams = program.geometry.streams
    rows = layer_rows(program)
    layers = [_layer_events(program, rows[index], words.reshape(-1, streams, *words.shape[1:]))
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
    values: Array = np.asarray(frames, np.int64).reshape(program.sent_shape)
    values = values - program.manifest["network"].get("zero_point", 0)
    words = (np.abs(values) << np.where(values < 0, Geometry.INPUT_BITS, 0)).astype(np.uint64)
    for row in program.layers:
        if row["source"] == "vector":
            break
        yield _unions(words[:, :row["in_rows"]], row, row["jobs"] * streams,
                      geometry.tile_rows // streams, geometry.tile_cols)
        result = trace.layers[row["name"]].result
        if result.ndim == 3:
            words = _packed(result, geometry.channels)


def layer_masks(program: Program, row: LayerRow) -> Array | None:
    """Masks of a layer's words, uint64 (passes, taps * words), or None if it has none.

    A mask has the bits whose weight rows the walk takes; see
    :func:`bamac.compiler.images.mask_image`. That of an input value has all bits or none.
    """
    if not row.mask_rows:
        return None
    channels = program.geometry.channels
    packed = program.weights[row.weight_base - row.mask_rows:row.weight_base]
    bits = np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little")
    bits = bits.reshape(row.passes, -1, channels)[:, :row.kernel[0] * row.kernel[1] * row.words]
    if row.source == Source.INPUT:
        return np.where(bits[..., 0] > 0, ~np.uint64(0), np.uint64(0))
    masks: Array = (bits.astype(np.uint64) << np.arange(channels, dtype=np.uint64)).sum(
        axis=2, dtype=np.uint64)
    return masks


def _layer_events(program: Program, row: LayerRow, words: Array) -> LayerEvents:
    """Of all words of the pixels under a layer's taps, (jobs, streams, tiles, taps * words)."""
    if row.depthwise:   # each pass takes a word of its own
        jobs, streams, tiles, _ = words.shape
        words = words.reshape(jobs, streams, tiles, -1, row.passes).transpose(0, 1, 4, 2, 3)
    words = _of_passes(program, row, words)
    words = words.reshape(*words.shape[:2], -1, words.shape[-1])
    return LayerEvents.of_words(words, row.source, depthwise=row.depthwise)


def _of_passes(program: Program, row: LayerRow, words: Array) -> Array:
    """Words (jobs, streams, tiles, words) as each pass takes them, if its masks make them differ.

    Then they have an axis of passes in front of the tiles; they may have it from the start.
    """
    masks = layer_masks(program, row)
    if masks is None:
        return words
    words = words if words.ndim == 5 else words[:, :, np.newaxis]
    masked: Array = words & masks[:, np.newaxis]
    return masked


def distinct_passes(row: LayerRow, events: Array) -> int:
    """In how many passes the events (jobs, streams, tiles, words) of a layer differ: all, or 1."""
    return 1 if row.passes == 1 else events.shape[2] // row.tiles


def masked_ones(program: Program, row: LayerRow, ones: Array) -> int:
    """Ones that a layer with masks offers in all of its passes.

    Parameters
    ----------
    ones : int array (channels, rows, cols), of each value of the layer's input
    """
    masks = layer_masks(program, row)
    assert masks is not None
    geometry, taps = program.geometry, row.kernel[0] * row.kernel[1]
    bits = masks.reshape(row.passes, taps, row.words, 1)
    if row.source == Source.INPUT:
        kept = (bits[..., 0] > 0).sum(axis=0)
    else:
        channel = np.arange(geometry.channels, dtype=np.uint64)
        kept = (bits >> channel & np.uint64(1)).sum(axis=0).reshape(taps, -1)[:, :row.in_channels]
    under = _under_taps(ones[:, :row.rows].astype(np.int64), row.kernel, row.stride, row.padding,
                        row.jobs * geometry.tile_rows, row.tiles * geometry.tile_cols)
    return sum(int((tap.sum(axis=(1, 2)) * weights).sum())
               for tap, weights in zip(under, kept.astype(np.int64), strict=True))


def depthwise_ones(program: Program, row: LayerRow, bits: Array) -> int:
    """Words with a 1 that a depthwise layer offers to pixels, in all of its passes.

    Parameters
    ----------
    bits : int array (channels, rows, cols), the layer's input
    """
    geometry, masks = program.geometry, layer_masks(program, row)
    some = (_packed(bits[:, :row.rows], geometry.channels) != 0).astype(np.int64)
    under = _under_taps(some, row.kernel, row.stride, row.padding, row.jobs * geometry.tile_rows,
                        row.tiles * geometry.tile_cols)
    kept = np.ones((row.passes, 1)) if masks is None else masks != 0
    return sum(int((tap.sum(axis=(1, 2)) * kept[:, number % kept.shape[1]]).sum())
               for number, tap in enumerate(under))


def event_limits(program: Program, walk: LayerRow) -> tuple[LayerEvents, LayerEvents]:
    """The :class:`LayerEvents` of one clip without any 1, and with every bit 1."""
    geometry = program.geometry
    word_bits = np.full(walk.words, walk.planes)
    if walk.source == Source.LINE:
        word_bits[:] = geometry.channels
        if not walk.depthwise:
            word_bits[-1] = walk.in_channels - (walk.words - 1) * geometry.channels
    words = ~np.uint64(0) >> (64 - word_bits).astype(np.uint64)
    if walk.source == Source.INPUT:
        words = words | words << np.uint64(Geometry.INPUT_BITS)
    taps = walk.kernel[0] * walk.kernel[1]
    words = np.tile(words, (walk.jobs, geometry.streams, walk.tiles, taps))
    if walk.source == Source.VECTOR:
        words[:, 1:] = 0    # a head vector is the first pixel's
    words = _of_passes(program, walk, words)
    words = words.reshape(*words.shape[:2], -1, words.shape[-1])
    return (LayerEvents.of_words(np.zeros_like(words), walk.source, depthwise=walk.depthwise),
            LayerEvents.of_words(words, walk.source, depthwise=walk.depthwise))


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
    tiles = row["tiles"]
    rows, cols = parts * part_rows, tiles * part_cols
    taps = []
    for tap in _under_taps(words, row["kernel"], stride_of(row), row["padding"], rows, cols):
        union = np.zeros((len(words), parts, tiles), np.uint64)
        for r in range(part_rows):
            for c in range(part_cols):
                union |= tap[:, r::part_rows, c::part_cols]
        taps.append(union)
    # (taps, words, parts, tiles) -> (parts, tiles, taps * words)
    unions: Array = np.array(taps).transpose(2, 3, 0, 1)
    return unions.reshape(*unions.shape[:2], -1)


def _under_taps(values: Array, kernel: Sequence[int], stride: Sequence[int],
                padding: Sequence[int], rows: int, cols: int) -> Iterator[Array]:
    """For each kernel tap, what lies under it at (rows, cols) positions of a map (channels, ...).

    Beyond the map lie zeros.
    """
    (row_stride, col_stride), (kernel_rows, kernel_cols) = stride, kernel
    top, _, left, _ = padding
    height = (rows - 1) * row_stride + kernel_rows
    width = (cols - 1) * col_stride + kernel_cols
    padded = np.zeros((len(values), height, width), values.dtype)
    seen_rows = min(values.shape[1], height - top)
    seen_cols = min(values.shape[2], width - left)
    padded[:, top:top + seen_rows, left:left + seen_cols] = values[:, :seen_rows, :seen_cols]
    for i in range(kernel_rows):
        for j in range(kernel_cols):
            yield padded[:, i:i + (rows - 1) * row_stride + 1:row_stride,
                         j:j + (cols - 1) * col_stride + 1:col_stride]


def job_cycles(walk: LayerRow, geometry: Geometry, events: Array) -> dict[str, Array]:
    """Cycles by cause within the walk of each job, and behind it until the collector is free.

    ``events`` is (jobs, streams, tiles, words), see :class:`LayerEvents`. Returns a dict of int64
    arrays (jobs,): ``compute``, ``fetch``, ``tile``, ``collect``. The ``start_bytes`` of each pass
    are not among them. More events never make a job shorter: all times are sums and maxima of
    earlier ones.
    """
    jobs, streams, tiles, words = events.shape
    distinct = distinct_passes(walk, events)
    tiles //= distinct
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
                count = columns[(number % distinct * tiles + tile) * words + word]
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

    alike = walk.passes // distinct
    compute = (_cycles_of_any(np.array(begun), np.concatenate([columns] * alike), end)
               if several else alike * columns.sum(axis=0))
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
