"""Sections on the implementation: resources by module, other arrays of this size, timing."""

from __future__ import annotations

from bamac.report.document import Figure, Paragraph, Section, Table
from bamac.report.fpga import KINDS

from . import plots
from .missing import Missing
from .modules import by_instance, largest
from .numbers import count, percent

__all__ = ["clock_of", "facts", "resources_section", "rivals_section", "timing_section"]

NOT_PLACED_MHZ = 25.0


def clock_of(design):
    """``(MHz, what it is)``: the placed median, or :data:`NOT_PLACED_MHZ` if nothing was placed."""
    made = design.implementation
    if isinstance(made, dict) and made["fmax_mhz"] and made["fmax_mhz"]["median"]:
        seeds = len(made["seeds"])
        return made["fmax_mhz"]["median"], (f"median of {seeds} seeds" if seeds > 1
                                            else "placed, one seed")
    return NOT_PLACED_MHZ, "not placed"


def _own_mapped(design):
    """This array's mapped resources, or Missing."""
    return design.rivals[0]["mapped"]


def facts(design):
    """Facts on the implementation, for the head of the report."""
    made, mapped = design.implementation, _own_mapped(design)
    target = design.options.target
    entries = []
    if isinstance(mapped, dict):
        lut = mapped["resources"]["lut"]
        room = mapped["target"]["resources"].get("lut")
        entries.append(("LUTs", count(lut), f"mapped for {target}"
                        + (f", {percent(lut / room)} of it" if room else "")))
    else:
        entries.append(("LUTs", "-", "not measured; see Resources"))
    if isinstance(made, dict) and made["fmax_mhz"]:
        fmax = made["fmax_mhz"]
        spread = "" if len(made["seeds"]) == 1 or None in fmax.values() else \
            f"{fmax['lowest']:g} to {fmax['highest']:g} over {len(made['seeds'])} seeds; "
        met = "met" if made["timing_met"] else "missed"
        median = "given up" if fmax["median"] is None else f"{fmax['median']:g} MHz"
        entries.append(("Fmax", median, f"{spread}{made['target']['clock_mhz']:g} MHz wanted: "
                                        f"{met}"))
    else:
        entries.append(("Fmax", "-", "not measured; see Timing"))
    return entries


def resources_section(design):
    """Resources after mapping, by module."""
    mapped = _own_mapped(design)
    if isinstance(mapped, Missing):
        return Section("Resources", [Paragraph(f"Resources: {mapped.reason}.")])
    groups = largest(by_instance(mapped["modules"]), 10)
    kinds = [kind for kind in KINDS if mapped["resources"].get(kind)]
    rows = [[name, *(count(counts[kind]) if counts.get(kind) else "-" for kind in kinds)]
            for name, counts in groups.items()]
    rows.append(["all", *(count(mapped["resources"][kind]) for kind in kinds)])
    blocks = [Figure(plots.module_plot(groups), f"Mapped for {design.options.target}; a register "
                     "belongs to the module that drives it, logic to the module of what it "
                     "drives."),
              Table(["module", *(KINDS[kind] for kind in kinds)], rows)]
    made = design.implementation
    seeds = [run for run in made["seeds"] or () if run.get("used")] \
        if isinstance(made, dict) else []
    if seeds:
        used, room = seeds[0]["used"], seeds[0]["available"]
        blocks.append(Paragraph("Placed: " + ", ".join(
            f"{count(used[kind])} of {count(room[kind])} {KINDS[kind]}"
            for kind in KINDS if kind in used) + "."))
    return Section("Resources", blocks)


def rivals_section(design):
    """LUTs, DSPs and cycles of every preset of this size, and LUTs at equal throughput."""
    shown = [row for row in design.rivals if isinstance(row["mapped"], dict)]
    blocks = []
    if len(shown) > 1:
        blocks += _comparison(shown)
    missing = [row for row in design.rivals if isinstance(row["mapped"], Missing)]
    for row in missing:
        blocks.append(Paragraph(f"`{row['geometry'].name}`: {row['mapped'].reason}."))
    if not any(row["geometry"].int8_maps for row in design.rivals):
        blocks.append(Paragraph(
            "No preset of this size has int8 lanes, so a whole int8 accelerator is not compared "
            "here. LUTs and cycles of the lanes alone, against int8 shift-add and DSP lanes: "
            "`reports/lanes.md` (`python -m benchmarks.lanes`)."))
    if len(design.rivals) == 1:
        blocks.insert(0, Paragraph("There is no other preset of this tile and these channels."))
    return Section("Other arrays of this size, int8 among them", blocks)


