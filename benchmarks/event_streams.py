"""Estimates of event-driven walks with more than one event per cycle, from real activations.

``python -m benchmarks.event_walk`` puts the table into its report. One of these walks is built: a
scanner for each row of a tile's pixels, in step tile by tile (``Geometry(streams=2)``). A figure is
the number of cycles with events, compared with one event of the whole tile per cycle. Starts, loads
and waits are left out, since they do not change.
"""

from types import SimpleNamespace

import numpy as np

from bamac.ir import reference
from bamac.perf.events import layer_unions

__all__ = ["WAYS", "estimate"]

_EVEN = np.uint64(0x5555_5555_5555_5555)


def _count(words):
    return np.bitwise_count(words).astype(np.int64)


def _split(program, trace, frames, rows, cols):
    """Events of each part of ``rows x cols`` pixels of a tile, by layer: (parts, jobs, tiles)."""
    g = program.geometry
    down, across = g.tile_rows // rows, g.tile_cols // cols
    layers = [{**row, "jobs": row["jobs"] * down, "tiles": row["tiles"] * across}
              for row in program.layers if row["kind"] == "conv"]
    part = SimpleNamespace(
        geometry=SimpleNamespace(tile_rows=rows, tile_cols=cols, channels=g.channels),
        frame_shape=program.frame_shape, sent_shape=program.sent_shape,
        manifest=program.manifest, layers=layers)
    for row, words in zip(program.layers, layer_unions(part, trace, frames), strict=False):
        events = _count(words).sum(axis=2)
        yield events.reshape(row["jobs"], down, row["tiles"], across).transpose(
            1, 3, 0, 2).reshape(-1, row["jobs"], row["tiles"])


def _two_of_a_tile(words, is_input):
    return (_count(words).sum(axis=2) + 1) // 2


def _two_of_a_word(words, is_input):
    return ((_count(words) + 1) // 2).sum(axis=2)


def _planes_two_by_two(words, is_input):
    if not is_input:
        return _two_of_a_word(words, is_input)
    return _count((words | words >> np.uint64(1)) & _EVEN).sum(axis=2)


def _even_and_odd_channels(words, is_input):
    return np.maximum(_count(words & _EVEN).sum(axis=2), _count(words & ~_EVEN).sum(axis=2))


def _even_and_odd_words(words, is_input):
    events = _count(words)
    return np.maximum(events[..., ::2].sum(axis=2), events[..., 1::2].sum(axis=2))


WAYS = {
    "any two events of a tile (the least that pair lanes could take)": _two_of_a_tile,
    "pair lanes, two events of a word (two read ports)": _two_of_a_word,
    "the same, of a value planes 0 and 1, 2 and 3, ... of a sign": _planes_two_by_two,
    "pair lanes, one event of the even channels or planes, one of the odd": _even_and_odd_channels,
    "pair lanes, one event of the even words, one of the odd": _even_and_odd_words,
}
PARTS = {"a scanner for each row of a tile's pixels": (1, 2),
         "a scanner for each pixel": (1, 1)}


def estimate(program, network, clips):
    """``(layer names, rows)``: a name and a share per convolution and in all, for each way.

    ``program`` must be for an event-driven array with tiles of 2 x 2; ``clips`` are integer frames.
    """
    names = [conv.name for conv in network.convs]
    passes = np.array([row["passes"] for row in program.layers[:len(names)]])
    totals = {way: np.zeros(len(names)) for way in (None, *WAYS)}
    totals |= {f"{way}, {what}": np.zeros(len(names)) for way in PARTS
               for what in ("in step tile by tile", "each at its own pace")}
    for frames in clips:
        trace = reference.run(network, frames)
        for n, words in enumerate(layer_unions(program, trace, frames)):
            totals[None][n] += _count(words).sum()
            for way, cycles in WAYS.items():
                totals[way][n] += cycles(words, n == 0).sum()
        for way, (rows, cols) in PARTS.items():
            for n, events in enumerate(_split(program, trace, frames, rows, cols)):
                totals[f"{way}, in step tile by tile"][n] += events.max(axis=0).sum()
                totals[f"{way}, each at its own pace"][n] += events.sum() / len(events)
    base = passes * totals.pop(None)
    return names, [(way, *(passes * found / base), (passes * found).sum() / base.sum())
                   for way, found in totals.items()]
