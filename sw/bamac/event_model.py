"""The event-driven walk's cycles, from the activations alone.

The rules are those of the docstring of :mod:`bamac_hw.event_walker`. They make each word's times a
maximum of earlier times plus constants, so a layer is computed word by word, for all of its jobs
at once: jobs do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bamac_hw.collector import READ_OUT_CYCLES
from bamac_hw.event_walker import FETCH_LATENCY, QUEUE_DEPTH
from bamac_hw.geometry import Geometry
from bamac_hw.layout import Emit, Source
from bamac_hw.step import EVENT_PLANE_MOST, LANE_STAGE, WRITE_STAGE

from . import reference

__all__ = [
    "COLLECT_LATENCY", "LayerEvents", "concatenate", "event_limits",
    "job_cycles", "layer_unions", "tile_events",
]

# A global pool of n channels keeps the collector busy for n cycles and these.
COLLECT_LATENCY = WRITE_STAGE + 4     # from a tile's end


@dataclass(frozen=True, eq=False)
class LayerEvents:
    """What the activation words of a layer hold, one for each word of each tile.

    Both are unsigned integers (jobs, tiles, words), with the words of a tile in the order of its
    walk (kernel row, kernel column, word); every pass of a job walks the same words.

    Parameters
    ----------
    events : in how many bit positions any pixel of the tile has a 1; in a head vector, how many
        cycles they take
    weight_rows : rows of the weight store that these need
    """

    events: np.ndarray
    weight_rows: np.ndarray

    @classmethod
    def of_words(cls, words, source):
        """From the union over the tile's pixels of each word."""
        events = np.bitwise_count(words)
        if source == Source.LINE:
            return cls(events, events)
        if source == Source.VECTOR:
            planes = np.uint64(EVENT_PLANE_MOST + 1)
            high = words >> planes      # twice as many additions of the highest plane
            cycles = np.bitwise_count(words ^ high << planes) + 2 * high
            return cls(cycles.astype(np.uint16), (events > 0).view(np.uint8))
        planes = np.uint64(Geometry.INPUT_BITS)
        negative = words >> planes
        positive = words != negative << planes
        return cls(events, positive.view(np.uint8) + (negative != 0).view(np.uint8))


def tile_events(program, network, frames):
    """The :class:`LayerEvents` of each layer, for one clip of integer ``frames`` (rows, cols).

    Pixels beyond the map count as the hardware fetches them.
    """
    trace = reference.run(network, frames)
    layers = [LayerEvents.of_words(words, Source.LINE if index else Source.INPUT)
              for index, words in enumerate(layer_unions(program, network, trace, frames))]
    vector = trace.vector
    for dense in network.denses:
        layers.append(LayerEvents.of_words(
            np.asarray(vector).astype(np.uint64)[None, None], Source.VECTOR))
        vector = trace.layers[dense.name].outputs
    return layers


def layer_unions(program, network, trace, frames):
    """For each convolution, the OR over the pixels of a tile of every word: (jobs, tiles, words).

    ``trace`` is the reference's of ``frames``. The words are uint64; a word of the input has the
    planes of positive values, and above them those of negative ones.
    """
    geometry = program.geometry
    frames = np.asarray(frames, np.int64)
    words = (np.abs(frames) << np.where(frames < 0, Geometry.INPUT_BITS, 0)).astype(
        np.uint64)[None]
    for index, conv in enumerate(network.convs):
        row = program.layers[index]
        if index:
            words = _packed(trace.layers[network.convs[index - 1].name].pooled,
                            geometry.channels)
        yield _unions(words[:, :row["in_rows"]], conv, row, geometry)


def event_limits(walk, geometry):
    """The :class:`LayerEvents` of one clip without any 1, and with every bit 1."""
    word_bits = np.full(walk.words, walk.planes)
    if walk.source == Source.LINE:
        word_bits[:] = geometry.channels
        word_bits[-1] = walk.in_channels - (walk.words - 1) * geometry.channels
    words = ~np.uint64(0) >> (64 - word_bits).astype(np.uint64)
    if walk.source == Source.INPUT:
        words = words | words << np.uint64(Geometry.INPUT_BITS)
    words = np.broadcast_to(np.tile(words, walk.kernel[0] * walk.kernel[1]),
                            (walk.jobs, walk.tiles, walk.kernel[0] * walk.kernel[1] * walk.words))
    return tuple(LayerEvents.of_words(each, walk.source)
                 for each in (np.zeros_like(words), words))


