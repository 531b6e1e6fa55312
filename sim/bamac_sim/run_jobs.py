"""The cocotb module that runs jobs: :mod:`bamac_sim.simulate` starts it and reads its files.

``BAMAC_JOBS`` names a folder with ``jobs.json`` and, for each job, ``N.npz`` with its program and
frames. It leaves ``N.result.npz`` and ``N.result.json`` for each job that ended well,
``error.json`` for the first that did not, and keeps ``progress.json`` up to date.
"""

import json
import os
import random
import time
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, Timer

from .testbench import AcceleratorTestbench, CheckError, Design

DEFAULT_PATIENCE = 5_000_000


class _Progress:
    """Writes ``progress.json`` now and then."""

    def __init__(self, folder, total_beats):
        self._path, self._total = folder / "progress.json", total_beats
        self._done, self._at = 0, 0.0

    def __call__(self, bench):
        if time.monotonic() - self._at < 0.4:
            return
        self._at = time.monotonic()
        self._write(bench, self._done + bench.source.sent)

    def finished(self, bench, beats):
        """A job of so many beats is done."""
        self._done += beats
        self._write(bench, self._done)

    def _write(self, bench, done):
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"done": done / self._total, "cycles": int(bench.now())}))
        partial.replace(self._path)


def _beats(frames):
    """``(value, last)`` of every value of frames (clips, rows, beats), row by row."""
    last = [0] * (frames.shape[2] - 1) + [1]
    values = (frames & 0xFF).reshape(-1, frames.shape[2]).tolist()
    return [beat for row in values for beat in zip(row, last, strict=True)]


async def _run(dut, folder, job, common, progress, clock):
    with np.load(folder / f"{job['index']}.npz") as content:
        descriptors, weights, frames = (content[name].tolist() if name != "frames"
                                        else content[name].astype(np.int64)
                                        for name in ("descriptors", "weights", "frames"))
    outputs, clips = job["outputs"], len(frames)
    bench = AcceleratorTestbench(
        dut, Design(**common["design"]), job["layers"], idle=job["idle"],
        stall=job["stall"], rng=random.Random(job["seed"]), trace=common["trace"],
        monitors=job["monitors"])
    if clock:
        bench.start_clock()
    beats = _beats(frames)
    patience = job["patience"] or DEFAULT_PATIENCE

    await bench.reset()
    if not job["loaded"]:
        await bench.load(descriptors, weights)
    if job["reset_at"] is not None:
        finished = await bench.start(beats, clips * outputs)
        await ClockCycles(bench.clock, job["reset_at"])
        if finished.done():
            raise CheckError(f"Reset must come before the end of the run, not after "
                             f"{job['reset_at']} cycles")
        await bench.reset()
        if not job["loaded"]:
            await bench.load(descriptors, weights)
    began, began_at = time.perf_counter(), bench.now()
    finished = await bench.start(beats, clips * outputs)
    await bench.watch(finished, patience=patience, report=progress)
    seconds, simulated = time.perf_counter() - began, bench.now() - began_at
    counters = await bench.finish(clips, outputs)
    if bench.source.sent != len(beats):
        raise CheckError(f"All {len(beats)} values must be taken, not {bench.source.sent}")
    bench.stop()
    progress.finished(bench, len(beats))

    arrays = {"outputs": np.array([value for value, _ in bench.sink.received],
                                  np.int64).reshape(clips, outputs)}
    for prefix, collector in (("tile", bench.tiles), ("word", bench.words)):
        if collector is None:
            continue
        for name in collector.FIELDS:
            if name in ("bits", "acc"):
                arrays[f"{prefix}_{name}"] = np.packbits(collector.bits(name), axis=1,
                                                         bitorder="little")
            else:
                arrays[f"{prefix}_{name}"] = collector.column(name)
    np.savez(folder / f"{job['index']}.result.npz", **arrays)
    (folder / f"{job['index']}.result.json").write_text(json.dumps({
        "elapsed": bench.clip_ends(outputs)[-1],
        "clip_ends": bench.clip_ends(outputs),
        "counters": counters,
        "monitors": bench.traffic.counts if bench.traffic else None,
        "seconds": seconds,
        "simulated": round(simulated),
    }))


@cocotb.test()
async def run_jobs(dut):
    """Run all jobs, one after the other."""
    folder = Path(os.environ["BAMAC_JOBS"])
    description = json.loads((folder / "jobs.json").read_text(encoding="utf-8"))
    common, jobs = description["common"], description["jobs"]
    assert jobs, "There must be something to run"
    progress = _Progress(folder, sum(job["beats"] for job in jobs))
    await Timer(1, unit="ns")
    for job in jobs:
        try:
            await _run(dut, folder, job, common, progress, clock=job is jobs[0])
        except Exception as error:
            (folder / "error.json").write_text(json.dumps(
                {"index": job["index"], "kind": type(error).__name__, "text": str(error)}))
            raise
