"""The cycle and traffic model: what the hardware's counters will show, without running it.

The model follows the rules that the docstrings of :mod:`bamac_hw.control.scheduler`,
:mod:`bamac_hw.control.dense_walker`, :mod:`bamac_hw.control.event_walker`,
:mod:`bamac_hw.output.collector` and :mod:`bamac_hw.memory.frame_writer` state. It holds for a
source that always has the next value ready and a sink that always takes scores.

In the dense walk, everything but the events depends on the program alone. In the event-driven
walk, cycles and weight reads follow the input.
"""

from __future__ import annotations

from bisect import bisect_right
from types import SimpleNamespace

import numpy as np

from bamac.compiler.schedule import job_order
from bamac.ir import reference
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.abi.descriptors import LAYER, Emit, Source
from bamac_hw.control.scheduler import LOOK_CYCLES, SAVE_CYCLES, START_CYCLES
from bamac_hw.datapath.int8_read_out import read_out_wait, sums_wait
from bamac_hw.pipeline import COLLECT_LATENCY, LANE_STAGE, READ_OUT_CYCLES, SCORE_CYCLES
from bamac_hw.program import Program

from . import events as event_model

__all__ = ["CAUSES", "access_bytes", "adding_cycles", "bounds", "lower_bounds", "predict",
           "predict_events"]

CAUSES = [name.removeprefix("cycles_") for name in COUNTERS if name.startswith("cycles_")]

_LOAD = START_CYCLES + 1  # from a job's choice to its walk


def _walk(row):
    """A layer's loop bounds, from its row of the manifest."""
    values = {key: value for key, value in row.items() if key not in ("source", "emit")}
    return SimpleNamespace(**values, rows=row["in_rows"], source=Source[row["source"].upper()],
                           emit=Emit[row["emit"].upper()])


