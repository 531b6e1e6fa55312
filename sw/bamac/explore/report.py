"""The report of a sweep: the front, the weight traffic, and what does not fit."""

from __future__ import annotations

from collections import Counter

from bamac.files import write_text

from .plots import shape, variant
from .table import OBJECTIVES

__all__ = ["write_report"]


def write_report(path, result, pictures):
    """Write ``result`` as Markdown.

    Parameters
    ----------
    pictures : dict
        Names of the files beside ``path``: ``pareto`` and ``traffic``.
    """
    about, rows = result["about"], result["rows"]
    dimensions = about["dimensions"]
    done = [row for row in rows if row["status"] == "ok"]
    left_out = [row for row in rows if row["status"] != "ok"]
    memories = (f"sized as in array `{about['array']}`" if about["array"]
                else "just large enough for each network")
    lines = [
        "# Arrays for these networks: cycles, lanes, memory, traffic", "",
        f"Made by `{about['command']}` on {about['date']} with bamac {about['version']}. "
        f"Means over {about['clips']} clips, from the exact model, not from RTL simulation; "
        f"memories {memories}. {len(rows)} points: {len(done)} predicted, {len(left_out)} "
        f"refused or failed. The same rows with more columns: `explore.csv`, `explore.json`.", "",
        f"![Cycles against lanes, memory and traffic]({pictures['pareto']})", "",
        f"A filled marker is on the Pareto front of {', '.join(OBJECTIVES.values())} together.", ""]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in done if row["model"] == model]
        lines += [f"## {model}", ""]
        if mine:
            lines += [*_front_table(mine, dimensions), "", *_luts_section(mine, dimensions),
                      *_traffic_section(mine, dimensions, pictures), ""]
        lines += _left_out([row for row in rows if row["model"] == model], dimensions)
    write_text(path, "\n".join(lines).rstrip() + "\n")


def _front_table(rows, dimensions):
    luts = any(row.get("lut") is not None for row in rows)
    lines = ["On the front, fewest cycles first:", "",
             "| tile and channels | variant | lanes |" + (" LUTs |" if luts else "")
             + " cycles, mean | best to worst input | a lane adds | on-chip memory | traffic |",
             "|---" * (8 + luts) + "|"]
    for row in sorted((r for r in rows if r["front"]), key=lambda r: r["cycles"]):
        lut = row.get("lut")
        lines.append(
            f"| {shape(row)} | {variant(row, dimensions)} | {row['lanes']} | "
            + (f"{'' if lut is None else format(lut, ',')} | " if luts else "")
            + f"{row['cycles']:,.0f} | {row['cycles_bound_best']:,} to "
            f"{row['cycles_bound_worst']:,} | {row['adding_share']:.1%} | "
            f"{row['on_chip_bytes'] / 1e3:,.1f} kB | {row['traffic_bytes'] / 1e6:,.2f} MB |")
    return lines


def _luts_section(rows, dimensions):
    """All arrays that were synthesised, on the front or not."""
    found = sorted((row for row in rows if row.get("lut") is not None),
                   key=lambda row: row["lut"] * row["cycles"])
    if not found:
        return []
    lines = ["### LUTs", "", f"Whole accelerators after mapping for {found[0]['target']} (a carry "
             f"cell of ECP5 counts as two LUTs), least LUTs x cycles first:", "",
             "| tile and channels | variant | LUTs | flip-flops | block RAMs | cycles, mean | "
             "LUTs x cycles | weights read |", "|---" * 8 + "|"]
    for row in found:
        product = row["lut"] * row["cycles"] / (found[0]["lut"] * found[0]["cycles"])
        lines.append(f"| {shape(row)} | {variant(row, dimensions)} | {row['lut']:,} | "
                     f"{row['ff']:,} | {row['bram']:,} | {row['cycles']:,.0f} | {product:.2f} | "
                     f"{row['weights_traffic_bytes'] / 1e6:,.2f} MB |")
    return [*lines, ""]


def _traffic_section(rows, dimensions, pictures):
    variants = list(dict.fromkeys(variant(row, dimensions) for row in rows))
    found = {(shape(row), variant(row, dimensions)): row for row in rows}
    ordered = sorted(rows, key=lambda r: (r["lanes"], r["tile_rows"] * r["tile_cols"],
                                          r["tile_rows"], r["channels"]))
    bound = rows[0]["weight_bound_bytes"]
    lines = ["### Weight traffic", "",
             f"![Weight bytes by tile]({pictures['traffic']})", "",
             f"Bytes that the weight store reads per clip, and how many times the lower bound "
             f"that is: each of the {bound:,} weights read once. Start values and the rows of "
             f"channels that are not there count as traffic, not as bound.", "",
             "| lanes | tile and channels | " + " | ".join(
                 f"{text}: MB | times the bound" for text in variants) + " |",
             "|---" * (2 + 2 * len(variants)) + "|"]
    for text in dict.fromkeys(shape(row) for row in ordered):
        cells, lanes = [], None
        for name in variants:
            row = found.get((text, name))
            lanes = row["lanes"] if row else lanes
            cells += ([f"{row['weights_traffic_bytes'] / 1e6:,.2f}", f"{row['weight_ratio']:,.0f}"]
                      if row else ["", ""])
        lines.append(f"| {lanes} | {text} | {' | '.join(cells)} |")
    return lines


def _left_out(rows, dimensions):
    reasons, sizes = {}, Counter(variant(row, dimensions) for row in rows)
    for row in rows:
        if row["status"] != "ok":
            arrays = reasons.setdefault((row["status"], row["reason"]), {})
            arrays.setdefault(variant(row, dimensions), []).append(shape(row))
    if not reasons:
        return []
    lines = ["### Left out", "", "| points | | reason |", "|---|---|---|"]
    for (status, reason), arrays in reasons.items():
        points = [f"every {name}" if len(shapes) == sizes[name] else
                  f"{name} at {', '.join(shapes)}" for name, shapes in arrays.items()]
        lines.append(f"| {'; '.join(points)} | {status} | {reason} |")
    return [*lines, ""]