def concatenate(layers):
    """The jobs of several clips as those of one."""
    return LayerEvents(np.concatenate([layer.events for layer in layers]),
                       np.concatenate([layer.weight_rows for layer in layers]))


def _packed(bits, channels):
    """Maps (channels, rows, cols) of bits as words of up to ``channels`` (<= 64) bits."""
    groups = -(-len(bits) // channels)
    padded = np.zeros((groups * channels, *bits.shape[1:]), np.uint8)
    padded[:len(bits)] = bits
    words = np.zeros((groups, *bits.shape[1:]), np.uint64)
    for channel in range(channels):
        words |= padded[channel::channels].astype(np.uint64) << np.uint64(channel)
    return words


def _unions(words, conv, row, geometry):
    """The OR over the pixels of a tile, (jobs, tiles, words)."""
    tile_rows, tile_cols, stride = geometry.tile_rows, geometry.tile_cols, conv.stride
    rows, cols = row["jobs"] * tile_rows, row["tiles"] * tile_cols
    top, _, left, _ = conv.padding
    height = (rows - 1) * stride + conv.kernel[0]
    width = (cols - 1) * stride + conv.kernel[1]
    padded = np.zeros((len(words), height, width), np.uint64)
    seen_rows = min(words.shape[1], height - top)
    seen_cols = min(words.shape[2], width - left)
    padded[:, top:top + seen_rows, left:left + seen_cols] = words[:, :seen_rows, :seen_cols]
    taps = []
    for i in range(conv.kernel[0]):
        for j in range(conv.kernel[1]):
            tap = padded[:, i:i + (rows - 1) * stride + 1:stride,
                         j:j + (cols - 1) * stride + 1:stride]
            union = np.zeros((len(words), row["jobs"], row["tiles"]), np.uint64)
            for r in range(tile_rows):
                for c in range(tile_cols):
                    union |= tap[:, r::tile_rows, c::tile_cols]
            taps.append(union)
    # (taps, words, jobs, tiles) -> (jobs, tiles, taps * words)
    unions = np.array(taps).transpose(2, 3, 0, 1)
    return unions.reshape(*unions.shape[:2], -1)


def job_cycles(walk, geometry, events):
    """Cycles by cause within the walk of each job, and behind it until the collector is free.

    ``events`` is (jobs, tiles, words), see :class:`LayerEvents`. Returns a dict of int64 arrays
    (jobs,): ``compute``, ``fetch``, ``tile``, ``collect``. The ``start_bytes`` of each pass are not
    among them. More events never make a job shorter: all times are sums and maxima of earlier ones.
    """
    jobs, tiles, words = events.shape
    phases = 1 + walk.fetches // words
    start_bytes = geometry.start_bytes
    columns = events.reshape(jobs, -1).T.astype(np.int64, order="C")
    zero = np.zeros(jobs, np.int64)
    is_global = walk.emit in (Emit.GLOBAL_MAX, Emit.GLOBAL_SUM)

    # Cycles are counted from the job's start.
    last_window, free, end = zero, zero, zero
    collect, collector_free = zero.copy(), zero
    popped = []
    for number in range(walk.passes):
        channels = min(geometry.channels, walk.out_channels - number * geometry.channels)
        for tile in range(tiles):
            scan = end + (1 if tile else 2 + start_bytes)
            for word in range(words):
                count = columns[tile * words + word]
                last_window = last_window + 1
                if len(popped) >= QUEUE_DEPTH:
                    last_window = np.maximum(last_window, popped[-QUEUE_DEPTH] + 1)
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
                if tile_end:
                    end = begin + count
                else:
                    free = np.where(count > 0, begin + count - 1, free)
            if walk.source == Source.VECTOR:
                read_out = LANE_STAGE + channels * (READ_OUT_CYCLES + walk.shift)
                end = end + read_out
                collect += read_out
            elif is_global:
                collect += np.maximum(collector_free - end, 0)
                end = np.maximum(end, collector_free)
                collector_free = end + COLLECT_LATENCY + channels
            free = end

    compute = walk.passes * columns.sum(axis=0)
    tile_cycles = np.full(jobs, (tiles + 1) * walk.passes)
    fetch = end - compute - tile_cycles - collect - walk.passes * start_bytes
    if is_global:
        collect = collect + np.maximum(collector_free - end - 1, 0)
    return {"compute": compute, "fetch": fetch, "tile": tile_cycles, "collect": collect}
