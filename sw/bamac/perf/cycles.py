"""The cycle and traffic model: what the hardware's counters will show, without running it.

The model follows the rules that the docstrings of :mod:`bamac_hw.control.scheduler`,
:mod:`bamac_hw.control.dense_walker`, :mod:`bamac_hw.control.event_walker`,
:mod:`bamac_hw.output.collector` and :mod:`bamac_hw.memory.frame_writer` state. It holds for a
source that always has the next value ready and a sink that always takes scores.

In a dense walk, everything but the events depends on the program alone, and the datapath's traits
say what a job costs. In an event-driven walk, cycles and weight reads follow the input, see
:mod:`bamac.perf.events`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bamac.compiler.native import lower_for
from bamac.compiler.schedule import job_order
from bamac.ir import reference
from bamac.ir.checks import Array
from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.control.scheduler import POLL_CYCLES, SAVE_CYCLES, start_cycles
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

from . import events as event_model
from .events import LayerEvents
from .layer_table import LayerRow, layer_rows
from .traffic import shape_accesses

__all__ = ["CAUSES", "adding_cycles", "bounds", "predict", "predict_events"]

CAUSES = [name.removeprefix("cycles_") for name in COUNTERS if name.startswith("cycles_")]


def predict(program: Program, network: IntegerNetwork | None = None,
            frames: npt.ArrayLike | None = None, *, clips: int = 1) -> dict[str, Any]:
    """Predict every counter except ``events``, for clips back to back.

    Parameters
    ----------
    program : Program
    network : IntegerNetwork, optional
    frames : int array (rows, cols) or (clips, rows, cols), optional
        The program's network and its input; the event-driven walk needs them. See :func:`bounds`
        for what can be said without. A clip of several channels is (channels, rows, cols).
    clips : int
        Number of clips, where no frames are given.

    Returns ``{"cycles": int, "layers": [{"name": str, **counters}]}`` with the counters of
    :data:`bamac_hw.abi.counters.COUNTERS`, per layer, summed over the clips.

    Raises
    ------
    ValueError
        If the walk is event-driven and no input is given.
    """
    windows = None if frames is None else np.asarray(frames)
    if windows is not None:
        windows = windows[None] if windows.ndim == len(program.frame_shape) else windows
        clips = len(windows)
    if not program.geometry.traits.event_driven:
        return _predict(program, clips)
    if network is None or windows is None:
        raise ValueError(f"Array {program.geometry.name} is event-driven: its cycles depend on "
                         f"the input, so give network and frames, or ask for the bounds")
    per_clip = [event_model.tile_events(program, network, window) for window in windows]
    return _predict(program, clips,
                    [event_model.concatenate(layer) for layer in zip(*per_clip, strict=True)])


def adding_cycles(program: Program, counters: Sequence[dict[str, int]]) -> int:
    """Cycles in which some lane takes a weight or a start value, from the layers' counters.

    ``counters`` are those of :func:`predict` or of the RTL, one dict for each layer. In the dense
    walk, the cycles that offer a weight row: whether any bit is 1 does not matter.
    """
    starts = sum(layer["state_writes"] * row.tiles * row.passes   # one write for each job
                 for layer, row in zip(counters, layer_rows(program), strict=True))
    return starts + sum(layer["cycles_compute"] for layer in counters)


def bounds(program: Program, *, clips: int = 1) -> dict[str, dict[str, Any]]:
    """Predictions that hold for any input: ``{"best": ..., "worst": ...}`` as :func:`predict`.

    In the event-driven walk, no input takes fewer cycles or accesses than the best, which has no
    1, or more than the worst, in which every bit is 1; neither needs to be possible. Cycles are
    bounded in all, not by cause. In the dense walk both are what it always takes.
    """
    if not program.geometry.traits.event_driven:
        both = _predict(program, clips)
        return {"best": both, "worst": both}
    limits = [event_model.event_limits(program, row) for row in layer_rows(program)]
    return {name: _predict(program, clips, [event_model.concatenate([layer] * clips)
                                            for layer in layers])
            for name, layers in zip(("best", "worst"), zip(*limits, strict=True), strict=True)}


def _predict(program: Program, clips: int,
             events: Sequence[LayerEvents] | None = None) -> dict[str, Any]:
    """Counters, from the program and each layer's events of all clips (event-driven walk)."""
    geometry = program.geometry
    frame_rows, beats = program.sent_shape[1], program.row_beats
    rows = layer_rows(program)
    totals = [dict.fromkeys(COUNTERS, 0) | shape_accesses(row, geometry, clips) for row in rows]
    totals[0]["input_writes"] = clips * frame_rows * beats
    if events is not None:
        for row, total, layer_events in zip(rows, totals, events, strict=True):
            alike = row.passes // event_model.distinct_passes(row, layer_events.events)
            total["weight_reads"] = (
                clips * row.jobs * row.passes * geometry.start_reads
                + alike * int(layer_events.weight_rows.sum())
                + clips * row.jobs * row.tiles * row.mask_rows)

    frames = _FrameArrivals(frame_rows, beats, program.manifest["credit"])
    job_costs = [_job_costs(row, geometry, clips, None if events is None else events[row.index])
                 for row in rows]
    # The search for the first job; all others begin beside a walk.
    settled = POLL_CYCLES - 1
    totals[0]["cycles_schedule"] += settled
    totals[0]["state_reads"] += 1
    for (clip, index, number), polls in _jobs(rows, clips):
        row, total = rows[index], totals[index]
        chosen = settled
        if index == 0:
            first_row = number * row.advance - row.padding[0]
            chosen = max(settled, frames.arrival(min(row.rows, first_row + row.span)))
            total["cycles_wait_input"] += chosen - settled
        costs = job_costs[index][clip][number]
        for cause, cycles in costs.items():
            total[f"cycles_{cause}"] += cycles
        free = chosen + sum(costs.values())
        settled = max(free, chosen + SAVE_CYCLES + POLL_CYCLES * polls)
        total["cycles_schedule"] += settled - free
        total["state_reads"] += 1 + polls
        if index == 0:
            frames.release(row.advance, at=settled + 1, last=number == row.jobs - 1)
    layers = [{"name": row.name, **total} for row, total in zip(rows, totals, strict=True)]
    return {"cycles": settled, "layers": layers}


