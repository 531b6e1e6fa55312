"""What agreement costs in cycles: PCC against the event-driven array, over settings of training.

``python -m benchmarks.trade_off RUNS [--clips N]`` takes every finished run of ``bamac train``
below RUNS that has its ``model.pt`` and an integer form (variant ``bam-w8``, int8 weights, not
pruned). Its PCC is that of ``report.json`` (the data set's test clips); its cycles are the model's
for the preset ``small_event``, on the clips of :mod:`benchmarks.event_walk`. Writes
``reports/trade-off.md`` and ``reports/trade-off.png``.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.compiler import compile_network
from bamac.data.sources import RECIPE, recipe_of
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


def setting(config):
    """A run's configuration in words: what it shares with all runs here is left out."""
    title = row_title(config).replace("BAM + W8, ", "").replace("BAM + W8", "8-bit input")
    recipe = recipe_of(config)
    clips = f"{config['clips']:,} clips" + (f" of recipe {recipe}" if recipe != RECIPE else "")
    return f"{title}, {clips}, {config['epochs']} + {config['fine_epochs']}"


def measure(folder, clips):
    """``(cycles, share of cycles in which a lane adds, weight reads against dense)`` of a run."""
    network, metadata = load_network(folder / "model.pt")
    integer = integerise(network, metadata)
    found = []
    dense = compile_network(integer, Geometry.preset("small"))
    event = compile_network(integer, Geometry.preset(ARRAY))
    for _, frames in clips_of(clips, integer.input.bits):
        fast = predict(event, integer, frames)
        reads = total(predict(dense, integer, frames)["layers"], "weight_reads")
        found.append((fast["cycles"], adding_cycles(event, fast["layers"]) / fast["cycles"],
                      total(fast["layers"], "weight_reads") / reads))
    return np.mean(found, axis=0)


def points(runs, clips):
    """One dict per setting: means over its seeds."""
    groups = {}
    for path in sorted(Path(runs).glob("*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        config = report["configuration"]
        if (config["variant"] != "bam-w8" or config["prune"] or config["weight_bits"]
                or not (path.parent / "model.pt").exists()):
            continue
        values = (report["test"]["all"]["pcc"], *measure(path.parent, clips),
                  *report["input_unions"])
        groups.setdefault(setting(config), []).append(values)
        print(path.parent.name, *(f"{value:,.3f}" for value in values), flush=True)
    rows = []
    for title, values in groups.items():
        pcc, cycles, adds, reads, *unions = np.mean(values, axis=0).tolist()
        rows.append({"title": title, "seeds": len(values), "pcc": pcc, "cycles": cycles,
                     "adding": adds, "reads": reads, "unions": unions})
    return sorted(rows, key=lambda row: row["cycles"])


def _short(title):
    """A setting as the plot says it: what most share is left to the table."""
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
                          color="black" if front else "#6b7280")
        axis.axvline(320, color="#a8323e", linewidth=1, linestyle="--")
        axis.set(xlabel="cycles per 5 s clip, event-driven walk, 128 lanes (thousands)",
                 ylabel="PCC to PESQ, test clips", title="Agreement against cycles")
        cycles = [row["cycles"] / 1000 for row in rows]
        axis.set_xlim(0.94 * min(cycles), 1.35 * max(cycles))
        axis.margins(y=0.1)
        axis.grid()


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trade_off", description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    arguments = parser.parse_args()
    rows = points(arguments.runs, arguments.clips)
    if not rows:
        parser.error(f"{arguments.runs} must hold finished runs of variant bam-w8 with model.pt")
    plot(rows, REPORTS / "trade-off.png")
    lines = ["# Agreement against cycles", "",
             f"Made by `python -m benchmarks.trade_off RUNS --clips {arguments.clips}` on "
             f"{time.strftime('%Y-%m-%d')} with bamac {version('bamac')}, torch "
             f"{version('torch')}. PCC to PESQ on the test clips of [data.md](data.md); cycles and "
             f"reads from the model (equal to the RTL's counters: [event-walk](event-walk.md)) of "
             f"`{ARRAY}`, means over {arguments.clips} clips; means over seeds. *Unions*: share of "
             "(tap, channel) columns of a 2x2 tile with a one, for the input's planes and the "
             "three binary maps. The plot names what differs from 14,400 clips and 8 + 1 epochs. "
             "The start bias sets the ones of all maps: -1 unless stated.", "",
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
