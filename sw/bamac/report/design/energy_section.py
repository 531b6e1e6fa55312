"""The section on energy: counted operations times tables, and toggles of the mapped netlist."""

from __future__ import annotations

from bamac.fpga.power import CONSTANTS, PARTS
from bamac.report import plots as run_plots
from bamac.report.document import Bullets, Figure, Paragraph, Section, Table
from bamac.report.wording import variants_of

from . import plots
from .missing import Missing
from .numbers import percent

__all__ = ["energy_section"]

PURPOSES = ("arithmetic", "weights", "activations", "control", "front_end")
_SCHEDULES = {
    "binary": "Binary is this design, with int8 weights; int8 and fp32 are the same network on the "
              "same schedule, with words as much wider and a multiplication for each product.",
    "int8": "int8 is this design; fp32 is the same network on the same schedule, with words four "
            "times as wide."}
_LAYERS = {"binary": "Binary maps with int8 weights, without the front end.",
           "int8": "8-bit maps with int8 weights, without the front end."}


def energy_section(design):
    """Energy by published tables, and by the toggles of the mapped design where they are there."""
    result = design.results[0]
    tables = result["energy"]["tables"]
    variants = variants_of(tables)
    ran = variants[0]
    rows = [[f"{name}: {variant}", f"{table[variant]['total_uj']:,.1f}",
             *(f"{table[variant][f'{purpose}_uj']:,.2f}" for purpose in PURPOSES),
             f"{table[variant]['total_uj'] / table[ran]['total_uj']:.1f}"]
            for name, table in tables.items() for variant in variants]
    totals = [table[ran]["total_uj"] for table in tables.values()]
    blocks = [
        Paragraph(f"Two kinds of estimate; nothing is measured on silicon. They answer different "
                  f"questions: the first is about a chip with just these operations, the second "
                  f"about this design on an FPGA. For {result['clip']}:"),
        Table(["estimate", "per clip (uJ)"], [
            ["counted operations x tables, 45 nm and 7 nm", f"{min(totals):.1f} to "
                                                            f"{max(totals):.1f}"],
            ["counted toggles x constants, ECP5, dynamic", _range(design.activity)]]),
        Paragraph("**Counted operations.** Operations and accesses counted in the RTL, times a "
                  f"published energy for each. {_SCHEDULES[ran]} Control is what is counted of it "
                  "(descriptors and layer state); clock tree, leakage and pins are not in it. The "
                  "front end is counted as 16-bit fixed-point hardware, and is the same for all."),
        Figure(run_plots.energy_plot(tables)),
        Table(["table: network", "total (uJ)", *(p.replace("_", " ") for p in PURPOSES),
               f"{ran} = 1"], rows),
        Figure(plots.layer_energy_plot(tables), _LAYERS[ran]),
        Bullets([f"{name}: {table['citation']}." for name, table in tables.items()]),
        *_activity_blocks(design)]
    return Section("Energy (estimates)", blocks)


def _range(activity):
    if isinstance(activity, Missing):
        return "not measured"
    total = activity["total_uj"]
    return f"{total['low']:.0f} to {total['high']:.0f}, middle {total['middle']:.0f}"


def _activity_blocks(design):
    activity = design.activity
    if isinstance(activity, Missing):
        return [Paragraph(f"**Counted toggles**: {activity.reason}.")]
    modules, total = activity["modules"], activity["total_uj"]

    def both(row, end):
        return sum(row[part][end] for part in PARTS)

    order = sorted(modules, key=lambda name: -both(modules[name], "middle"))
    rows = [(name, {part: modules[name][part]["middle"] for part in PARTS},
             both(modules[name], "low"), both(modules[name], "high")) for name in order]
    share = {part: sum(row[part]["middle"] for row in modules.values()) / total["middle"]
             for part in PARTS}
    table = [[name, *(f"{parts[part]:.1f}" for part in PARTS), f"{sum(parts.values()):.1f}",
              percent(sum(parts.values()) / total["middle"]), f"{low:.0f} to {high:.0f}"]
             for name, parts, low, high in rows]
    low, middle, high = (CONSTANTS[name] for name in ("low", "middle", "high"))
    constants = [[label, *(f"{getattr(c, field):g}" for c in (low, middle, high))]
                 for label, field in (
                     ("wire segments per sink", "segments"), ("segment (fF)", "segment_ff"),
                     ("pin and local wires (fF)", "pin_ff"),
                     ("connection in a slice (fF)", "local_ff"),
                     ("clock per flip-flop (fF)", "clock_ff"),
                     ("glitches, times", "glitch"), ("block RAM access (pJ)", "memory_pj"),
                     ("core supply (V)", "volt"))]
    return [
        Paragraph(f"**Counted toggles.** The netlist that Yosys mapped for {activity['target']} "
                  f"ran the whole clip {activity['clip']} in Verilator at gate level, and gave the "
                  f"reference's score in the model's cycles. {activity['nets']:,} nets toggled "
                  f"{activity['toggles']:,} times in {activity['cycles']:,.0f} cycles. A toggle "
                  f"costs C V^2 / 2."),
        Figure(plots.activity_plot(rows)),
        Table(["module", "nets (uJ)", "clock (uJ)", "block RAMs (uJ)", "all (uJ)", "share",
               "low to high (uJ)"], table),
        Paragraph(f"Shares: nets {percent(share['nets'])}, clock {percent(share['clock'])}, block "
                  f"RAMs {percent(share['memories'])}. Calibration: there is no public power model "
                  f"of ECP5. Wire capacitances and the energy of a block RAM are those of VTR's "
                  f"40 nm architecture file (k6_frac_N10_mem32K_40nm.xml), fitted by its authors "
                  f"to Stratix IV; the rest is assumed, with a low and a high value. Limits: no "
                  f"routed wire lengths; no glitches but by a factor (20 % of dynamic power in "
                  f"GlitchLess, IEEE T-VLSI 2008); no leakage, pins or PLL; block RAMs cost only "
                  f"when enabled. So the shares say more than the sum."),
        Table(["constant", "low", "middle", "high"], constants)]
