"""Agreement against training clips and epochs: what more of either would still give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bamac.accuracy import AccuracyError, row_title
from bamac.files import new_file, write_text
from bamac.report.figures import COLOURS, figure

__all__ = ["curve_points", "learning_curve"]


def curve_points(folders):
    """One point per variant, number of clips and number of epochs below any of ``folders``.

    Returns dicts: ``network`` (as in the accuracy table), ``clips``, ``epochs`` (first phase),
    ``fine_epochs``, ``seeds``, ``loss`` (mean squared error in the last epoch of the first phase),
    ``val`` and ``test`` (PCC, means over the seeds), ``minutes`` of training. Runs that start from
    another run are left out.

    Raises
    ------
    AccuracyError
        If no finished run is there.
    """
    groups = {}
    for path in sorted(p for folder in folders for p in Path(folder).glob("*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        config = report["configuration"]
        if config["start"]:
            continue
        lines = [json.loads(line) for line in
                 (path.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        loss = [line["loss"] for line in lines if line["phase"] == "float"][-1]
        key = row_title(config), config["clips"], config["epochs"], config["fine_epochs"]
        groups.setdefault(key, []).append((
            loss, report["val"]["all"]["pcc"], report["test"]["all"]["pcc"],
            report["training_seconds"] / 60))
    if not groups:
        raise AccuracyError(f"{' or '.join(map(str, folders))} must hold finished runs of "
                            f"`bamac train` in subfolders")
    points = []
    for (network, clips, epochs, fine), found in sorted(groups.items()):
        loss, val, test, minutes = np.mean(found, axis=0).tolist()
        points.append({"network": network, "clips": clips, "epochs": epochs, "fine_epochs": fine,
                       "seeds": len(found), "loss": loss, "val": val, "test": test,
                       "minutes": minutes})
    return points


def _panels(points):
    """``(axis, title, curves)``: what is varied while the other is held, where anything is.

    A curve is ``(network, points)``. By clips, the fewest epochs; by epochs, the most clips.
    """
    for varied, held, choose, text in (
            ("clips", "epochs", min, "{:,} epochs on crops"),
            ("epochs", "clips", max, "{:,} clips")):
        value = choose(p[held] for p in points)
        groups = {}
        for point in points:
            if point[held] == value:
                groups.setdefault(point["network"], []).append(point)
        curves = [(name, found) for name, found in groups.items()
                  if len({p[varied] for p in found}) > 1]
        if curves:
            yield varied, text.format(value), curves


def _plot(points, path):
    panels = list(_panels(points))
    labels = {"clips": "training clips of 5 s", "epochs": "epochs on crops"}
    with figure(path, width=3.0 + 3.6 * max(1, len(panels)), height=4.2) as drawing:
        axes = drawing.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
        for axis, (varied, title, curves) in zip(axes, panels, strict=False):
            for (network, found), colour in zip(curves, COLOURS, strict=False):
                for split, style in (("test", "-"), ("val", "--")):
                    axis.plot([p[varied] for p in found], [p[split] for p in found], "o" + style,
                              color=colour, label=f"{network}, {split}", markersize=5)
            ticks = sorted({p[varied] for _, found in curves for p in found})
            axis.set(xscale="log" if varied == "clips" else "linear", xlabel=labels[varied],
                     title=title)
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.minorticks_off()
            axis.grid()
            axis.legend(fontsize=9)
        axes[0].set_ylabel("PCC to PESQ")


def learning_curve(folders, out):
    """Write ``learning-curve.md``, ``.json`` and ``.png`` to ``out``; returns the first's path."""
    points = curve_points(folders)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _plot(points, out / "learning-curve.png")
    lines = ["# Learning curve", "",
             "Agreement with wide-band PESQ of the network trained with as many clips and epochs "
             "(on crops + on whole clips), on the same validation and test clips; loss is the mean "
             "squared error in the last epoch on crops. Means over the seeds. Made by "
             "`bamac evaluate --curve RUNS ...`.", "",
             "![PCC against clips and epochs](learning-curve.png)", "",
             "| network | clips | epochs | seeds | training loss | validation PCC | test PCC | "
             "training (min) |", "|---" * 8 + "|"]
    for p in points:
        lines.append(f"| {p['network']} | {p['clips']:,} | {p['epochs']} + {p['fine_epochs']} | "
                     f"{p['seeds']} | {p['loss']:.3f} | {p['val']:.3f} | {p['test']:.3f} | "
                     f"{p['minutes']:.0f} |")
    write_text(out / "learning-curve.md", "\n".join(lines) + "\n")
    with new_file(out / "learning-curve.json") as temporary:
        temporary.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    return out / "learning-curve.md"
