"""Measure how well a model's scores agree with the labels of held-out clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bamac.cli.main import emit, warn
from bamac.cli.options import array_option, json_option

if TYPE_CHECKING:
    from bamac.evaluation.tables import Row


def _references(rows: Sequence[Row], data: str | None) -> dict[str, dict]:
    """Agreement of what needs no training, from the manifests of the runs' data set."""
    from pathlib import Path

    from bamac import tasks
    from bamac.data import summary as data_summary
    from bamac.data.recipes import number_of
    from bamac.report.accuracy import references

    config = rows[0].config
    task = tasks.of_metadata(config)
    folder = Path(data) if data else task.data.folder(config)
    manifest = data_summary.manifest(folder, "test")[:rows[0].labels.size]
    train = data_summary.manifest(folder, "train")[:config["clips"]]
    for split, found, wanted in (("test", manifest, rows[0].labels.size),
                                 ("train", train, config["clips"])):
        if len(found) < wanted:
            raise click.UsageError(f"{folder} holds {len(found)} {split} clips, not {wanted}; make "
                                   f"the rest with `bamac data --data-recipe "
                                   f"{number_of(config)}`")
    mean = sum(e[task.label.key] for e in train) / len(train)
    return references(manifest, rows[0].labels, mean)


def _table(runs: str, sets: tuple[str, ...], data: str | None, out: str, as_json: bool) -> None:
    """Write the accuracy table of all finished runs."""
    from pathlib import Path

    from bamac.evaluation.runs import read_runs, read_sets
    from bamac.evaluation.tables import rows_of
    from bamac.report.accuracy import accuracy_report

    if Path(runs).is_file() and len(sets) != 1 and len(read_sets(runs)) > 1:
        raise click.UsageError(f"{runs} holds the sets {', '.join(read_sets(runs))}; give one of "
                               f"them with --set")
    found = read_runs(runs, sets)
    rows = rows_of(found.runs)
    path = accuracy_report(rows, found.references or _references(rows, data), out)
    if as_json:
        emit({"report": str(path), "rows": [{"title": r.title, **r.summary()} for r in rows]})
        return
    for row in rows:
        s = row.summary()
        click.echo(f"{row.title:36} {s['seeds']} seed{'s' if s['seeds'] > 1 else ' '} "
                   f"PCC {s['pcc']:.3f}  SRCC {s['srcc']:.3f}  RMSE {s['rmse']:.3f}")
    click.echo(f"written: {path}")


@click.command()
@click.argument("clip", required=False)
@click.option("--model", metavar="FILE.pt|NAME", default=None,
              help="Checkpoint, or the name of a network that ships with bamac. "
                   "[default: paper-bam-w8]")
@click.option("--level", type=click.Choice(["float", "qat", "integer", "qonnx", "rtl"]),
              default="integer", show_default=True,
              help="Which level of the chain computes the scores.")
@click.option("--data", metavar="FOLDER", default=None,
              help="Data set; default: the cache that 'bamac train' built.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test",
              show_default=True)
@click.option("--clips", type=click.IntRange(min=1), default=None, help="Only the first clips.")
@click.option("--table", "runs", metavar="RUNS", default=None,
              type=click.Path(exists=True),
              help="Tabulate all finished runs of 'bamac train' in subfolders of RUNS, or in the "
                   "file RUNS, instead.")
@click.option("--curve", metavar="RUNS", multiple=True,
              type=click.Path(exists=True),
              help="Agreement against training clips and epochs of the runs in subfolders of RUNS, "
                   "or in the file RUNS, instead; may be given several times.")
@click.option("--set", "sets", metavar="NAME", multiple=True,
              help="Only this set of the runs in a file RUNS; may be given several times.")
@click.option("--out", metavar="FOLDER", default="reports", show_default=True,
              help="Where --table and --curve write their Markdown, JSON and plots.")
@array_option
@json_option
def command(clip: str | None, model: str | None, level: str, data: str | None, split: str,
            clips: int | None, runs: str | None, curve: tuple[str, ...], sets: tuple[str, ...],
            out: str, array: str, as_json: bool) -> None:
    """Evaluate a checkpoint at any level of the chain, on audio CLIP or on a data set.

    With CLIP, print its score at that level; without, correlation and error against PESQ, per
    family of voices. The array is that of level rtl.

    \b
    Example: bamac evaluate --model runs/paper/best.pt --level integer
    Example: bamac evaluate speech.wav --level qonnx
    Example: bamac evaluate --table runs --out reports
    Example: bamac evaluate --curve runs --out reports
    Example: bamac evaluate --table reports/runs.json --set recipe-7 --out table
    """
    if runs is not None:
        _table(runs, sets, data, out, as_json)
        return
    if curve:
        from bamac.report.learning_curve import learning_curve

        path = learning_curve(curve, out, sets)
        if as_json:
            emit({"report": str(path)})
        else:
            click.echo(f"written: {path}")
        return
    from bamac.evaluation.levels import evaluate_clip, evaluate_dataset
    from bamac.nn.checkpoint import DEFAULT_MODEL

    if clip is not None:
        result = evaluate_clip(model or DEFAULT_MODEL, clip, level, array, warn)
        if as_json:
            emit(result)
        else:
            windows = len(result["scores"])
            click.echo(f"{clip}  score {result['score']:.4f} at level {level}, "
                       f"{windows} window{'' if windows == 1 else 's'}")
        return
    result = evaluate_dataset(model or DEFAULT_MODEL, level, data, split, clips, array)
    if as_json:
        emit(result)
        return
    from bamac.report.summary import print_agreement

    print_agreement(result)
