"""Agreement against training clips and epochs: what more of either would still give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bamac.accuracy import AccuracyError, row_title
from bamac.files import new_file, write_text
from bamac.report.figures import COLOURS, figure

__all__ = ["curve_points", "learning_curve"]


def curve_points(folder):
    """One point per variant, number of clips and number of epochs below ``folder``.

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
    for path in sorted(Path(folder).glob("*/report.json")):
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
        raise AccuracyError(f"{folder} must hold finished runs of `bamac train` in subfolders")
    points = []
    for (network, clips, epochs, fine), found in sorted(groups.items()):
        loss, val, test, minutes = np.mean(found, axis=0).tolist()
        points.append({"network": network, "clips": clips, "epochs": epochs, "fine_epochs": fine,
                       "seeds": len(found), "loss": loss, "val": val, "test": test,
                       "minutes": minutes})
    return points


def _plot(points, path):
    with figure(path, width=9.0, height=4.2) as drawing:
        left, right = drawing.subplots(1, 2, sharey=True)
        most = max(p["clips"] for p in points)
        shortest = min(p["epochs"] for p in points)
        for network, colour in zip(dict.fromkeys(p["network"] for p in points), COLOURS,
                                   strict=False):
            mine = [p for p in points if p["network"] == network]
            for axis, x, chosen in (
                    (left, "clips", [p for p in mine if p["epochs"] == shortest]),
                    (right, "epochs", [p for p in mine if p["clips"] == most])):
                for split, style in (("test", "-"), ("val", "--")):
                    axis.plot([p[x] for p in chosen], [p[split] for p in chosen], "o" + style,
                              color=colour, label=f"{network}, {split}", markersize=5)
        left.set(xscale="log", xlabel="training clips of 5 s", ylabel="PCC to PESQ",
                 title=f"{shortest} epochs on crops")
        clips = sorted({p["clips"] for p in points})
        left.set_xticks(clips, [f"{c:,}" for c in clips])
        left.minorticks_off()
        right.set(xlabel="epochs on crops", title=f"{most:,} clips")
        right.set_xticks(sorted({p["epochs"] for p in points if p["clips"] == most}))
        for axis in (left, right):
            axis.grid()
        left.legend(fontsize=9)


def learning_curve(folder, out):
    """Write ``learning-curve.md``, ``.json`` and ``.png`` to ``out``; returns the first's path."""
    points = curve_points(folder)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _plot(points, out / "learning-curve.png")
    lines = ["# Learning curve", "",
             "Agreement with wide-band PESQ of the network trained with as many clips and epochs "
             "(on crops + on whole clips), on the same validation and test clips; loss is the mean "
             "squared error in the last epoch on crops. Means over the seeds. Made by "
             "`bamac evaluate --curve RUNS`.", "",
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