def _jobs(rows: Sequence[LayerRow], clips: int) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield ``((clip, layer, job), polls)``: each job, and the polls of the search behind it."""
    before = None
    for clip in range(clips):
        done = [0] * len(rows)
        for index, polls in job_order(rows, first=0 if clip == 0 else len(rows) - 1):
            if before:
                yield before, polls
            before = clip, index, done[index]
            done[index] += 1
    if before:
        yield before, len(rows)  # nothing can run any more


def _job_costs(row: LayerRow, geometry: Geometry, clips: int,
               events: LayerEvents | None) -> list[list[dict[str, int]]]:
    """For each clip and job, cycles by cause from its choice until it has ended.

    The wait for the search that follows is not among them.
    """
    load = start_cycles(geometry) + 1 + row.passes * geometry.start_reads
    if events is None:
        return [[{**geometry.traits.job_cycles(row, geometry), "load": load}] * row.jobs] * clips
    causes = event_model.job_cycles(row, geometry, events.events)
    columns = [array.tolist() for array in causes.values()]
    costs = [dict(zip(causes, values, strict=True), load=load)
             for values in zip(*columns, strict=True)]
    return [costs[clip * row.jobs:(clip + 1) * row.jobs] for clip in range(clips)]


class _FrameArrivals:
    """When rows are complete in the input buffer, in cycles since the scheduler's first poll."""

    def __init__(self, rows: int, beats: int, credit: int) -> None:
        self._rows, self._beats, self._credit = rows, beats, credit
        self._begin(1)  # the frame writer is enabled in cycle 0

    def _begin(self, first_beat: int) -> None:
        self._ends: list[int] = []
        self._free = first_beat
        # From which cycle on how many rows of the clip may have come; both only grow.
        self._granted_rows, self._granted_at = [self._credit], [0]

    def _start_of_next(self) -> int | None:
        grant = bisect_right(self._granted_rows, len(self._ends))
        if grant == len(self._granted_at):
            return None
        return max(self._free, self._granted_at[grant])

    def _receive(self, rows: int) -> None:
        while len(self._ends) < rows:
            start = self._start_of_next()
            assert start is not None, "a job needs rows that have no room"
            self._ends.append(start + self._beats - 1)
            self._free = self._ends[-1] + 1

    def arrival(self, rows: int) -> int:
        """First cycle in which ``rows`` rows of the clip are seen to have arrived."""
        self._receive(rows)
        return self._ends[rows - 1] + 3

    def release(self, rows: int, *, at: int, last: bool) -> None:
        """The first layer's job that ends in cycle ``at`` gives back ``rows`` rows."""
        if last:
            self._grant(self._rows, at + 1)
            self._receive(self._rows)
            self._begin(max(self._ends[-1], at) + 2)
        else:
            self._grant(self._granted_rows[-1] + rows, at + 1)

    def _grant(self, rows: int, at: int) -> None:
        self._granted_rows.append(max(rows, self._granted_rows[-1]))
        self._granted_at.append(at)


