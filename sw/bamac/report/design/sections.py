"""The text of a design's report: what :func:`bamac.report.design.collect` found, as a document."""

from __future__ import annotations

from datetime import date

from bamac.report import plots as run_plots
from bamac.report.document import Bullets, Document, Facts, Figure, Paragraph, Section, Table
from bamac.report.wording import wording

from . import hardware
from .energy_section import energy_section
from .missing import Missing
from .numbers import count, mega, percent, size
from .plots import memory_purpose_plot

__all__ = ["design_document"]


def design_document(design, command):
    """The document of a :class:`~bamac.report.design.collect.Design`.

    ``command`` is the command line that made it, for the section on how.
    """
    geometry, network = design.program.geometry, design.about
    walk = geometry.traits.walk_title
    if geometry.streams > 1:
        walk += f" with {geometry.streams} streams"
    spec = network["input"]
    lead = (f"Network {network['name']} on array `{geometry.name}`: {geometry.tile_rows} x "
            f"{geometry.tile_cols} pixels x {geometry.channels} channels = {geometry.lanes} lanes, "
            f"{walk}, {geometry.traits.title}. It reads {spec['rows']} x {spec['cols']} integers "
            f"of {spec['bits']} bits and gives one score.")
    return Document(
        f"{network['name']} on array {geometry.name}", lead, [_facts(design)],
        [_samples(design), _accuracy(design), _cycles(design), _traffic(design), _memory(design),
         hardware.resources_section(design), hardware.rivals_section(design),
         hardware.timing_section(design), energy_section(design), _method(design, command)])


def _words(design):
    return wording(design.program.geometry.int8_maps)


def _real_time(result, clock_mhz):
    """Seconds of audio per second at a clock."""
    return result["real_time_factor"] * clock_mhz / result["clock_mhz"]


def _facts(design):
    results = design.results
    exact = sum(result["bit_exact"] for result in results)
    cycles = sorted(result["cycles"] for result in results)
    clock, where = hardware.clock_of(design)
    slowest = max(results, key=lambda result: result["cycles"])
    energy = [result["energy_uj"] for result in results]
    used = sum(results[0]["memory_bytes"].values())
    entries = [
        ("Bit-exact", f"{exact} of {len(results)}", "sample clips: every bit, cycle and access"),
        ("Cycles per clip", count(cycles[-1]) if cycles[0] == cycles[-1]
         else f"{mega(cycles[0])} to {mega(cycles[-1])}", "counted in the RTL"),
        ("Real time", f"{_real_time(slowest, clock):.0f} x", f"at {clock:g} MHz, {where}"),
        ("On-chip memory", size(used),
         f"{size(results[0]['memory_count']['binary'])} with whole maps, "
         f"{size(results[0]['memory_count']['fp32'])} in fp32"),
        *hardware.facts(design),
        ("Energy per clip", f"{min(energy):.0f} to {max(energy):.0f} uJ"
         if max(energy) - min(energy) >= 1 else f"{max(energy):.0f} uJ",
         "estimate: counted operations, 45 nm, front end included"),
    ]
    if isinstance(design.activity, dict):
        total = design.activity["total_uj"]
        entries.append(("Energy on the FPGA", f"{total['low']:.0f} to {total['high']:.0f} uJ",
                        "estimate: counted toggles, dynamic only, per clip"))
    return Facts(entries)


def _samples(design):
    clock, _ = hardware.clock_of(design)
    rows = [[result["clip"], f"{result['score']:.4f}", f"{result['reference_score']:.4f}",
             "yes" if result["bit_exact"] else "**no**", count(result["cycles"]),
             percent(result["utilisation"]), f"{_real_time(result, clock):.1f} x",
             f"{result['energy_uj']:.1f}"] for result in design.results]
    return Section("Sample clips", [
        Table(["clip", "score, RTL", "score, reference", "bit-exact", "cycles", "lanes used",
               f"real time, {clock:g} MHz", "uJ (45 nm, estimate)"], rows),
        Paragraph("Bit-exact: every output bit of every layer, every raw score, every counted "
                  "cycle and memory access is equal to the reference and the model. "
                  + _words(design).lanes_used),
        *[Bullets(result["differences"][:5]) for result in design.results
          if result["differences"]]])


def _accuracy(design):
    blocks = []
    if isinstance(design.card, Missing):
        blocks.append(Paragraph(f"Agreement: {design.card.reason}."))
    else:
        name, heading, rows = design.card
        kept = [row for row in rows if row[0] in ("test, all", "test: seen damage",
                                                  "test: unseen damage", "validation")]
        float_net = "the float network that this one was quantised from" \
            if design.program.geometry.int8_maps else "this checkpoint"
        blocks += [
            Paragraph(f"Agreement of {float_net} with {heading}, from its model card "
                      f"(`{name}`). The test clips have talkers, languages, noises and rooms that "
                      f"training never had; no epoch was chosen by them. It is agreement with a "
                      f"program's score on this project's own data set, not with listeners, and "
                      f"not comparable with figures from other data sets."),
            Table(["clips", "n", "PCC", "SRCC", "RMSE", "label std"], kept)]
    if isinstance(design.accuracy, Missing):
        blocks.append(Paragraph(f"Other variants: {design.accuracy.reason}."))
    elif not isinstance(design.card, Missing) and "PESQ" in design.card[1]:
        rows = [[row["title"], row["seeds"], f"{row['pcc']:.3f}"
                 + (f" ± {row['pcc_std']:.3f}" if row.get("pcc_std") is not None else "")]
                for row in design.accuracy]
        blocks += [Paragraph("Variants of the same network on the same test clips (mean over "
                             "seeds; the test set is the same for all):"),
                   Table(["variant", "seeds", "PCC"], rows)]
    return Section("Accuracy", blocks)


