"""Agreement against cycles of the event-driven array, over settings of training.

``python -m benchmarks.trade_off RUNS [--clips N]`` takes every finished run of ``bamac train`` in
RUNS, a folder or a runs file, that has int8 weights, binary maps and no pruning. PCC is that of the
run's report, on the test clips. Cycles are predicted by the exact model for the preset
``small_event``, on the clips of :mod:`benchmarks.event_walk`: for a folder from each ``model.pt``,
for a runs file when it was packed. Writes ``reports/trade-off.md`` and ``reports/trade-off.png``.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.compiler import compile_network
from bamac.data.recipes import DEFAULT, number_of
from bamac.evaluation.runs import read_runs
from bamac.evaluation.tables import row_title, short_title
from bamac.files import write_text
from bamac.nn.checkpoint import load_network
from bamac.nn.lowering import integerise
from bamac.perf.cycles import adding_cycles, predict
from bamac.report.figures import COLOURS, figure
from bamac_hw.geometry import Geometry
from benchmarks.event_walk import clips_of, total

REPORTS = Path(__file__).parents[1] / "reports"
ARRAY = "small_event"
CLIPS = 20
TARGET = 320_000
"""Cycles per clip that the array should stay below."""


def setting(config):
    """A run's configuration in words, without what all runs here share."""
    title = row_title(config).replace("BAM + W8, ", "").replace("BAM + W8", "8-bit input")
    recipe = number_of(config)
    other = f" of recipe {recipe}" if recipe != DEFAULT.number else ""
    clips = f"{config['clips']:,} clips{other}"
    return f"{title}, {clips}, {config['epochs']} + {config['fine_epochs']}"


def eligible(run):
    """Whether the array can run it and its cycles are known or can be predicted."""
    if not run.supervised or not (run.model or run.event):
        return False
    config = run.report["configuration"]
    return (config["variant"] == "bam-w8" and not config["prune"] and not config["weight_bits"])


def measure(model, clips=CLIPS):
    """What the event-driven array needs for a checkpoint: means over ``clips`` clips.

    Returns
    -------
    dict
        ``array``, ``clips``, ``date``, ``cycles`` per clip, ``adding`` (share of the cycles in
        which a lane adds), ``reads`` (weight reads against those of the dense walk).
    """
    network, metadata = load_network(model)
    integer = integerise(network, metadata)
    found = []
    dense = compile_network(integer, Geometry.preset("small"))
    event = compile_network(integer, Geometry.preset(ARRAY))
    for _, frames in clips_of(clips, integer.input.bits):
        fast = predict(event, integer, frames)
        reads = total(predict(dense, integer, frames)["layers"], "weight_reads")
        found.append((fast["cycles"], adding_cycles(event, fast["layers"]) / fast["cycles"],
                      total(fast["layers"], "weight_reads") / reads))
    cycles, adding, reads = np.mean(found, axis=0).tolist()
    return {"array": ARRAY, "clips": clips, "date": time.strftime("%Y-%m-%d"), "cycles": cycles,
            "adding": adding, "reads": reads}


def points(runs, clips=CLIPS):
    """One dict per setting, fewest cycles first: means over its seeds.

    Raises
    ------
    ValueError
        If the runs were packed with cycles on another number of clips.
    """
    groups = {}
    for run in filter(eligible, runs):
        found = run.event or measure(run.model, clips)
        if found["clips"] != clips:
            raise ValueError(f"Clips must be {found['clips']}, as {run.name} was measured on, not "
                             f"{clips}")
        groups.setdefault(setting(run.report["configuration"]), []).append((run, found))
        print(run.name, f"{found['cycles']:,.0f}", flush=True)
    rows = []
    for title, members in groups.items():
        values = [(run.report["test"]["all"]["pcc"], found["cycles"], found["adding"],
                   found["reads"], *run.report["input_unions"]) for run, found in members]
        pcc, cycles, adds, reads, *unions = np.mean(values, axis=0).tolist()
        rows.append({"title": title, "seeds": len(values), "pcc": pcc, "cycles": cycles,
                     "adding": adds, "reads": reads, "unions": unions,
                     "date": max(found["date"] for _, found in members)})
    return sorted(rows, key=lambda row: row["cycles"])


def _short(title):
    """A setting as a label of the plot, without what most settings share."""
    return short_title(title).replace(", 14,400 clips, 8 + 1", "")


def plot(rows, path):
    with figure(path, width=8.6, height=max(4.2, 0.55 * len(rows))) as drawing:
        axis = drawing.subplots()
        best = -1.0
        for row in rows:
            front = row["pcc"] > best
            best = max(best, row["pcc"])
            axis.plot(row["cycles"] / 1000, row["pcc"], "o", color=COLOURS[0 if front else 5])
            axis.annotate(_short(row["title"]), (row["cycles"] / 1000, row["pcc"]), fontsize=8.5,
                          xytext=(7, 0), textcoords="offset points", va="center",
                          color="black" if front else "#6b7280", zorder=3,
                          bbox={"boxstyle": "square,pad=0.1", "facecolor": "white",
                                "edgecolor": "none"})
        axis.axvline(TARGET / 1000, color="#a8323e", linewidth=1, linestyle="--", zorder=1)
        axis.annotate(f"target: {TARGET:,}", (TARGET / 1000, 0), fontsize=8.5, color="#a8323e",
                      xycoords=("data", "axes fraction"), xytext=(5, 6),
                      textcoords="offset points")
        axis.set(xlabel="cycles per 5 s clip, event-driven walk, 128 lanes (thousands)",
                 ylabel="PCC to PESQ, test clips", title="Agreement against cycles")
        cycles = [row["cycles"] / 1000 for row in rows]
        axis.set_xlim(0.94 * min(cycles), 1.35 * max(cycles))
        axis.margins(y=0.1)
        axis.grid()


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trade_off", description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--clips", type=int, default=CLIPS)
    arguments = parser.parse_args()
    try:
        rows = points(read_runs(arguments.runs).runs, arguments.clips)
    except ValueError as error:
        parser.error(str(error))
    if not rows:
        parser.error(f"{arguments.runs} must hold finished runs of variant bam-w8 with model.pt")
    plot(rows, REPORTS / "trade-off.png")
    lines = ["# Agreement against cycles", "",
             f"Made by `python -m benchmarks.trade_off RUNS --clips {arguments.clips}` on "
             f"{max(row['date'] for row in rows)} with bamac {version('bamac')}. PCC to PESQ on "
             "the test clips of [data.md](data.md); cycles and "
             f"reads from the model (equal to the RTL's counters: [event-walk](event-walk.md)) of "
             f"`{ARRAY}`, means over {arguments.clips} clips; means over seeds. *Unions*: share of "
             "(tap, channel) columns of a 2x2 tile with a one, for the input's planes and the "
             "three binary maps. The plot names what differs from 14,400 clips and 8 + 1 epochs. "
             "The start bias sets the density of all maps: -1 unless stated.", "",
             "![PCC against cycles](trade-off.png)", "",
             "| setting | seeds | PCC | cycles | a lane adds | weight reads against dense | unions "
             "|", "|---" * 7 + "|"]
    for row in rows:
        unions = ", ".join(f"{100 * share:.0f} %" for share in row["unions"])
        lines.append(f"| {row['title']} | {row['seeds']} | {row['pcc']:.3f} | "
                     f"{row['cycles']:,.0f} | {row['adding']:.1%} | {row['reads']:.3f} | "
                     f"{unions} |")
    write_text(REPORTS / "trade-off.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
