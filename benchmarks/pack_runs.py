"""Put finished runs into one file, from which ``make reports`` makes the tables again.

``python -m benchmarks.pack_runs SET=FOLDER ... -o reports/runs.json`` adds the finished runs in the
subfolders of each FOLDER to the set of that name. A run of the same name in that set is replaced;
everything else in the file stays. ``--references SET=ACCURACY.json`` takes the agreement of
predictors that need no training from what ``bamac evaluate --table`` wrote for the same test clips.
Runs with a ``model.pt`` that the event-driven array can hold get their cycles there
(:func:`benchmarks.trade_off.measure`). The format is that of :mod:`bamac.evaluation.runs`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from bamac.evaluation.runs import RunSet, read_runs, read_sets, write_sets
from benchmarks.trade_off import CLIPS, eligible, measure


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, not {text!r}")
    return name, value


def pack(sets, name, folder, clips=CLIPS):
    """Add the runs of ``folder`` to the set ``name`` of ``sets``; ``clips`` to measure cycles on.

    Parameters
    ----------
    sets : ``{name: RunSet}``; changed
    """
    kept = sets.get(name, RunSet(()))
    found = {Path(run.name).name: run for run in kept.runs}
    for run in read_runs(folder).runs:
        if eligible(run):
            run = replace(run, event=measure(run.model, clips))
        found[Path(run.name).name] = run
    sets[name] = replace(kept, runs=tuple(found.values()))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pack_runs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=_pair, metavar="SET=FOLDER")
    parser.add_argument("--references", action="append", default=[], type=_pair,
                        metavar="SET=ACCURACY.json")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    chosen = parser.parse_args(arguments)
    sets = read_sets(chosen.out) if chosen.out.exists() else {}
    for name, folder in chosen.runs:
        pack(sets, name, folder)
    for name, path in chosen.references:
        references = json.loads(Path(path).read_text(encoding="utf-8"))["references"]
        sets[name] = replace(sets[name], references=references)
    write_sets(chosen.out, sets)
    for name, group in sets.items():
        print(f"{name}: {len(group.runs)} runs")
    print(f"written: {chosen.out}, {chosen.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