def _cycles(design):
    result, words = design.results[0], _words(design)
    rows = [[layer["name"], count(layer["cycles"]), percent(layer["cycles"] / result["cycles"]),
             percent(layer["cycles_by_cause"].get("compute", 0) / max(1, layer["cycles"])),
             _losses(layer), percent(layer["density_in"]), count(layer["binary_macs"]),
             count(layer["additions"])] for layer in result["layers"]]
    return Section("Cycles and utilisation", [
        Figure(run_plots.cycles_plot(result["layers"]),
               f"Cycles of {result['clip']} by layer and cause, counted in the RTL; the model "
               f"predicts {count(result['predicted_cycles'])}."),
        Table(["layer", "cycles", "share", "computing", "largest losses", words.density_column,
               words.work_column, "carried out"], rows),
        Paragraph(words.about_work),
        Figure(run_plots.density_plot(result["layers"], words), words.why_density)])


def _losses(layer):
    lost = sorted(((value, cause) for cause, value in layer["cycles_by_cause"].items()
                   if cause != "compute" and value), reverse=True)
    return ", ".join(f"{cause.replace('_', ' ')} {percent(value / layer['cycles'])}"
                     for value, cause in lost[:2]) or "none"


def _traffic(design):
    result = design.results[0]
    rows = []
    for memory, columns in result["traffic"].items():
        counted, bound = columns["counted"]["bytes"], columns["lower_bound"]["bytes"]
        rows.append([memory.replace("_", " "), count(columns["counted"]["accesses"]),
                     size(counted), size(columns["predicted"]["bytes"]), size(bound),
                     f"{counted / bound:.2f}" if bound else "-"])
    return Section("Memory traffic", [
        Figure(run_plots.traffic_plot(result["traffic"]),
               "Counted by the hardware's own counters, predicted by the model, and the least "
               "possible: each datum moved once."),
        Table(["memory", "accesses", "counted", "predicted", "lower bound", "ratio"], rows)])


def _memory(design):
    result, words = design.results[0], _words(design)
    used, capacity = result["memory_bytes"], design.program.manifest["memory"]["capacity_bytes"]
    rows = [[purpose.replace("_", " "), count(value),
             count(capacity[purpose]) if purpose in capacity else "-"]
            for purpose, value in used.items()]
    total, whole = sum(used.values()), result["memory_count"]
    rows.append(["all", count(total), "-"])
    return Section("On-chip memory", [
        Figure(memory_purpose_plot(used)),
        Table(["purpose", "bytes in use", "bytes on the array"], rows),
        Figure(run_plots.memory_plot(used, whole, words)),
        Paragraph(f"Everything that the design stores on chip takes {size(total)}. The paper's "
                  f"count (weights and all convolution outputs before their pools, whole; the "
                  f"input not counted) is {size(whole['binary'])} with {words.maps} maps and "
                  f"{size(whole['fp32'])} in fp32: {whole['fp32'] / total:.0f} times as much. "
                  f"Rows stream through line buffers here, so no map exists whole.")])


def _method(design, command):
    geometry = design.program.geometry
    fields = ", ".join(f"{name} {value}" for name, value in geometry.to_dict().items()
                       if name != "name")
    versions = dict(design.versions)
    if isinstance(design.implementation, dict):
        versions |= design.implementation["tools"]
    network = design.about["digest"][:12]
    return Section("How each number was made", [
        Bullets([
            f"This report: `{command}`, {date.today()}.",
            "Scores, cycles, accesses: the RTL, simulated in Verilator, compared with the "
            "reference and the model bit by bit (`bamac simulate NAME.bamac --input CLIP.wav`).",
            "Accuracy: the model card, written by `bamac train` or `bamac distil`; the variants: "
            "`bamac evaluate --table`.",
            f"Resources, timing: Yosys and nextpnr (`bamac synth NAME.bamac --target "
            f"{design.options.target} --seeds {design.options.seeds}`; seeds 1 and up). Fmax is "
            "nextpnr's estimate between registers.",
            "Energy: counted operations times cited tables (`bamac simulate`), and counted toggles "
            "of the mapped netlist times stated constants (`bamac report NAME.bamac --activity`). "
            "Both are estimates; nothing is measured on silicon.",
            f"Array `{geometry.name}`: {fields}; digest {geometry.digest()[:12]}. Network digest "
            f"{network}.",
            "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items())
            + "."])])
