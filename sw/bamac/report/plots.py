"""Plots of a run's result: cycles, density, traffic, memory, energy; each a ``Drawing``."""

from __future__ import annotations

from .drawing import Drawing
from .wording import BITS, variants_of

__all__ = ["cycles_plot", "density_plot", "energy_panels", "energy_plot", "memory_plot", "stacked",
           "traffic_plot"]


def stacked(axis, paint, names, parts, *, unit, labels=None):
    """Horizontal stacked bars; ``parts`` is {part: [value per name]}."""
    left = [0.0] * len(names)
    shown = {part: values for part, values in parts.items() if sum(values) > 0}
    for colour, (part, values) in zip(paint.series, shown.items(), strict=False):
        axis.barh(names, values, left=left, color=colour, height=0.62, label=part)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for y, total in enumerate(left):
        text = labels[y] if labels else f"{total:,.0f}"
        axis.annotate(text, (total, y), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=10, color=paint.ink)
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    axis.set_xlim(0, max([*left, 1e-12]) * 1.17)
    axis.grid(axis="x", linewidth=0.8)
    axis.tick_params(length=0)
    if len(shown) > 1:
        axis.figure.legend(loc="outside upper left", ncols=4, fontsize=10)


def _scale(values):
    """The scale of an axis, and the name of its unit."""
    top = max([abs(v) for v in values] + [0])
    for factor, word in ((1e9, "billion "), (1e6, "million "), (1e3, "thousand ")):
        if top >= factor:
            return factor, word
    return 1, ""


def cycles_plot(layers):
    """Cycles per layer, by cause."""
    causes = {}
    for layer in layers:
        for cause in layer["cycles_by_cause"]:
            causes.setdefault(cause, None)
    names = [layer["name"] for layer in layers]
    factor, unit = _scale([layer["cycles"] for layer in layers])
    parts = {cause.replace("_", " "): [layer["cycles_by_cause"].get(cause, 0) / factor
                                       for layer in layers] for cause in causes}

    def draw(figure, paint):
        stacked(figure.subplots(), paint, names, parts, unit=f"{unit}cycles".strip(),
                labels=[f"{layer['cycles']:,}" for layer in layers])

    return Drawing(draw, 0.9 + 0.4 * len(names), "Cycles per layer by cause")


def density_plot(layers, words=BITS):
    """Activation density at each layer's input; ``words`` say what counts as active."""
    names = [layer["name"] for layer in layers]

    def draw(figure, paint):
        axis = figure.subplots()
        stacked(axis, paint, names,
                {"share": [100 * layer["density_in"] for layer in layers]},
                unit=words.density_unit,
                 labels=[f"{100 * layer['density_in']:.1f} %" for layer in layers])

    return Drawing(draw, 0.6 + 0.36 * len(names), words.density_title)


def traffic_plot(traffic):
    """Counted, predicted and least possible bytes per memory, on a logarithmic axis."""
    names = [name.replace("_", " ") for name in traffic]
    columns = (("counted", "counted in the RTL"), ("predicted", "predicted"),
               ("lower_bound", "each datum once"))

    def draw(figure, paint):
        axis = figure.subplots()
        height = 0.26
        for index, (key, label) in enumerate(columns):
            values = [entry[key]["bytes"] for entry in traffic.values()]
            places = [y + (index - 1) * height for y in range(len(names))]
            axis.barh(places, values, height=height * 0.86, color=paint.series[index], label=label)
            for y, value in zip(places, values, strict=True):
                axis.annotate(_size(value), (max(value, 1), y), xytext=(4, 0), fontsize=9,
                              textcoords="offset points", va="center", color=paint.ink)
        axis.set_xscale("log")
        top = max([entry["counted"]["bytes"] for entry in traffic.values()] + [10])
        axis.set_xlim(10, top * 12)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel("bytes (logarithmic)")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0, which="both")
        figure.legend(loc="outside upper left", ncols=3, fontsize=10)

    return Drawing(draw, 0.9 + 0.62 * len(names), "Memory traffic")


def _size(count):
    for factor, unit in ((1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"


def memory_plot(memory_bytes, count, words=BITS):
    """On-chip memory by purpose, beside the counts with whole maps."""
    names = ["this accelerator", f"{words.maps} maps, whole", "fp32 maps, whole"]
    used = sum(memory_bytes.values())

    def draw(figure, paint):
        axis = figure.subplots()
        values = [used, count["binary"], count["fp32"]]
        axis.barh(names, values, height=0.6,
                  color=[paint.series[0], paint.series[2], paint.series[2]])
        for y, value in enumerate(values):
            axis.annotate(f"{value / 1000:,.1f} kB", (value, y), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=10, color=paint.ink)
        axis.set_xscale("log")
        axis.set_xlim(1000, max(values) * 8)
        axis.invert_yaxis()
        axis.set_xlabel("bytes (logarithmic)")
        axis.grid(axis="x", linewidth=0.8)
        axis.tick_params(length=0, which="both")

    return Drawing(draw, 1.9, "On-chip memory")


def energy_panels(tables, rows, purposes, *, unit, height, title):
    """Stacked bars of energy by purpose, one panel for each table of energies.

    Parameters
    ----------
    tables : name to what :func:`bamac.perf.energy.estimate` returned
    rows : one table to ``{label of a bar: its energies, <purpose>_uj}``
    purposes : stacked, in this order
    unit : format of a bar's total
    height : of the drawing
    title : of the drawing
    """
    def draw(figure, paint):
        axes = figure.subplots(len(tables), 1, squeeze=False)[:, 0]
        for axis, (name, table) in zip(axes, tables.items(), strict=True):
            bars = rows(table)
            left = [0.0] * len(bars)
            for colour, purpose in zip(paint.series, purposes, strict=False):
                values = [energies[f"{purpose}_uj"] for energies in bars.values()]
                axis.barh(list(bars), values, left=left, color=colour, height=0.64,
                          label=purpose.replace("_", " "))
                left = [a + b for a, b in zip(left, values, strict=True)]
            for y, total in enumerate(left):
                axis.annotate(unit.format(total), (total, y), xytext=(5, 0), va="center",
                              textcoords="offset points", fontsize=9.5, color=paint.ink)
            axis.set_title(f"{name} ({table['node_nm']} nm)", loc="left", fontsize=11)
            axis.set_xlim(0, max([*left, 1e-12]) * 1.15)
            axis.invert_yaxis()
            axis.grid(axis="x", linewidth=0.8)
            axis.tick_params(length=0)
        axes[-1].set_xlabel("uJ per clip (estimate)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=5, fontsize=10)

    return Drawing(draw, height, title)


def energy_plot(tables):
    """Energy by purpose of the network that ran and of its wider variants; one panel per table."""
    variants = variants_of(tables)
    return energy_panels(
        tables, lambda table: {variant: table[variant] for variant in variants},
        ("arithmetic", "weights", "activations", "control", "front_end"), unit="{:,.1f} uJ",
        height=0.7 + (0.65 + 0.3 * len(variants)) * len(tables), title="Energy estimates")
