"""Figures as PNG files for Markdown reports: one style, on an opaque ground for light and dark."""

from __future__ import annotations

from contextlib import contextmanager

from bamac.files import new_file

__all__ = ["COLOURS", "figure"]

COLOURS = ("#2563a8", "#c2571a", "#2f7d4f", "#8b4aa3", "#a8323e", "#6b7280")


@contextmanager
def figure(path, width=9.0, height=4.2):
    """Yield a matplotlib ``Figure``; save it to ``path`` when the block succeeds."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
             "axes.axisbelow": True, "grid.color": "#e3e6ea", "axes.edgecolor": "#8a929c",
             "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
             "axes.titleweight": "bold", "figure.facecolor": "white"}
    with rc_context(style):
        drawing = Figure(figsize=(width, height), dpi=110, layout="constrained")
        yield drawing
        with new_file(path) as temporary:
            drawing.savefig(temporary, metadata={"Software": None})
