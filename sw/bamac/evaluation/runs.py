"""Finished training runs, read from the folders that training filled or from one file of many.

A run's folder holds ``report.json``, ``log.jsonl`` and ``test.npz``. A runs file is JSON and keeps
of each run what the tables are made from. Voices and labels stand once, since runs share them::

    {"format": 1,
     "voices": [[name, ...], ...],
     "labels": [[label of a test clip, ...], ...],
     "sets": {SET: {"references": {...} or null,
                    "runs": [{"name", "report", "log", "voices", "labels", "scores", "event"}]}}}

``voices`` and ``labels`` of a run are positions in the two lists, or null. Labels and scores have
five decimals. ``python -m benchmarks.pack_runs`` writes such a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bamac.files import write_text

__all__ = ["AccuracyError", "Run", "RunSet", "read_runs", "read_sets", "write_sets"]

FORMAT = 1
DECIMALS = 5
KEPT_GROUPS = ("level", "all", "family", "language", "degradation", "novelty")
"""Parts of a run's agreement on a split that a runs file keeps."""


class AccuracyError(ValueError):
    """There are no finished runs, or they cannot be compared."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes
    ----------
    name : its folder as it was given, or its name in a runs file
    report : what ``report.json`` holds
    log : one dict per epoch; () if the run trained no epoch of its own
    scores, labels : float64 (clips,) of the test clips, or None
    model : path of ``model.pt``, or None if it is not there
    event : what the event-driven array needs for it, as :mod:`benchmarks.trade_off` measured, or
        None
    """

    name: str
    report: dict
    log: tuple = ()
    scores: np.ndarray | None = None
    labels: np.ndarray | None = None
    model: Path | None = None
    event: dict | None = None

    @property
    def supervised(self):
        """Whether ``bamac train`` made it; a distilled network has no variant."""
        return "variant" in self.report["configuration"]


@dataclass(frozen=True)
class RunSet:
    """Runs that belong together.

    Attributes
    ----------
    runs : tuple of Run
    references : agreement of predictors that need no training, on the same test clips, as
        :func:`bamac.report.accuracy.references` gives it; None if it is not known
    """

    runs: tuple
    references: dict | None = None


def _folder_run(folder):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    log, scores, labels = (), None, None
    if (folder / "log.jsonl").is_file():
        text = (folder / "log.jsonl").read_text(encoding="utf-8")
        log = tuple(json.loads(line) for line in text.splitlines())
    if (folder / "test.npz").is_file():
        with np.load(folder / "test.npz") as data:
            scores, labels = data["scores"], data["labels"]
    model = folder / "model.pt"
    return Run(str(folder), report, log, scores, labels, model if model.is_file() else None)


def read_sets(path):
    """``{name: RunSet}`` of a runs file.

    Raises
    ------
    AccuracyError
        If it is not a runs file of this format.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError
        labels = [np.array(row) for row in found["labels"]]
        return {name: RunSet(tuple(_packed_run(entry, found["voices"], labels)
                                   for entry in group["runs"]), group["references"])
                for name, group in found["sets"].items()}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise AccuracyError(f"{path} must be a runs file of format {FORMAT}, as `python -m "
                            f"benchmarks.pack_runs` writes it") from error


def _packed_run(entry, voices, labels):
    report = entry["report"]
    if entry["voices"] is not None:
        report = {**report, "voices": voices[entry["voices"]]}
    tested = entry["scores"] is not None
    return Run(entry["name"], report, tuple(entry["log"]),
               np.array(entry["scores"]) if tested else None,
               labels[entry["labels"]] if tested else None, event=entry["event"])


def read_runs(path, sets=()):
    """The finished runs in the subfolders of ``path``, or those of a runs file.

    Parameters
    ----------
    path : folder or runs file
    sets : names of sets of the runs file; () for all of them

    Returns
    -------
    RunSet
        Its references are those of the set if it is one alone.

    Raises
    ------
    AccuracyError
        If there is no finished run, the file is damaged, or has no set of that name.
    """
    path = Path(path)
    if path.is_dir():
        if sets:
            raise AccuracyError(f"{path} must be a runs file to have sets, not a folder")
        runs = tuple(_folder_run(found.parent) for found in sorted(path.glob("*/report.json")))
        if not runs:
            raise AccuracyError(f"{path} must hold finished runs of `bamac train` in subfolders")
        return RunSet(runs)
    there = read_sets(path)
    for name in sets:
        if name not in there:
            raise AccuracyError(f"{path} has the sets {', '.join(there)}, not {name!r}")
    chosen = [there[name] for name in (sets or there)]
    return RunSet(tuple(run for group in chosen for run in group.runs),
                  chosen[0].references if len(chosen) == 1 else None)


def _index(rows, row):
    """The position of ``row`` in ``rows``; it is added if it is not there."""
    if row not in rows:
        rows.append(row)
    return rows.index(row)


def _agreement(split):
    return {name: split[name] for name in KEPT_GROUPS if name in split}


def _entry(run, voices, labels):
    report = {name: value for name, value in run.report.items() if name != "voices"}
    for split in ("val", "test"):
        if split in report:
            report[split] = _agreement(report[split])
    tested = run.scores is not None
    found = run.report.get("voices")
    return {"name": Path(run.name).name, "report": report,
            "log": [{name: line[name] for name in ("epoch", "phase", "loss", "val")}
                    for line in run.log],
            "voices": _index(voices, list(found)) if found is not None else None,
            "labels": _index(labels, run.labels.round(DECIMALS).tolist()) if tested else None,
            "scores": run.scores.round(DECIMALS).tolist() if tested else None,
            "event": run.event}


def write_sets(path, sets):
    """Write ``{name: RunSet}`` as a runs file with one line per run, whole or not at all."""
    voices, labels, groups = [], [], []
    for name, group in sets.items():
        entries = [_entry(run, voices, labels)
                   for run in sorted(group.runs, key=lambda run: Path(run.name).name)]
        lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        groups.append(f'{json.dumps(name)}: {{"references": {json.dumps(group.references)}, '
                      f'"runs": [\n{lines}\n]}}')

    def rows(values):
        return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in values) + "\n]"

    write_text(path, f'{{"format": {FORMAT},\n"voices": {rows(voices)},\n"labels": {rows(labels)},'
                     '\n"sets": {\n' + ",\n".join(groups) + "\n}}\n")
