"""A whole sweep: networks and clips in, a table and its figures out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bamac import load
from bamac_hw.program import Program

from . import evaluate as calls
from .plots import pareto_plot, shape, traffic_plot
from .points import ExploreError
from .report import write_report
from .sweep import Task, run
from .table import mark_front, write_csv, write_json

__all__ = ["Study"]


class Study:
    """Some networks on some arrays.

    Parameters
    ----------
    points : list of Point
    models : sequence of path
        ``.onnx``, ``.pt`` or a program's folder, whose network is taken; empty: the model that
        ships with bamac.
    clips : sequence of path
        Audio or ``.npy``; empty: the clips that ship with bamac. Each may hold several windows.
    store : Store
    executor : callable
        See :func:`bamac.explore.sweep.run`.
    array : Geometry, optional
        Its memories are used; see :func:`bamac.explore.evaluate.fit_memories`.
    warn : callable(text), optional

    Raises
    ------
    GraphError, InputError, FileNotFoundError
        If a model or a clip cannot be used.
    """

    def __init__(self, points, models, clips, store, executor, *, array=None, warn=None):
        self._points, self._store, self._executor, self._array = points, store, executor, array
        paths = [Path(path) for path in models] or [load.default_model()]
        if len(set(paths)) < len(paths):
            raise ExploreError("Each model must be named once")
        clips = [Path(path) for path in clips] or load.demo_clips()
        self._inputs = {}
        for path, name in zip(paths, _names(paths), strict=True):
            network = _load(path)
            frames = np.concatenate([_frames(network, clip, warn) for clip in clips])
            self._inputs[name] = (network, frames.astype(np.int16))

    @property
    def dimensions(self):
        """Names of the geometry's fields that are swept."""
        return list(self._points[0].to_dict())

    def about(self):
        """What went in, as plain values."""
        return {"version": calls.model_version(),
                "dimensions": self.dimensions,
                "array": self._array.name if self._array else None,
                "clips": max(len(frames) for _, frames in self._inputs.values()),
                "models": {name: {"network_digest": network.digest(),
                                  "clips_digest": calls.digest_of_clips(frames)}
                           for name, (network, frames) in self._inputs.items()}}

    def predict(self, progress=None):
        """A row for every network and point, see :func:`bamac.explore.evaluate.evaluate`."""
        tasks, heads = [], []
        memories = self._array.to_dict() if self._array else None
        for name, (network, frames) in self._inputs.items():
            for point in self._points:
                key = self._store.key("point", point.to_dict(), memories, network.digest(),
                                      calls.digest_of_clips(frames), calls.model_version())
                tasks.append(Task(key, calls.evaluate, (point, network, frames, self._array)))
                heads.append({"model": name, **point.to_dict()})
        results = run(tasks, self._executor, self._store, progress=progress)
        rows = [head | result for head, result in zip(heads, results, strict=True)]
        mark_front(rows)
        return rows

    def synthesise(self, rows, target, progress=None, *, shapes=None):
        """Fill in ``lut`` and the other kinds of cells of the rows on the front.

        With ``shapes``, such as ``["2x2x32"]``, of all rows with these tiles and channels instead.
        """
        from bamac.fpga.targets import Target

        Target.named(target)
        chosen = [row for row in rows if row["status"] == "ok"
                  and (row["front"] if shapes is None else shape(row) in shapes)]
        geometries = [calls.geometry_of(row) for row in chosen]
        tasks = [Task(self._store.key("synth", geometry.digest(), target, calls.model_version()),
                      calls.synthesise, (geometry, target)) for geometry in geometries]
        results = run(tasks, self._executor, self._store, progress=progress)
        for row, result in zip(chosen, results, strict=True):
            if result.get("status") == "failed":
                row["reason"] = f"synthesis for {target}: {result['reason']}"
            else:
                row |= {"target": target, **result}

    @staticmethod
    def write(result, folder, names):
        """Write the table, the figures and the report; returns their paths."""
        paths = {kind: Path(folder) / name for kind, name in names.items()}
        rows, dimensions = result["rows"], result["about"]["dimensions"]
        write_csv(paths["csv"], rows)
        write_json(paths["json"], result)
        if not any(row["status"] == "ok" for row in rows):
            return [paths["csv"], paths["json"]]
        pareto_plot(paths["pareto"], rows, dimensions)
        traffic_plot(paths["traffic"], rows, dimensions)
        write_report(paths["report"], result, names)
        return list(paths.values())


def _names(paths):
    """A short name for each path: its stem, or more of the path where two stems are equal."""
    whole = [path.absolute() for path in paths]
    candidates = [[path.stem for path in whole]]
    longest = max(len(path.parts) for path in whole)
    candidates += [["/".join(path.with_suffix("").parts[-length:]) for path in whole]
                   for length in range(2, longest)]
    candidates += [[str(path) for path in paths]]
    return next(names for names in candidates if len(set(names)) == len(names))


def _load(path):
    if path.is_dir() and (path / "manifest.json").is_file():
        return load.network_of(path, Program.load(path))
    return load.load_model(path)


def _frames(network, clip, warn):
    if clip.suffix == ".npy":
        return load.frames_of_file(network.input, clip)
    return load.frames_of_clip(network.input, network.name, network.front_end, clip, warn)[0]
