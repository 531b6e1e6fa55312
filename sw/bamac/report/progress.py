"""Progress of long work, drawn on stderr."""

from __future__ import annotations

__all__ = ["TrainingDisplay"]


class TrainingDisplay:
    """Progress bars of training and of data sets.

    Use it as a context; ``quiet`` draws nothing.
    """

    def __init__(self, quiet):
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

    def __enter__(self):
        self._bars.start()
        return self

    def __exit__(self, *error):
        self._bars.stop()

    def _show(self, name, text, done, total):
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(text, total=total)
        self._bars.update(self._tasks[name], description=text, completed=done, total=total)

    def data(self, done, total, text):
        self._show("label" if text == "degrade and label" else "speech", text, done, total)

    def part(self, text):
        self._eta = ""
        self._bars.console.print(text, highlight=False)

    def step(self, epoch, done, total):
        self._show("train", f"epoch {epoch}{self._eta}", done, total)

    def epoch(self, line, eta_seconds):
        self._eta = f", {eta_seconds / 60:.0f} min left"
        value = line["val"]["pcc"]
        shown = "undefined" if value is None else f"{value:.3f}"
        self._bars.console.print(
            f"epoch {line['epoch']:3} ({line['phase']}): loss {line['loss']:.4f}, "
            f"validation PCC {shown}, RMSE {line['val']['rmse']:.3f}, "
            f"ones {' '.join(f'{d:.0%}' for d in line['density'])}{self._eta}", highlight=False)
