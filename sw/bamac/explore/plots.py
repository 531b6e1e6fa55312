"""Figures of a sweep."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bamac.report.figures import COLOURS, figure

from .pareto import front

__all__ = ["pareto_plot", "shape", "traffic_plot", "variant"]

_MARKERS = "osD^vP*X"


def variant(row, dimensions):
    """Text of the dimensions that are neither tile nor channels, such as ``event``."""
    return " ".join(str(row[name]) for name in dimensions
                    if name not in ("tile_rows", "tile_cols", "channels"))


def shape(row):
    """Text of tile and channels, such as ``2x4x32``."""
    return f"{row['tile_rows']}x{row['tile_cols']}x{row['channels']}"


def pareto_plot(path, rows, dimensions):
    """Cycles against lanes (LUTs, where synthesised), on-chip memory and traffic, per model.

    A filled marker is on the front of all objectives together; the line joins those that no other
    beats in the two of its panel.
    """
    done = [row for row in rows if row["status"] == "ok"]
    models = list(dict.fromkeys(row["model"] for row in done))
    columns = [("lanes", "lanes", 1), ("on_chip_bytes", "on-chip memory (kB)", 1e3),
               ("traffic_bytes", "traffic of all memories (MB per clip)", 1e6)]
    if any(row.get("lut") is not None for row in done):
        columns.insert(1, ("lut", "LUTs after mapping", 1))
    with figure(path, width=4.7 * len(columns), height=0.7 + 4.3 * len(models)) as drawing:
        axes = drawing.subplots(len(models), len(columns), squeeze=False, sharey="row")
        for line, model in zip(axes, models, strict=True):
            mine = [row for row in done if row["model"] == model]
            for axis, (name, label, unit) in zip(line, columns, strict=True):
                _panel(axis, [row for row in mine if row.get(name) is not None], name, unit,
                       dimensions, done)
                axis.set_xlabel(label)
            line[0].set(ylabel="cycles per clip (thousands)", title=model)
        handles = {}
        for axis in axes.flat:
            for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(text, handle)
        drawing.legend(handles.values(), handles, loc="outside upper right", ncols=len(handles))


def _panel(axis, rows, name, unit, dimensions, everything):
    variants = list(dict.fromkeys(variant(row, dimensions) for row in everything))
    values = np.array([[row[name] / unit, row["cycles"] / 1e3] for row in rows])
    for number, text in enumerate(variants):
        for on_front in (False, True):
            chosen = [i for i, row in enumerate(rows) if variant(row, dimensions) == text
                      and row["front"] == on_front]
            colour = COLOURS[number % len(COLOURS)]
            axis.scatter(values[chosen, 0], values[chosen, 1], s=38, zorder=3,
                         marker=_MARKERS[number % len(_MARKERS)], edgecolors=colour,
                         facecolors=colour if on_front else "white",
                         label=text + (", on the front" if on_front else ""))
    best = [i for i, on_front in enumerate(front(values)) if on_front]
    best.sort(key=lambda i: tuple(values[i]))
    axis.plot(values[best, 0], values[best, 1], color="#8a929c", linewidth=1.2, zorder=2,
              drawstyle="steps-post")
    last = np.inf
    for i in best:
        if values[i, 1] < last / 1.3:       # closer ones would write over each other
            last = values[i, 1]
            axis.annotate(shape(rows[i]), values[i], xytext=(7, 5), fontsize=8.5,
                          textcoords="offset points", color="#3a4149")
    axis.set(xscale="log", yscale="log")
    _plain_ticks(axis)
    axis.grid(True, which="major", linewidth=0.8)


def _plain_ticks(axis):
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        side.set_minor_formatter(NullFormatter())
    axis.margins(0.12)


def traffic_plot(path, rows, dimensions):
    """Weight bytes per clip by tile shape and channels, beside each weight read once."""
    done = [row for row in rows if row["status"] == "ok"]
    models = list(dict.fromkeys(row["model"] for row in done))
    with figure(path, width=9.4, height=0.6 + 3.9 * len(models)) as drawing:
        axes = drawing.subplots(len(models), 1, squeeze=False)[:, 0]
        for axis, model in zip(axes, models, strict=True):
            mine = [row for row in done if row["model"] == model]
            shapes = sorted({(row["tile_rows"] * row["tile_cols"], row["tile_rows"],
                              row["tile_cols"], row["channels"]) for row in mine})
            variants = list(dict.fromkeys(variant(row, dimensions) for row in mine))
            width = 0.8 / len(variants)
            for number, text in enumerate(variants):
                heights = {(row["tile_rows"], row["tile_cols"], row["channels"]):
                           row["weights_traffic_bytes"] / 1e6
                           for row in mine if variant(row, dimensions) == text}
                places = [x + (number - (len(variants) - 1) / 2) * width
                          for x, key in enumerate(shapes) if key[1:] in heights]
                axis.bar(places, [heights[key[1:]] for key in shapes if key[1:] in heights],
                         width=width * 0.9, color=COLOURS[number % len(COLOURS)], label=text)
            bound = mine[0]["weight_bound_bytes"] / 1e6
            axis.axhline(bound, color="#3a4149", linewidth=1.2, linestyle="--",
                         label=f"each weight once ({bound * 1e3:,.1f} kB)")
            axis.set(yscale="log", ylabel="weight bytes read\nper clip (MB)", title=model)
            axis.set_xticks(range(len(shapes)), ["x".join(map(str, key[1:])) for key in shapes],
                            rotation=60 if len(shapes) > 8 else 0, fontsize=9)
            axis.set_xlabel("tile rows x tile columns x channels")
            axis.grid(axis="y", linewidth=0.8)
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right",
                       ncols=len(variants) + 1)
