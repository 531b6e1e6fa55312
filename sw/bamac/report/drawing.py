"""A plot that can be written as SVG for a page of either colour scheme, or as a PNG.

matplotlib writes fixed colours. For SVG, each is chosen to be a key that is replaced by a CSS
variable of the page's style sheet, so one drawing serves light and dark. A PNG has an opaque white
ground and the light scheme's colours, and is legible on a dark page too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from bamac.files import new_file

__all__ = ["Drawing", "Paint"]


@dataclass(frozen=True)
class Paint:
    """Colours of a drawing: text, axis text, grid, and the series."""

    ink: str
    muted: str
    grid: str
    series: tuple

    @property
    def variables(self):
        """Each colour with the CSS variable of its place."""
        names = ("--ink", "--muted", "--grid", *(f"--c{i + 1}" for i in range(len(self.series))))
        return dict(zip((self.ink, self.muted, self.grid, *self.series), names, strict=True))

    def style(self):
        return {
            "text.color": self.ink, "axes.labelcolor": self.muted, "axes.edgecolor": self.grid,
            "xtick.color": self.muted, "ytick.color": self.muted, "axes.facecolor": "none",
            "grid.color": self.grid, "svg.fonttype": "none", "font.size": 11,
            "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False,
            "axes.spines.left": False, "axes.axisbelow": True, "legend.frameon": False,
            "svg.hashsalt": "bamac",
        }


KEYS = Paint("#010101", "#020202", "#030303", tuple(f"#0102{i}0" for i in range(1, 9)))
LIGHT = Paint("#1c2026", "#5b6470", "#dfe3e8",
              ("#2f6fb4", "#e08a1e", "#8a94a1", "#3c9a6a", "#b5476b", "#7a5cc0", "#2aa3ad",
               "#a98b2c"))
WIDTH = 8.6  # inches; a page shows them as wide as it is


@dataclass(frozen=True)
class Drawing:
    """One plot.

    Parameters
    ----------
    draw : callable
        Called with a matplotlib ``Figure`` and the :class:`Paint` to use.
    height : float
        In inches, for a width of 8.6.
    description : str
        For readers that cannot see it; unique on its page.
    """

    draw: Callable
    height: float
    description: str

    def _figure(self, paint, write):
        import matplotlib

        matplotlib.use("Agg", force=False)
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(paint.style()):
            figure = Figure(figsize=(WIDTH, self.height), layout="constrained")
            self.draw(figure, paint)
            write(figure)

    def png(self, path):
        """Write it to ``path``, whole or not at all."""
        with new_file(path) as temporary:
            self._figure(LIGHT, lambda figure: figure.savefig(
                temporary, dpi=110, facecolor="white", metadata={"Software": None}))

    def svg(self):
        """The SVG text, for embedding in a page."""
        out = io.StringIO()
        self._figure(KEYS, lambda figure: figure.savefig(
            out, format="svg", facecolor="none", metadata={"Date": None, "Creator": None}))
        text = out.getvalue()
        text = text[text.index("<svg"):]
        for key, variable in KEYS.variables.items():
            text = re.sub(key, f"var({variable})", text, flags=re.IGNORECASE)
        # The width is the page's; ids must differ between the drawings of one page
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        prefix = re.sub(r"\W+", "-", self.description.lower())[:24]
        text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
        text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', text)
        text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
        return text.replace("<svg", f'<svg role="img" aria-label="{self.description}"', 1)
