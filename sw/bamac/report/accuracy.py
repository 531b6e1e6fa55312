"""The accuracy table as Markdown with plots, from the rows of :mod:`bamac.evaluation.tables`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bamac.data.labels import P808, PESQ
from bamac.evaluation.metrics import pcc, rmse, srcc
from bamac.evaluation.tables import (
    bootstrap,
    memory_bytes,
    network_of,
    short_title,
    streaming_bytes,
)
from bamac.files import new_file, write_text

from .figures import COLOURS, figure

__all__ = ["accuracy_report", "references"]


def references(manifest, labels, train_mean):
    """Agreement of predictors that need no training: the mean label, and the released DNSMOS.

    Parameters
    ----------
    manifest : entries of the test clips, in the order of their labels
    labels : float64 (clips,)
    train_mean : mean of the training labels

    Returns
    -------
    dict
        ``{name: {"pcc", "srcc", "rmse"}}``; correlations with a constant are None.
    """
    p808 = np.array([entry[P808.key] for entry in manifest])
    constant = np.full_like(labels, train_mean)
    # DNSMOS has another scale, so its RMSE is that after the best linear fit
    slope, offset = np.polyfit(p808, labels, 1)
    return {"mean of the training labels": {"pcc": None, "srcc": None,
                                            "rmse": rmse(constant, labels)},
            "released DNSMOS P.808": {"pcc": pcc(p808, labels), "srcc": srcc(p808, labels),
                                      "rmse": rmse(slope * p808 + offset, labels)}}


def _number(mean, spread=None, digits=3):
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def _epochs(config):
    """Epochs on crops + on whole clips; those on crops may belong to the run it started from."""
    return f"{config['epochs']} + {config['fine_epochs']}"


def _main_table(rows, memories, refs, clips):
    lines = ["| network | epochs | seeds | PCC | 95 % interval | SRCC | RMSE | mean error | "
             "weights (kB) | maps (kB) | smaller than fp32 | streamed maps (kB) | "
             "smaller, streamed | sums instead of products |", "|---" * 14 + "|"]
    for row, memory in zip(rows, memories, strict=True):
        s = row.summary()
        low, high = bootstrap(row)
        total = memory["weights"] + memory["maps"]
        live = memory["weights"] + memory["streamed"]
        share = memory["replaced"]
        lines.append(
            f"| {row.title} | {_epochs(row.config)} | {s['seeds']} | "
            f"{_number(s['pcc'], s['pcc_std'])} | "
            f"{low:.3f} .. {high:.3f} | {_number(s['srcc'], s['srcc_std'])} | "
            f"{_number(s['rmse'], s['rmse_std'])} | {s['bias']:+.2f} | "
            f"{memory['weights'] / 1000:.1f} | {memory['maps'] / 1000:.1f} | "
            f"{memory['fp32'] / total:.1f}x | {memory['streamed'] / 1000:.1f} | "
            f"{memory['fp32'] / live:.1f}x | {share:.1%} |")
    for name, ref in refs.items():
        lines.append(f"| *{name}* | | | {_number(ref['pcc'])} | | {_number(ref['srcc'])} | "
                     f"{_number(ref['rmse'])} | | | | | | | |")
    return lines


def _group_table(title, key, shown):
    """Groups of test clips against rows; a group without a correlation has a dash."""
    lines = [f"| {title} | clips | label std | " + " | ".join(f"{r.title}: PCC | RMSE"
                                                            for r in shown) + " |",
             "|---" * (3 + 2 * len(shown)) + "|"]
    for name, group in sorted(shown[0].groups.get(key, {}).items()):
        cells = [_number(row.groups[key][name][figure]) for row in shown
                 for figure in ("pcc", "rmse")]
        lines.append(f"| {name} | {group['clips']} | {group['label_std']:.2f} | "
                     + " | ".join(cells) + " |")
    return lines


VARIANT_COLOURS = {"bam-w8": COLOURS[0], "fp32": COLOURS[1], "bam": COLOURS[2], "w8": COLOURS[3]}


def _scatter(row, path):
    with figure(path, width=6.2, height=5.4) as drawing:
        axis = drawing.subplots()
        scores = row.scores[0]
        axis.plot(PESQ.scale, PESQ.scale, color="#8a929c", linewidth=1)
        axis.plot(row.labels, scores, ".", markersize=4, alpha=0.45, color=COLOURS[0])
        axis.set(xlabel="PESQ (label)", ylabel="predicted PESQ", xlim=PESQ.scale, ylim=PESQ.scale,
                 aspect="equal",
                 title=f"{row.title}\nPCC {pcc(scores, row.labels):.3f}, RMSE "
                       f"{rmse(scores, row.labels):.2f}, {row.labels.size:,} clips")
        axis.grid()


def _by_damage(shown, path):
    groups = shown[0].groups.get("degradation", {})
    names = sorted(groups)
    with figure(path, height=4.0) as drawing:
        axis = drawing.subplots()
        width = 0.8 / len(shown)
        at = np.arange(len(names))
        for i, row in enumerate(shown):
            axis.bar(at + (i - (len(shown) - 1) / 2) * width,
                     [row.groups["degradation"][name]["rmse"] for name in names], width * 0.92,
                     color=VARIANT_COLOURS[row.config["variant"]], label=row.title)
        axis.set_xticks(at, [f"{n}\n({groups[n]['clips']})" for n in names])
        axis.set(ylabel="RMSE (PESQ)", title="Error by degradation (test clips with it)")
        axis.margins(y=0.18)
        axis.legend(ncols=len(shown), loc="upper right")
        axis.grid(axis="y")


def _spread(values, gap):
    """Positions near ``values``, which are in falling order, at least ``gap`` apart."""
    places = []
    for value in values:
        places.append(min([value, *(place - gap for place in places[-1:])]))
    shift = (sum(values) - sum(places)) / max(1, len(values))
    return [place + shift for place in places]


def _memory(rows, memories, path):
    points = sorted(((r.summary(), (m["weights"] + m["maps"]) / 1000, r)
                     for r, m in zip(rows, memories, strict=True)), key=lambda p: -p[0]["pcc"])
    height = max(4.6, 0.36 * len(points))
    with figure(path, width=11.5, height=height) as drawing:
        axis = drawing.subplots()
        span = max(0.05, points[0][0]["pcc"] - points[-1][0]["pcc"])
        for binary, names_at in ((True, 430), (False, 7_500)):
            group = [p for p in points if p[2].config["variant"].startswith("bam") == binary]
            places = _spread([p[0]["pcc"] for p in group], 1.25 * span * 0.2 / height)
            for (s, size, row), place in zip(group, places, strict=True):
                colour = VARIANT_COLOURS["bam-w8" if binary else "fp32"]
                axis.errorbar(size, s["pcc"], yerr=s["pcc_std"], color=colour, capsize=3,
                              fmt="o" if binary else "s")
                axis.annotate(short_title(row.title), (size, s["pcc"]), fontsize=8.5,
                              va="center", xytext=(names_at, place),
                              arrowprops={"arrowstyle": "-", "color": "#8a929c",
                                          "linewidth": 0.7, "relpos": (0.0, 0.5)})
        axis.set_xscale("log")
        axis.set_xlim(100, 24_000)
        axis.set(xlabel="weights and activation maps by the paper's count (kB)",
                 ylabel="PCC to PESQ, test clips", title="Agreement against memory")
        axis.margins(y=0.12)
        axis.grid()


def accuracy_report(rows, refs, folder):
    """Write ``accuracy.md``, ``accuracy.json`` and three plots to ``folder``.

    Parameters
    ----------
    rows : of :func:`bamac.evaluation.tables.rows_of`
    refs : of :func:`references`
    folder : where to write; made if it is not there

    Returns
    -------
    pathlib.Path
        Of ``accuracy.md``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    memories, density_rows = [], []
    for row in rows:
        net = network_of(row.config)
        memories.append({**memory_bytes(row.config, net), "replaced": _replaced(net),
                         "streamed": streaming_bytes(net)})
        if net.binary:
            density_rows.append((row.title, row.densities, row.tile_densities))
    compared = _compared(rows)
    titles = [row.title for row in compared] + ["BAM"]
    shown = [row for row in rows if row.title in titles] or rows[:1]
    _scatter((compared or rows)[-1], folder / "accuracy-scatter.png")
    _by_damage(shown, folder / "accuracy-damage.png")
    _memory(rows, memories, folder / "accuracy-memory.png")
    lines = _text(rows, memories, refs, shown, density_rows)
    write_text(folder / "accuracy.md", "\n".join(lines) + "\n")
    with new_file(folder / "accuracy.json") as temporary:
        temporary.write_text(json.dumps({
            "rows": [{"title": r.title, "configuration": r.config, **r.summary(),
                      "seconds": list(r.seconds), "pcc_by_seed": r.over_seeds(pcc).tolist(),
                      "interval": list(bootstrap(r)), "memory": m}
                     for r, m in zip(rows, memories, strict=True)],
            "references": refs}, indent=1) + "\n", encoding="utf-8")
    return folder / "accuracy.md"


