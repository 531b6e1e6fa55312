"""Command-line options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from bamac.data import recipes
from bamac.shipped import shipped_models

json_option = click.option("--json", "as_json", is_flag=True,
                           help="Print one JSON object and nothing else.")
model_option = click.option("--model", metavar="FILE|NAME", default=None,
                            help="QONNX file (.onnx), checkpoint (.pt), or the name of a network "
                                 f"that ships with bamac ({', '.join(shipped_models())}). "
                                 "[default: paper-bam-w8]")
array_option = click.option("--array", metavar="NAME|FILE.toml", default="small",
                            show_default=True,
                            help="Array preset (tiny, small, large, ...) or a geometry file.")
clock_option = click.option("--clock-mhz", type=click.FloatRange(min=0, min_open=True),
                            default=25.0, show_default=True,
                            help="Clock for which times are stated.")

CLIPS_PER_HOUR = 720
"""A clip of the data set is 5 s long."""


class RecipeName(click.ParamType):
    """A data recipe by its name, or by its number; commands get the number."""

    name = "recipe"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> int:
        try:
            return recipes.get(value).number
        except ValueError:
            names = ", ".join(f"{r.name} ({r.number})" for r in recipes.RECIPES)
            self.fail(f"must be one of {names}, not {value!r}", param, ctx)


def data_options(default_clips: int) -> Callable:
    """Options that decide a data set and where it is kept.

    The command is called with ``clips`` (never None), ``speech_folder``, ``data_recipe`` (a
    number), ``workers`` and ``cache``.
    """
    options = (
        click.option("--clips", type=click.IntRange(min=1), default=None,
                     help="Training clips of 5 s; up to 600 more for validation and 1,200 more "
                          f"for test are made too. [default: {default_clips}]"),
        click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=None,
                     help="The same in hours of training audio."),
        click.option("--data", "speech_folder", metavar="FOLDER", default=None,
                     type=click.Path(exists=True, file_okay=False),
                     help="Your own clean speech (wav, flac, ogg; one subfolder per talker, three "
                          "or more talkers) instead of the speech packages."),
        click.option("--data-recipe", type=RecipeName(), default=recipes.DEFAULT.name,
                     show_default=True, metavar="NAME",
                     help="Recipe of the training clips. "
                          + " ".join(f"{r.name} ({r.number}): {r.description}."
                                     for r in recipes.RECIPES)
                          + " talkers-66 fetches 1.4 GB more, games-opinion 1.3 GB more again. "
                            "Those without PESQ are for `bamac distil` alone."),
        click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True,
                     help="Processes that make the data set."),
        click.option("--cache", metavar="FOLDER", default=None,
                     help="Where packages and data sets are kept. [default: ~/.cache/bamac]"))

    def decorate(command):
        @wraps(command)
        def with_clips(*arguments, clips, hours, cache, **values):
            if clips is not None and hours is not None:
                raise click.UsageError("Give --clips or --hours, not both")
            from bamac.data.dataset import DEFAULT_CACHE

            if hours is not None:
                clips = max(1, round(hours * CLIPS_PER_HOUR))
            return command(*arguments, clips=clips or default_clips,
                           cache=cache or str(DEFAULT_CACHE), **values)

        return _with(options, with_clips)

    return decorate


def run_options(default_out: str) -> Callable:
    """Options of every training run: its folder, its seeds, its threads."""
    options = (
        click.option("--out", metavar="FOLDER", default=default_out, show_default=True,
                     help="Folder of the run; an interrupted run there is continued."),
        click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
                     help="Decides initial values, order and augmentation."),
        click.option("--data-seed", type=click.IntRange(min=0), default=1, show_default=True,
                     help="Decides the data set."),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Threads of PyTorch."))
    return lambda command: _with(options, command)


def _with(options, command):
    for option in reversed(options):
        command = option(command)
    return command


def check_output(path: str | os.PathLike | None) -> None:
    """Refuse an output file that cannot be written, before any long work."""
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
def simulation_bar(quiet: bool) -> Iterator[Callable[[float, int], None] | None]:
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
def transfer_bar(quiet: bool, title: str, total: float,
                 unit: str) -> Iterator[Callable[[float], None] | None]:
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
