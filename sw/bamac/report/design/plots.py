"""Plots of a design's resources, timing and energy; each a ``Drawing``."""

from __future__ import annotations

from bamac.report.drawing import Drawing
from bamac.report.plots import energy_panels, stacked
from bamac.report.wording import variants_of

__all__ = ["activity_plot", "layer_energy_plot", "memory_purpose_plot", "module_plot",
           "rivals_plot", "spread_plot"]


def memory_purpose_plot(memory_bytes):
    """On-chip bytes in use, one bar for each purpose."""
    shown = {name: count for name, count in memory_bytes.items() if count}
    names = [name.replace("_", " ") for name in shown]

    def draw(figure, paint):
        axis = figure.subplots()
        axis.barh(names, list(shown.values()), color=paint.series[0], height=0.62)
        for y, count in enumerate(shown.values()):
            axis.annotate(f"{count:,} B", (count, y), xytext=(5, 0), va="center", fontsize=10,
                          textcoords="offset points", color=paint.ink)
        axis.set_xscale("log")
        axis.set_xlim(10, max(shown.values()) * 8)
        axis.invert_yaxis()
        axis.set_xlabel("bytes in use (logarithmic)")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0, which="both")

    return Drawing(draw, 0.7 + 0.34 * len(names), "On-chip memory by purpose")


def module_plot(modules):
    """LUTs and flip-flops of each module (``{name: counts}``), largest first."""
    names = list(modules)
    parts = {"LUTs": [modules[name].get("lut", 0) for name in names],
             "flip-flops": [modules[name].get("ff", 0) for name in names]}

    def draw(figure, paint):
        axis = figure.subplots()
        height = 0.36
        for index, (label, values) in enumerate(parts.items()):
            places = [y + (index - 0.5) * height for y in range(len(names))]
            axis.barh(places, values, height=height * 0.9, color=paint.series[index], label=label)
            for y, value in zip(places, values, strict=True):
                axis.annotate(f"{value:,}", (value, y), xytext=(4, 0), va="center", fontsize=9,
                              textcoords="offset points", color=paint.ink)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlim(0, max([*parts["LUTs"], *parts["flip-flops"], 1]) * 1.12)
        axis.set_xlabel("cells after mapping")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0)
        figure.legend(loc="outside upper left", ncols=2, fontsize=10)

    return Drawing(draw, 0.9 + 0.52 * len(names), "LUTs and flip-flops by module")


def rivals_plot(names, parts):
    """LUTs of whole designs, stacked by module (``{module: [LUTs per design]}``)."""
    def draw(figure, paint):
        stacked(figure.subplots(), paint, names, parts, unit="LUTs after mapping")

    return Drawing(draw, 1.3 + 0.42 * len(names), "LUTs of arrays of this size")


def spread_plot(seeds, clock_mhz):
    """Fmax of each seed against the clock to be met; ``seeds`` is ``[(seed, MHz)]``."""
    def draw(figure, paint):
        axis = figure.subplots()
        # The figures stand beside the axis; at the end of a bar they would overlap the clock's line
        names = [f"seed {seed}: {fmax:.1f} MHz" for seed, fmax in seeds]
        values = [fmax for _, fmax in seeds]
        axis.barh(names, values, color=paint.series[0], height=0.6)
        axis.axvline(clock_mhz, color=paint.series[1], linewidth=1.6,
                     label=f"clock to be met, {clock_mhz:g} MHz")
        axis.set_xlim(0, max([*values, clock_mhz]) * 1.08)
        axis.invert_yaxis()
        axis.set_xlabel("Fmax (MHz)")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0)
        figure.legend(loc="outside upper left", fontsize=10)

    return Drawing(draw, 1.1 + 0.36 * len(seeds), "Fmax by placer seed")


def layer_energy_plot(tables):
    """Energy of each layer by purpose, of the network that ran; one panel for each table."""
    ran = variants_of(tables)[0]
    layers = next(iter(tables.values()))[ran]["layers"]
    return energy_panels(
        tables, lambda table: {layer["name"]: layer for layer in table[ran]["layers"]},
        ("arithmetic", "weights", "activations", "control"), unit="{:,.2f}",
        height=0.7 + (0.65 + 0.3 * len(layers)) * len(tables), title="Energy of each layer")


def activity_plot(rows):
    """Activity-based energy, ``[(module, parts, low, high)]``; parts in uJ by kind."""
    names = [row[0] for row in rows]
    kinds = {"nets": "nets (logic and routing)", "clock": "clock tree", "memories": "block RAMs"}

    def draw(figure, paint):
        axis = figure.subplots()
        left = [0.0] * len(rows)
        for colour, (kind, label) in zip(paint.series, kinds.items(), strict=False):
            values = [row[1][kind] for row in rows]
            axis.barh(names, values, left=left, color=colour, height=0.6, label=label)
            left = [a + b for a, b in zip(left, values, strict=True)]
        low = [total - row[2] for total, row in zip(left, rows, strict=True)]
        high = [row[3] - total for total, row in zip(left, rows, strict=True)]
        axis.errorbar(left, range(len(rows)), xerr=[low, high], fmt="none", ecolor=paint.ink,
                      elinewidth=1, capsize=3)
        axis.set_xlim(0, max([row[3] for row in rows] + [1e-9]) * 1.05)
        axis.invert_yaxis()
        axis.set_xlabel("uJ per clip (estimate; lines from low to high)")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0)
        figure.legend(loc="outside upper left", ncols=3, fontsize=10)

    return Drawing(draw, 1.0 + 0.34 * len(rows), "Activity-based energy by module")
