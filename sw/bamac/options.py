"""Command-line options that several commands share."""

from __future__ import annotations

from contextlib import contextmanager

import click

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Print one JSON object and nothing else.")
model_option = click.option("--model", metavar="FILE", default=None,
                            help="QONNX file (.onnx) or checkpoint (.pt); default: the model that "
                                 "ships with bamac.")
array_option = click.option("--array", metavar="NAME|FILE.toml", default="small",
                            show_default=True,
                            help="Array preset (tiny, small, large) or a geometry file.")
clock_option = click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True),
                            default=25.0, show_default=True,
                            help="Clock for which times are stated.")


def check_output(path):
    """Refuse an output file that cannot be written, before any long work."""
    import os
    from pathlib import Path

    if path is None:
        return
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise click.UsageError(f"Output folder {parent} does not exist")
    if Path(path).is_dir():
        raise click.UsageError(f"Output file must not be a folder: {path}")
    if not os.access(parent, os.W_OK):
        raise click.UsageError(f"Output folder {parent} is not writable")


@contextmanager
def simulation_bar(quiet):
    """A callable for the simulation's progress; it draws a bar on stderr if that is a terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("simulating"), BarColumn(), TaskProgressColumn(),
                  TextColumn("{task.description}"), TimeElapsedColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def update(fraction, cycles):
            bar.update(task, completed=fraction, description=f"{cycles:,} cycles")

        yield update


@contextmanager
def transfer_bar(quiet, title, total, unit):
    """A callable that adds to ``total``; it draws a bar on stderr if that is a terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn(title), BarColumn(), TextColumn("{task.completed:,.0f} of "
                  "{task.total:,.0f} " + unit), TimeElapsedColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda amount: bar.advance(task, amount)
