"""The data set in words: a terminal summary, and data.md with its picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bamac.data import recipes
from bamac.data.labels import LABELS
from bamac.data.summary import EDGES
from bamac.files import write_text

from .figures import COLOURS, figure

__all__ = ["data_text", "write_report"]

def _histogram(counts):
    """One line of blocks, as high as the share of clips in each bin."""
    top = max(counts) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * n / top)] for n in counts)


def data_text(summary: Mapping[str, Any]) -> str:
    """A few lines for a terminal."""
    lines = []
    for split, s in summary["splits"].items():
        lines.append(f"{split:6}{s['clips']:7,} clips {s['hours']:6.1f} h  "
                     f"{len(s['voices'])} voices, {len(s['languages'])} languages")
        for label in LABELS:
            if not any(s[label.key]):
                continue
            lines.append(f"      {label.title:15} {EDGES[0]:.2f} |{_histogram(s[label.key])}| "
                         f"{EDGES[-1]:.2f}")
    if not summary["leaks"]:
        lines.append("No voice, recording, noise or held-out damage is shared between splits.")
    return "\n".join(lines) + "\n"


def _draw(splits, path):
    with figure(path, height=3.6) as drawing:
        axes = drawing.subplots(1, len(LABELS), sharey=True)
        middles = (EDGES[:-1] + EDGES[1:]) / 2
        for axis, label in zip(axes, LABELS, strict=True):
            for colour, (split, s) in zip(COLOURS, splits.items(), strict=False):
                if not any(s[label.key]):
                    continue
                share = 100 * np.array(s[label.key]) / s["clips"]
                axis.step(middles, share, where="mid", color=colour, linewidth=2,
                          label=f"{split} ({s['clips']:,})")
            axis.set(title=label.title, xlabel="label", xlim=(1, 4.75))
            axis.grid(axis="y")
        axes[0].set_ylabel("share of clips (%)")
        axes[-1].legend(title="split (clips)")


def _table(title, splits, key):
    names = list(dict.fromkeys(n for s in splits.values() for n in s[key]))
    rows = [f"| {title} | {' | '.join(splits)} |", "|---" * (len(splits) + 1) + "|"]
    rows += [f"| {name} | " + " | ".join(f"{s[key].get(name, 0):,}" for s in splits.values())
             + " |" for name in names]
    return rows


def write_report(summary: Mapping[str, Any], folder: str | Path) -> None:
    """Write ``data.md`` and ``data.png`` to ``folder``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    splits = summary["splits"]
    _draw(splits, folder / "data.png")
    recipe = summary["recipe"]
    option = f"--data-recipe {recipe} " if recipe != recipes.DEFAULT.number else ""
    lines = ["# The data set", "", f"Made again by `bamac data --clips {summary['clips']} --seed "
             f"{summary['seed']} {option}--report {folder}` (recipe {recipe}). "
             "Counts are clips "
             "of 5 s; a clip with several degradations "
             "counts under each of them.", "", "![Spread of the labels](data.png)", "",
             "| split | clips | hours | voices | languages | undamaged |",
             "|---|---|---|---|---|---|"]
    lines += [f"| {name} | {s['clips']:,} | {s['hours']:.1f} | {len(s['voices'])} | "
              f"{len(s['languages'])} | {s['undamaged']:,} |" for name, s in splits.items()]
    verdict = summary["leaks"] or ["Checked: no voice, recording, noise recording or babble voice "
                                   "is shared between splits, and held-out damage occurs in the "
                                   "test alone."]
    lines += ["", *verdict]
    for title, key in (("damage", "damage"), ("kind of noise", "noises"), ("codec", "codecs"),
                       ("language", "languages"), ("voice", "voices"), ("licence", "licences")):
        lines += ["", f"## By {title}", "", *_table(title, splits, key)]
    write_text(folder / "data.md", "\n".join(lines) + "\n")
