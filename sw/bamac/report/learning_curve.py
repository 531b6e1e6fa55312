"""The learning curve: agreement against training clips, talkers and epochs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bamac.data.recipes import number_of
from bamac.evaluation.runs import AccuracyError, read_runs
from bamac.evaluation.tables import row_title
from bamac.files import new_file, write_text

from .figures import COLOURS, figure

__all__ = ["curve_points", "learning_curve"]


def curve_points(paths, sets=()):
    """One point per variant, data recipe, number of clips and number of epochs.

    Parameters
    ----------
    paths : folders of runs and runs files, as :func:`bamac.evaluation.runs.read_runs` takes them
    sets : names of sets of the runs files; () for all

    Returns
    -------
    list of dict
        ``network`` (as in the accuracy table), ``recipe`` and ``talkers`` (voices) of the training
        clips, ``clips``, ``epochs`` (first phase), ``fine_epochs``, ``seeds``, ``loss`` (mean
        squared error in the last epoch of the first phase), ``val`` and ``test`` (PCC, means over
        the seeds), ``minutes`` of training, and for each epoch of the first phase ``train_rmse``
        (in that epoch, on crops) and ``val_rmse``. Runs that start from another run and runs of
        ``bamac distil`` are left out.

    Raises
    ------
    AccuracyError
        If no finished run is there, or a run has no log of its first phase.
    """
    groups = {}
    for run in (run for path in paths for run in read_runs(path, sets).runs if run.supervised):
        report = run.report
        config = report["configuration"]
        if config["start"]:
            continue
        first = [line for line in run.log if line["phase"] == "float"]
        if not first:
            raise AccuracyError(f"{run.name} must have a log of its epochs in log.jsonl")
        key = (row_title(config), number_of(config), config["clips"], config["epochs"],
               config["fine_epochs"])
        groups.setdefault(key, []).append((
            (first[-1]["loss"], report["val"]["all"]["pcc"], report["test"]["all"]["pcc"],
             report["training_seconds"] / 60, len(report.get("voices", ()))),
            [(line["loss"] ** 0.5, line["val"]["rmse"]) for line in first]))
    if not groups:
        raise AccuracyError(f"{' or '.join(map(str, paths))} must hold finished runs of "
                            f"`bamac train` in subfolders")
    points = []
    for (network, recipe, clips, epochs, fine), found in sorted(groups.items()):
        loss, val, test, minutes, talkers = np.mean([ends for ends, _ in found], axis=0).tolist()
        train_rmse, val_rmse = np.mean([way for _, way in found], axis=0).T.round(4).tolist()
        points.append({"network": network, "recipe": recipe, "talkers": round(talkers),
                       "clips": clips, "epochs": epochs, "fine_epochs": fine,
                       "seeds": len(found), "loss": loss, "val": val, "test": test,
                       "minutes": minutes, "train_rmse": train_rmse, "val_rmse": val_rmse})
    return points


def _curves(points):
    """The fewest epochs, and ``(name, points)`` of the curves over numbers of clips with them.

    Networks with a single point are left out unless all are such. Every data recipe has curves of
    its own; all but the first name it.
    """
    epochs = min(p["epochs"] for p in points)
    usual = min(p["recipe"] for p in points)
    groups = {}
    for point in points:
        if point["epochs"] == epochs:
            other = f", data recipe {point['recipe']}" if point["recipe"] != usual else ""
            groups.setdefault(point["network"] + other, []).append(point)
    several = [(name, found) for name, found in groups.items() if len(found) > 1]
    return epochs, several or list(groups.items())


def _plot(points, path):
    epochs, curves = _curves(points)
    with figure(path, width=10.5, height=4.4) as drawing:
        by_clips, by_epoch = drawing.subplots(1, 2)
        for (network, found), colour in zip(curves, COLOURS, strict=False):
            for split, name, style in (("test", "test", "-"), ("val", "validation", "--")):
                by_clips.plot([p["clips"] for p in found], [p[split] for p in found], "o" + style,
                              color=colour, label=f"{network}, {name}", markersize=5)
            most = found[-1]
            at = range(1, len(most["val_rmse"]) + 1)
            for values, name, style in (("val_rmse", "validation", "--"),
                                        ("train_rmse", "training", ":")):
                by_epoch.plot(at, most[values], "o" + style, color=colour, markersize=5,
                              label=f"{network}, {name}")
        ticks = sorted({p["clips"] for _, found in curves for p in found})
        by_clips.set(xscale="log", xlabel="training clips of 5 s", ylabel="PCC to PESQ",
                     title=f"{epochs} epochs on crops")
        by_clips.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        by_clips.minorticks_off()
        by_epoch.set(xlabel="epoch on crops", ylabel="RMSE (PESQ)",
                     title=f"{max(p['clips'] for _, found in curves for p in found):,} clips")
        by_epoch.xaxis.get_major_locator().set_params(integer=True)
        for axis in (by_clips, by_epoch):
            axis.grid()
            axis.legend(fontsize=9)


def learning_curve(paths, out, sets=()):
    """Write ``learning-curve.md``, ``.json`` and ``.png`` to ``out``; returns the first's path.

    ``paths`` and ``sets`` are those of :func:`curve_points`.
    """
    points = curve_points(paths, sets)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _plot(points, out / "learning-curve.png")
    lines = ["# Learning curve", "",
             "Agreement with wide-band PESQ of the network trained with as many talkers, clips and "
             "epochs (on crops + on whole clips), on the same validation and test clips; loss is "
             "the mean squared error in the last epoch on crops. Means over the seeds. Made by "
             "`bamac evaluate --curve RUNS ...`.", "",
             "![PCC against clips, RMSE by epoch](learning-curve.png)", "",
             "Right: the error on the clips that the network learns from, and on validation clips, "
             "whose talkers it never meets.", "",
             "| network | data recipe | talkers | clips | epochs | seeds | training loss | "
             "validation PCC | test PCC | training (min) |", "|---" * 10 + "|"]
    for p in points:
        lines.append(f"| {p['network']} | {p['recipe']} | {p['talkers']} | {p['clips']:,} | "
                     f"{p['epochs']} + {p['fine_epochs']} | "
                     f"{p['seeds']} | {p['loss']:.3f} | {p['val']:.3f} | {p['test']:.3f} | "
                     f"{p['minutes']:.0f} |")
    write_text(out / "learning-curve.md", "\n".join(lines) + "\n")
    with new_file(out / "learning-curve.json") as temporary:
        temporary.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    return out / "learning-curve.md"