def _replaced(config):
    """Share of multiply-accumulates that have a binary activation."""
    if not config.binary:
        return 0.0
    macs, channels = [], 1
    rows, cols = config.rows, config.cols
    for spec in config.convs:
        top, bottom, left, right = spec.pads()
        area = ((rows + top + bottom - spec.kernel[0] + 1)
                * (cols + left + right - spec.kernel[1] + 1))
        macs.append(area * spec.out_channels * channels * spec.kernel[0] * spec.kernel[1])
        rows, cols = spec.out_shape(rows, cols)
        channels = spec.out_channels
    head = 0
    for size in (*config.dense, config.outputs):
        head += channels * size
        channels = size
    return sum(macs[1:]) / (sum(macs) + head)


def _compared(rows):
    """The rows that the report compares: full precision, and binary maps with int8 weights.

    Only rows with 8-bit input and 8-bit weights that are not pruned. Of several, the one with the
    most seeds, then with the best mean PCC. Each may be missing.
    """
    compared = []
    for variant in ("fp32", "bam-w8"):
        found = [row for row in rows if row.config["variant"] == variant
                 and row.config["input_bits"] == 8 and not row.config["prune"]
                 and set(row.config["weight_bits"]) <= {8}]
        if found:
            compared.append(max(found, key=lambda row: (len(row.scores), row.summary()["pcc"])))
    return compared


