"""Rendering of ``report.html`` from the result object."""

from __future__ import annotations

from pathlib import Path

from bamac import files
from bamac.result import RunResult

from . import plots
from .wording import variants_of, wording

__all__ = ["ReportError", "render", "write_report"]

HERE = Path(__file__).parent
NEEDED = ("score", "reference_score", "bit_exact", "differences", "windows", "cycles",
          "predicted_cycles", "utilisation", "clock_mhz", "time_s", "layers", "traffic",
          "memory_bytes", "memory_count", "energy", "geometry", "versions", "network")


class ReportError(ValueError):
    """A result lacks what a report needs."""


def _bytes(count):
    return f"{count:,.0f} B" if count < 10_000 else f"{count / 1000:,.1f} kB"


def render(result):
    """The report of a run as HTML text.

    Parameters
    ----------
    result : :class:`bamac.result.RunResult`, or its plain values as ``--json`` prints them

    Raises
    ------
    ReportError
        If the result lacks an entry.
    """
    import jinja2

    if isinstance(result, RunResult):
        result = result.to_dict()
    if not isinstance(result, dict):
        raise ReportError(f"Result must be an object, not {type(result).__name__}")
    missing = [name for name in NEEDED if name not in result]
    if missing:
        raise ReportError(f"Result must hold {', '.join(missing)}; make it with "
                          "'bamac run CLIP.wav --json'")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    environment.filters["size"] = _bytes
    energy = result["energy"]["tables"]
    ran, *others = variants_of(energy)
    words, first = wording(ran == "int8"), energy["horowitz-45nm"]
    ratios = {variant: first[variant]["total_uj"] / first[ran]["total_uj"]
              if first[ran]["total_uj"] else 0.0 for variant in others}
    return environment.get_template("report.html.j2").render(
        result=result, css=(HERE / "report.css").read_text(encoding="utf-8"), ratios=ratios,
        words=words,
        used=sum(result["memory_bytes"].values()),
        exact_layers=sum(bool(layer["bit_exact"]) for layer in result["layers"]),
        compared=sum(layer.get("compared", 0) for layer in result["layers"]),
        plots={"cycles": plots.cycles_plot(result["layers"]).svg(),
               "density": plots.density_plot(result["layers"], words).svg(),
               "traffic": plots.traffic_plot(result["traffic"]).svg(),
               "memory": plots.memory_plot(result["memory_bytes"], result["memory_count"],
                                           words).svg(),
               "energy": plots.energy_plot(energy).svg()})


def write_report(result, path):
    """Write :func:`render` of ``result`` to ``path``, whole or not at all."""
    files.write_text(path, render(result))