def _comparison(shown):
    own = shown[0]
    groups = [by_instance(row["mapped"]["modules"]) for row in shown]
    first = largest({name: {"lut": sum(group.get(name, {}).get("lut", 0) for group in groups)}
                     for name in {n for group in groups for n in group}}, 7)
    parts = {name: [group.get(name, {}).get("lut", 0) for group in groups]
             for name in first if name != "others"}
    parts["others"] = [row["mapped"]["resources"]["lut"] - sum(part[i] for part in parts.values())
                       for i, row in enumerate(shown)]
    product = own["mapped"]["resources"]["lut"] * own["cycles"]
    rows = [[f"`{row['geometry'].name}`", row["geometry"].lane, row["geometry"].walk,
             count(row["mapped"]["resources"]["lut"]), count(row["mapped"]["resources"]["ff"]),
             count(row["mapped"]["resources"]["dsp"]), count(row["cycles"]),
             f"{row['mapped']['resources']['lut'] * row['cycles'] / product:.2f}"]
            for row in shown]
    return [
        Figure(plots.rivals_plot([row["geometry"].name for row in shown], parts)),
        Table(["array", "lanes", "walk", "LUTs", "flip-flops", "DSPs", "cycles",
               "LUTs at equal throughput, this = 1"], rows),
        Paragraph("Whole designs, mapped in the same flow. Arrays of binary lanes hold the network "
                  "with binary maps, those of int8 lanes its twin with 8-bit maps and an input of "
                  "8 bits (`paper-fp32.pt`, quantised after training). Cycles are for the first "
                  "sample clip, predicted by the model, which equals the RTL. LUTs at equal "
                  "throughput: LUTs times cycles. Lanes of `small_dsp` have a DSP block each, "
                  "which LUTs do not show.")]


def timing_section(design):
    """Fmax of every placed seed, and the critical path."""
    made = design.implementation
    if isinstance(made, Missing):
        return Section("Timing", [Paragraph(f"Timing: {made.reason}.")])
    if not made["seeds"]:
        return Section("Timing", [Paragraph("There is no open place and route for this family.")])
    rows, done = [], []
    for run in made["seeds"]:
        if run.get("given_up_s") is not None:
            rows.append([run["seed"], "-", "-", f"given up after {run['given_up_s']:g} s"])
            continue
        done.append((run["seed"], run["fmax_mhz"]))
        path = run["path"]
        text = "-" if not path else (f"`{path['from']}` to `{path['to']}`, {path['levels']} "
                                     f"cells, {path['routing_ns']:.2f} ns of it routing")
        rows.append([run["seed"], f"{run['fmax_mhz']:g}",
                     f"{path['delay_ns']:.2f}" if path else "-", text])
    clock = made["target"]["clock_mhz"]
    fmax = made["fmax_mhz"]
    median = "none" if fmax["median"] is None else f"{fmax['median']:g} MHz"
    verdict = "is met" if made["timing_met"] else "is **missed**"
    wanted, had = design.options.seeds, len(made["seeds"])
    blocks = [
        Paragraph(f"{clock:g} MHz on {made['target']['name']} {verdict} by the best seed; median "
                  f"of {had} {'seeds' if had > 1 else 'seed'}: {median}."
                  + (f" Only {had} of {wanted} seeds were measured; run `bamac synth` for more."
                     if had < wanted else "")),
        Table(["seed", "Fmax (MHz)", "slowest path (ns)", "between"], rows, wrap=True)]
    if done:
        blocks.insert(1, Figure(plots.spread_plot(done, clock)))
    best = next(run for run in made["seeds"] if run["seed"] == made["best"])
    if best.get("path"):
        through = " > ".join(f"`{name}`" for name in best["path"]["through"])
        blocks.append(Paragraph(f"Slowest path of seed {best['seed']}, in our modules' names: "
                                f"{through}."))
    return Section("Timing", blocks)