def _text(rows, memories, refs, shown, density_rows):
    lines = ["# Accuracy", ""]
    if len(_compared(rows)) == 2:
        full, binary = _compared(rows)
        low, high = bootstrap(binary, less=full)
        full, binary = full.summary(), binary.summary()
        seeds = min(full["seeds"], binary["seeds"])
        lines += [f"**Binary maps with int8 weights against full precision: PCC "
                  f"{binary['pcc']:.3f} against {full['pcc']:.3f} "
                  f"(difference {binary['pcc'] - full['pcc']:+.3f}, mean of {seeds} "
                  f"seed{'s' if seeds > 1 else ''}; 95 % interval over test clips "
                  f"{low:+.3f} .. {high:+.3f}).**", ""]
    config = rows[0].config
    lines += ["Agreement with wide-band PESQ on "
              f"{rows[0].labels.size:,} clips of voices, languages, noises and rooms that are not "
              "in the training data; some have kinds of damage that training never has (see "
              "[data.md](data.md)). Made by `bamac evaluate --table RUNS` from runs of "
              f"`bamac train` on {config['clips']:,} training clips (unless a row says otherwise); "
              "every row's recipe is in `accuracy.json`. *Epochs*: on crops + on whole clips. "
              "Mean ± standard deviation over seeds; the interval is the 95 % bootstrap over test "
              "clips. Figures of groups of clips are means of what each run reports, with four "
              "decimals. Memory by the paper's count: all parameters, and every convolution's map, "
              "whole and before its pool; the input does not count. *Streamed*: the rows that are "
              "stored at a time when all layers stream, the input's included, as the compiler "
              "schedules them. *Smaller, streamed* compares them with fp32 and whole maps.", "",
              *_main_table(rows, memories, refs, rows[0].labels.size), "",
              "The released DNSMOS P.808 predicts opinions, not PESQ; its RMSE is after the best "
              "straight line.", "",
              "![Predicted against true PESQ](accuracy-scatter.png)", "",
              "![Agreement against memory](accuracy-memory.png)", "",
              "![Error by degradation](accuracy-damage.png)"]
    for title, key in (("seen or unseen damage", "novelty"), ("degradation", "degradation"),
                       ("language", "language"), ("kind of recording", "family")):
        lines += ["", f"## By {title}", "", *_group_table(title, key, shown)]
    if density_rows:
        lines += ["", "## Activation density", "",
                  "Activation density: the share of bits that are 1 in the input of each "
                  "convolution (for conv1 in the input's bit planes). In brackets: the density "
                  "of 2x2 tiles, which is the share of (tap, channel) columns in which at least "
                  "one of the four pixels is active, and is what an array that skips zeros "
                  "spends cycles on. First seed, 200 test clips.", "",
                  "| network | " + " | ".join(f"conv{i + 1}" for i in
                                              range(len(density_rows[0][1]))) + " |",
                  "|---" * (1 + len(density_rows[0][1])) + "|"]
        for title, densities, tile_densities in density_rows:
            lines.append(f"| {title} | " + " | ".join(
                f"{100 * a:.1f} % ({100 * b:.1f} %)" for a, b in zip(densities, tile_densities,
                                                                strict=True))
                + " |")
    return lines