def predict_events(program: Program, network: IntegerNetwork, frames: npt.ArrayLike) -> list[int]:
    """Activation bits that are 1 when offered to the lanes, per layer, for one clip.

    With int8 maps, values that are not 0; in depthwise layers, words that are not 0. Pixels of a
    tile beyond the map are offered too, as the hardware does; where the input is stored with an
    offset, it and its padding are offered with it.

    Parameters
    ----------
    network : the program's
    frames : int array (rows, cols), or (channels, rows, cols) of several channels
    """
    geometry = program.geometry
    lowered = lower_for(network, geometry)
    native, frames = lowered.network, lowered.arrange(frames)
    trace = reference.run(native, frames)
    values: Array = frames.reshape(program.sent_shape)
    # What the layer computes on, and what is stored of it
    values = values - native.input.zero_point
    offset = geometry.traits.input_offset(native.input.min - native.input.zero_point)
    count = _nonzero if geometry.int8_maps else _popcount
    events = []
    for row in layer_rows(program):
        if row.reads_map:
            ones = count(np.abs(values + offset)).sum(axis=0)
            pad = len(values) * int(count(np.array(offset)))
            if row.depthwise:
                offered = event_model.depthwise_ones(program, row, values)
            elif row.mask_rows:
                offered = event_model.masked_ones(program, row, count(np.abs(values)))
            else:
                offered = row.passes * _offered(
                    ones[:row.rows], pad, row, row.jobs * geometry.tile_rows,
                    row.tiles * geometry.tile_cols)
        else:
            of_word = _vector_events if geometry.traits.event_driven else count
            offered = row.passes * int(of_word(values).sum())
        events.append(offered)
        values, offset = trace.layers[row.name].result, 0
    return events


def _nonzero(values: Array) -> Array:
    nonzero: Array = (values != 0).astype(np.int64)
    return nonzero


def _popcount(values: Array) -> Array:
    return np.bitwise_count(values.astype(np.uint32)).astype(np.int64)


def _vector_events(values: Array) -> Array:
    """Events of the words of a head's vector in the event-driven walk."""
    return event_model.vector_events(values.astype(np.uint64))


def _offered(ones: Array, pad: int, row: LayerRow, rows: int, cols: int) -> int:
    """Sum over all positions of a (rows, cols) grid and all taps of the ones under the tap."""
    top, _, left, _ = row.padding
    kernel_rows, kernel_cols = row.kernel
    row_stride, col_stride = row.stride
    height = (rows - 1) * row_stride + kernel_rows
    width = (cols - 1) * col_stride + kernel_cols
    padded = np.full((height, width), pad, np.int64)
    keep_rows, keep_cols = min(ones.shape[0], height - top), min(ones.shape[1], width - left)
    padded[top:top + keep_rows, left:left + keep_cols] = ones[:keep_rows, :keep_cols]
    return int(sum(
        padded[i:i + (rows - 1) * row_stride + 1:row_stride,
               j:j + (cols - 1) * col_stride + 1:col_stride].sum()
        for i in range(kernel_rows) for j in range(kernel_cols)))