def _out_words(walk, geometry):
    """Words of the line buffers for each pixel that the layer puts out."""
    return -(-walk.out_channels // geometry.word_channels)


def _pass_channels(walk, number, geometry):
    return min(geometry.channels, walk.out_channels - number * geometry.channels)


def predict(program: Program, network=None, frames=None, *, clips: int = 1) -> dict:
    """Predict every counter except ``events``, for clips back to back.

    Parameters
    ----------
    program : Program
    network : IntegerNetwork, optional
    frames : int array (rows, cols) or (clips, rows, cols), optional
        The program's network and its input; the event-driven walk needs them. See :func:`bounds`
        for what can be said without.
    clips : int
        Number of clips, where no frames are given.

    Returns ``{"cycles": int, "layers": [{"name": str, **counters}]}`` with the counters of
    :data:`bamac_hw.abi.counters.COUNTERS`, per layer, summed over the clips.

    Raises
    ------
    ValueError
        If the walk is event-driven and no input is given.
    """
    if frames is not None:
        frames = np.asarray(frames)
        frames = frames[None] if frames.ndim == 2 else frames
        clips = len(frames)
    if program.geometry.walk == "dense":
        return _predict(program, clips)
    if network is None or frames is None:
        raise ValueError(f"Array {program.geometry.name} is event-driven: its cycles depend on "
                         f"the input, so give network and frames, or ask for the bounds")
    per_clip = [event_model.tile_events(program, network, window) for window in frames]
    return _predict(program, clips,
                    [event_model.concatenate(layer) for layer in zip(*per_clip, strict=True)])


def adding_cycles(program: Program, counters: list) -> int:
    """Cycles in which some lane takes a weight or a start value, from the layers' counters.

    ``counters`` are those of :func:`predict` or of the RTL, one dict for each layer. In the dense
    walk, the cycles that offer a weight row: whether any bit is 1 is not looked at.
    """
    starts = sum(layer["state_writes"] * row["tiles"] * row["passes"]   # one write for each job
                 for layer, row in zip(counters, program.layers, strict=True))
    return starts + sum(layer["cycles_compute"] for layer in counters)


def bounds(program: Program, *, clips: int = 1) -> dict:
    """Predictions that hold for any input: ``{"best": ..., "worst": ...}`` as :func:`predict`.

    In the event-driven walk, no input takes fewer cycles or accesses than the best, which has no
    1, or more than the worst, in which every bit is 1; neither needs to be possible. Cycles are
    bounded in all, not by cause. In the dense walk both are what it always takes.
    """
    if program.geometry.walk == "dense":
        both = _predict(program, clips)
        return {"best": both, "worst": both}
    limits = [event_model.event_limits(_walk(row), program.geometry) for row in program.layers]
    return {name: _predict(program, clips, [event_model.concatenate([layer] * clips)
                                            for layer in layers])
            for name, layers in zip(("best", "worst"), zip(*limits, strict=True), strict=True)}


def _predict(program, clips, events=None):
    """Counters, from the program and each layer's events of all clips (event-driven walk)."""
    geometry = program.geometry
    rows = program.manifest["network"]["rows"]
    walks = [_walk(row) for row in program.layers]
    totals = [dict.fromkeys(COUNTERS, 0) for _ in walks]
    for walk, total in zip(walks, totals, strict=True):
        _accesses(walk, total, geometry, clips)
        if walk.index == 0:
            total["input_writes"] = clips * rows * walk.in_cols
        if events is not None:
            total["weight_reads"] = walk.passes * (
                clips * walk.jobs * geometry.start_reads
                + int(events[walk.index].weight_rows.sum()))

    frames = _FrameArrivals(rows, walks[0].in_cols, program.manifest["credit"])
    job_costs = [_job_cycles(walk, geometry, clips, None if events is None else events[walk.index])
                 for walk in walks]
    # The search for the first job; all others begin beside a walk.
    settled = LOOK_CYCLES - 1
    totals[0]["cycles_schedule"] += settled
    totals[0]["state_reads"] += 1
    for (clip, index, number), looks in _jobs(walks, clips):
        walk, total = walks[index], totals[index]
        chosen = settled
        if index == 0:
            first_row = number * walk.advance - walk.padding[0]
            chosen = max(settled, frames.arrival(min(walk.rows, first_row + walk.span)))
            total["cycles_wait_input"] += chosen - settled
        costs = job_costs[index][clip][number]
        for cause, cycles in costs.items():
            total[f"cycles_{cause}"] += cycles
        free = chosen + sum(costs.values())
        settled = max(free, chosen + SAVE_CYCLES + LOOK_CYCLES * looks)
        total["cycles_schedule"] += settled - free
        total["state_reads"] += 1 + looks
        if index == 0:
            frames.release(walk.advance, at=settled + 1, last=number == walk.jobs - 1)
    layers = [{"name": walk.name, **total} for walk, total in zip(walks, totals, strict=True)]
    return {"cycles": settled, "layers": layers}


def _jobs(walks, clips):
    """Yield ``((clip, layer, job), looks)``: each job, and the looks of the search behind it."""
    before = None
    for clip in range(clips):
        done = [0] * len(walks)
        for index, looks in job_order(walks, first=0 if clip == 0 else len(walks) - 1):
            if before:
                yield before, looks
            before = clip, index, done[index]
            done[index] += 1
    yield before, len(walks)  # nothing can run any more


def _job_cycles(walk, geometry, clips, events):
    """For each clip and job, cycles by cause from its choice until it has ended.

    The wait for the search that follows is not among them.
    """
    load = _LOAD + walk.passes * geometry.start_reads
    if events is None:
        return [[{**_dense_cycles(walk, geometry), "load": load}] * walk.jobs] * clips
    causes = event_model.job_cycles(walk, geometry, events.events)
    columns = [array.tolist() for array in causes.values()]
    costs = [dict(zip(causes, values, strict=True), load=load)
             for values in zip(*columns, strict=True)]
    return [costs[clip * walk.jobs:(clip + 1) * walk.jobs] for clip in range(clips)]


def _dense_cycles(walk, geometry):
    """Cycles of one job by cause, without loading."""
    tiles = walk.tiles * walk.passes
    if geometry.int8_maps:
        return _int8_cycles(walk, geometry)
    # Behind each round but the last, the sums are doubled twice.
    ends = 2 * walk.rounds
    cycles = {"compute": tiles * walk.steps, "fetch": tiles * walk.fetches, "tile": ends * tiles,
              "collect": 0}
    if walk.source == Source.VECTOR:
        cycles["collect"] = sum(
            LANE_STAGE + _pass_channels(walk, number, geometry) * (READ_OUT_CYCLES + walk.shift)
            for number in range(walk.passes))
    elif walk.emit != Emit.MAP:
        between = ends + walk.steps + walk.fetches
        for number in range(walk.passes):
            busy = COLLECT_LATENCY + _pass_channels(walk, number, geometry)
            cycles["collect"] += (walk.tiles - 1) * max(0, busy - between)
            last = number == walk.passes - 1
            following = 1 if last else between + geometry.start_reads
            cycles["collect"] += max(0, busy - following)
    return cycles


def _int8_cycles(walk, geometry):
    """The same with int8 lanes, which read the sums out while the walk stands still."""
    tiles = walk.tiles * walk.passes
    cycles = {"compute": tiles * walk.steps, "fetch": tiles * walk.fetches, "tile": 2 * tiles,
              "collect": 0}
    if walk.emit == Emit.RAW:
        cycles["collect"] = (walk.passes * sums_wait(geometry)
                             + walk.out_channels * SCORE_CYCLES)
        return cycles
    within, behind = (read_out_wait(geometry, one_by_one=walk.emit != Emit.MAP, last=last)
                      for last in (False, True))
    cycles["tile"] += walk.passes * ((walk.tiles - 1) * within + behind)
    return cycles


def _accesses(walk, total, geometry, clips):
    """Accesses of the memory ports that depend on the layer's shape alone."""
    tiles = walk.jobs * walk.tiles
    total["weight_reads"] = clips * walk.passes * (
        walk.jobs * geometry.start_reads + tiles * walk.rows_per_pass)
    total["descriptor_reads"] = clips * walk.jobs * len(LAYER)
    total["state_writes"] = clips * walk.jobs

    if walk.source == Source.VECTOR:
        total["vector_reads"] = clips * walk.passes * walk.rounds * walk.words
    else:
        top, _, left, _ = walk.padding
        reads = (_taps_in_map(walk.jobs * geometry.tile_rows, walk.kernel[0], walk.stride, top,
                              walk.rows)
                 * _taps_in_map(walk.tiles * geometry.tile_cols, walk.kernel[1], walk.stride,
                                left, walk.in_cols))
        name = "input_reads" if walk.source == Source.INPUT else "line_reads"
        total[name] = clips * walk.passes * walk.rounds * walk.words * reads

    if walk.emit == Emit.MAP:
        total["line_writes"] = clips * _out_words(walk, geometry) * walk.out_rows * walk.out_cols
    elif walk.emit in (Emit.GLOBAL_MAX, Emit.GLOBAL_SUM):
        total["vector_writes"] = clips * tiles * walk.out_channels
        total["vector_reads"] = clips * (tiles - 1) * walk.out_channels
    elif walk.emit == Emit.RAW:
        total["scores"] = clips * walk.out_channels
    else:
        total["vector_writes"] = clips * walk.out_channels


def _taps_in_map(positions, kernel, stride, before, size):
    """How many (position, tap) pairs along one axis lie inside the map and not in padding."""
    taps = np.arange(positions)[:, None] * stride - before + np.arange(kernel)
    return int(((taps >= 0) & (taps < size)).sum())


class _FrameArrivals:
    """When rows are complete in the input buffer, in cycles since the scheduler began to look."""

    def __init__(self, rows, cols, credit):
        self._rows, self._cols, self._credit = rows, cols, credit
        self._begin(1)  # the frame writer is enabled in cycle 0

    def _begin(self, first_beat):
        self._ends, self._free = [], first_beat
        # From which cycle on how many rows of the clip may have come; both only grow.
        self._granted_rows, self._granted_at = [self._credit], [0]

    def _start_of_next(self):
        grant = bisect_right(self._granted_rows, len(self._ends))
        if grant == len(self._granted_at):
            return None
        return max(self._free, self._granted_at[grant])

    def _receive(self, rows):
        while len(self._ends) < rows:
            start = self._start_of_next()
            assert start is not None, "a job needs rows that have no room"
            self._ends.append(start + self._cols - 1)
            self._free = self._ends[-1] + 1

    def arrival(self, rows):
        """First cycle in which ``rows`` rows of the clip are seen to have arrived."""
        self._receive(rows)
        return self._ends[rows - 1] + 3

    def release(self, rows, *, at, last):
        """The first layer's job that ends in cycle ``at`` gives back ``rows`` rows."""
        if last:
            self._grant(self._rows, at + 1)
            self._receive(self._rows)
            self._begin(max(self._ends[-1], at) + 2)
        else:
            self._grant(self._granted_rows[-1] + rows, at + 1)

    def _grant(self, rows, at):
        self._granted_rows.append(max(rows, self._granted_rows[-1]))
        self._granted_at.append(at)


def predict_events(program: Program, network, frames) -> list:
    """Activation bits that are 1 when offered to the lanes, per layer, for one clip.

    With int8 lanes, values that are not 0.
    ``frames`` are the integer frames (rows, cols). Pixels of a tile
    beyond the map are offered too, as the hardware does; in the dense walk, a signed input and its
    padding are offered with their offset.
    """
    geometry = program.geometry
    trace = reference.run(network, frames)
    frames = np.asarray(frames, np.int64)
    offset = -network.input.min if geometry.walk == "dense" else 0
    count = (lambda values: (values != 0).astype(np.int64)) if network.values else _popcount
    ones = count(np.abs(frames + offset))
    pad = int(count(np.array(offset)))
    events = []
    for index, conv in enumerate(network.convs):
        row = program.layers[index]
        if index:
            ones = count(trace.layers[network.convs[index - 1].name].pooled).sum(axis=0)
            pad = 0
        events.append(row["passes"] * _offered(
            ones[:row["in_rows"]], pad, conv,
            row["jobs"] * geometry.tile_rows, row["tiles"] * geometry.tile_cols))
    vector = trace.vector
    for dense, row in zip(network.denses, program.layers[len(network.convs):], strict=True):
        if geometry.walk == "event":
            words = event_model.LayerEvents.of_words(vector.astype(np.uint64), Source.VECTOR)
            ones = words.events
        else:
            ones = count(np.asarray(vector))
        events.append(row["passes"] * int(ones.sum()))
        vector = trace.layers[dense.name].outputs
    return events


def _popcount(values):
    return np.bitwise_count(values.astype(np.uint32)).astype(np.int64)


def _offered(ones, pad, conv, rows, cols):
    """Sum over all positions of a (rows, cols) grid and all taps of the ones under the tap."""
    top, _, left, _ = conv.padding
    kernel_rows, kernel_cols = conv.kernel
    height = (rows - 1) * conv.stride + kernel_rows
    width = (cols - 1) * conv.stride + kernel_cols
    padded = np.full((height, width), pad, np.int64)
    keep_rows, keep_cols = min(ones.shape[0], height - top), min(ones.shape[1], width - left)
    padded[top:top + keep_rows, left:left + keep_cols] = ones[:keep_rows, :keep_cols]
    return int(sum(
        padded[i:i + (rows - 1) * conv.stride + 1:conv.stride,
               j:j + (cols - 1) * conv.stride + 1:conv.stride].sum()
        for i in range(kernel_rows) for j in range(kernel_cols)))


_STATE_BITS = 17 + 18 + 16 + 16 + 2 + 16 + 16


def access_bytes(geometry) -> dict:
    """Bytes moved by one access of each memory; the state word is rounded up."""
    return {
        "weights": geometry.channels * geometry.store_rows,
        "input_buffer": geometry.input_word_bits / 8,
        "line_buffers": geometry.channels / 8,
        "vectors": geometry.vector_bits // 8,
        "descriptors": 4,
        "layer_state": -(-_STATE_BITS // 8),
        "stream": 1,
    }


MEMORY_COUNTERS = {
    "weights": ("weight_reads",),
    "input_buffer": ("input_reads", "input_writes"),
    "line_buffers": ("line_reads", "line_writes"),
    "vectors": ("vector_reads", "vector_writes"),
    "descriptors": ("descriptor_reads",),
    "layer_state": ("state_reads", "state_writes"),
}


def lower_bounds(program: Program) -> dict:
    """Accesses per clip and memory if each datum were moved once, in words of that memory.

    Weights and start values are read once; each activation word is written once and read once;
    each descriptor is read once, and no layer's state is ever put away.
    """
    walks = [_walk(row) for row in program.layers]
    line = sum(w.out_rows * w.out_cols * _out_words(w, program.geometry) for w in walks
               if w.emit == Emit.MAP)
    vector = sum(w.words for w in walks if w.source == Source.VECTOR)
    return {
        "weights": sum(w.weight_rows for w in walks) // program.geometry.store_rows,
        "input_buffer": 2 * program.manifest["network"]["rows"] * walks[0].in_cols,
        "line_buffers": 2 * line,
        "vectors": 2 * vector,
        "descriptors": len(LAYER) * len(walks),
        "layer_state": 0,
    }
