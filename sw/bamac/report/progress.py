"""Progress of long work, drawn on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

__all__ = ["TrainingDisplay"]


class TrainingDisplay:
    """Progress bars of training and of data sets: :class:`bamac.training.recipe.Progress`.

    Use it as a context; ``quiet`` draws nothing.
    """

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(TextColumn("{task.description:24}"), BarColumn(),
                              MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
                              console=Console(stderr=True), disable=quiet)
        self._tasks = {}
        self._eta = ""

    def __enter__(self) -> TrainingDisplay:
        self._bars.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bars.stop()

    def _show(self, name: str, text: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(text, total=total)
        self._bars.update(self._tasks[name], description=text, completed=done, total=total)

    def data(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` pieces of a preparation, which ``text`` names."""
        self._show("label" if text == "degrade and label" else "speech", text, done, total)

    def part(self, text: str) -> None:
        """A part of the run begins."""
        self._eta = ""
        self._bars.console.print(text, highlight=False)

    def step(self, epoch: int, done: int, total: int) -> None:
        """``done`` of ``total`` steps of an epoch."""
        self._show("train", f"epoch {epoch}{self._eta}", done, total)

    def epoch(self, line: Mapping[str, Any], eta_seconds: float) -> None:
        """An epoch has ended: its line of the log, and the seconds that are left."""
        self._eta = f", {eta_seconds / 60:.0f} min left"
        value = line["val"]["pcc"]
        shown = "undefined" if value is None else f"{value:.3f}"
        self._bars.console.print(
            f"epoch {line['epoch']:3} ({line['phase']}): loss {line['loss']:.4f}, "
            f"validation PCC {shown}, RMSE {line['val']['rmse']:.3f}, "
            f"density {' '.join(f'{d:.0%}' for d in line['density'])}{self._eta}", highlight=False)
