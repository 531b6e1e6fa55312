"""Sweep arrays and networks with the exact model: one table, the Pareto front, weight traffic."""

import os
import shlex
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import click

from bamac.cli.main import EXIT_CHECK, emit, say, warn
from bamac.cli.options import json_option

FILES = {"csv": "explore.csv", "json": "explore.json", "report": "explore.md",
         "pareto": "explore-pareto.png", "traffic": "explore-traffic.png"}


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--tiles", default="1x1,2x2,2x4,4x2,4x4", show_default=True,
              metavar="RxC,...", help="Tile shapes.")
@click.option("--channels", default="8,16,32,64", show_default=True, metavar="N,...",
              help="Output channels at once.")
@click.option("--walks", default="dense,event", show_default=True, metavar="NAME,...")
@click.option("--lanes", default="gated,pair", show_default=True, metavar="NAME,...")
@click.option("--vary", multiple=True, metavar="FIELD=V,...",
              help="One more dimension, any field of the geometry; may be given again.")
@click.option("--clip", "clips", multiple=True, metavar="FILE",
              help="Audio, or integer frames (.npy); default: the clips that ship with bamac.")
@click.option("--array", metavar="NAME|FILE.toml", default=None,
              help="Memories of this array; default: as large as each network needs.")
@click.option("--synth", "target", metavar="TARGET", default=None,
              help="Synthesise the points of the front and fill in their LUTs (minutes each).")
@click.option("--synth-shapes", "shapes", metavar="RxCxN,...", default=None,
              help="Synthesise the arrays of these tiles and channels instead of the front.")
@click.option("--jobs", type=click.IntRange(1, 1024), default=None,
              help="Processes; default: one for each core.")
@click.option("--dask", "address", metavar="ADDRESS", default=None,
              help="Run on the Dask cluster of this scheduler instead.")
@click.option("-o", "--output", metavar="FOLDER", default="explore", show_default=True,
              help=f"Gets {', '.join(FILES.values())}.")
@click.option("--cache", "cache_dir", metavar="FOLDER", default=None,
              help="Where results are kept; default: ~/.cache/bamac/explore.")
@json_option
def command(models, tiles, channels, walks, lanes, vary, clips, array, target, shapes, jobs,
            address, output, cache_dir, as_json):
    """Predict every MODEL on every combination of arrays.

    A model is an .onnx or .pt file, a program, or the name of a network that ships with bamac.

    Points that are done are kept, by their content, so an interrupted run goes on where it was.
    Points that do not fit are in the table with the reason. Exit code 1 means that a point failed.

    \b
    Example: bamac explore paper.onnx --tiles 2x2,4x4 --channels 16,32 -o explore
    """
    from functools import partial

    from bamac.explore import ExploreError, Store, grid
    from bamac.explore.evaluate import model_version
    from bamac.explore.executors import dask_executor, process_executor
    from bamac.explore.plots import shape, variant
    from bamac.explore.points import parse_tile, parse_vary
    from bamac.explore.study import Study
    from bamac_hw.geometry import Geometry

    if jobs and address:
        raise click.UsageError("Give --jobs or --dask, not both")
    if shapes and not target:
        raise click.UsageError("--synth-shapes needs --synth")
    extra = [parse_vary(text) for text in vary]
    if len(dict(extra)) < len(extra):
        raise ExploreError("Each field must be varied once")
    numbers = channels.split(",")
    if not all(text.isdecimal() for text in numbers):
        raise ExploreError(f"Channels must be numbers, not {channels!r}")
    points = grid([parse_tile(text) for text in tiles.split(",")], [int(n) for n in numbers],
                  walks.split(","), {"lane": lanes.split(","), **dict(extra)})
    wanted = shapes.split(",") if shapes else None
    unknown = set(wanted or ()) - {shape(point.to_dict()) for point in points}
    if unknown:
        raise ExploreError(f"Shapes to synthesise must be in the sweep, not {min(unknown)!r}")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    base = os.environ.get("BAMAC_CACHE", "~/.cache/bamac")
    store = Store(cache_dir or Path(base).expanduser() / "explore")
    executor = (partial(dask_executor, address, model_version) if address
                else partial(process_executor, jobs or os.cpu_count()))
    study = Study(points, models, clips, store, executor, warn=warn,
                  array=Geometry.named(array) if array else None)
    try:
        with _progress(as_json) as progress:
            rows = study.predict(progress)
        if target:
            with _progress(as_json, "synthesising") as progress:
                study.synthesise(rows, target, progress, shapes=wanted)
    except KeyboardInterrupt:
        say("what is finished is kept; the same command goes on from there")
        raise
    result = {"about": {"command": "bamac " + shlex.join(sys.argv[1:]),
                        "date": time.strftime("%Y-%m-%d"), **study.about()}, "rows": rows}
    written = study.write(result, folder, FILES)
    failed = [row for row in rows if row["reason"] and row["status"] != "refused"]
    if as_json:
        emit(result | {"files": [str(path) for path in written]})
    else:
        _summary(rows, study.dimensions)
        say(f"written: {', '.join(str(path) for path in written)}")
    for row in failed:
        warn(f"{row['model']}, {shape(row)} {variant(row, study.dimensions)}: {row['reason']}")
    sys.exit(EXIT_CHECK if failed else 0)


def _summary(rows, dimensions):
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from bamac.explore.plots import shape, variant

    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        done = [row for row in mine if row["status"] == "ok"]
        front = sorted((row for row in done if row["front"]), key=lambda row: row["cycles"])
        table = Table(title=f"{model}: {len(mine)} arrays, {len(mine) - len(done)} left out, "
                      f"{len(front)} on the front", box=box.SIMPLE_HEAD, title_justify="left")
        luts = any(row.get("lut") is not None for row in front)
        for name in ("array", "lanes", *(["LUTs"] if luts else []), "cycles", "on chip", "traffic",
                     "weights read"):
            table.add_column(name, justify="left" if name == "array" else "right")
        for row in front:
            label = f"{shape(row)} {variant(row, dimensions)}"
            lut = [f"{row['lut']:,}" if row.get("lut") else ""] if luts else []
            table.add_row(label, f"{row['lanes']}", *lut, f"{row['cycles']:,.0f}",
                          f"{row['on_chip_bytes'] / 1e3:,.1f} kB",
                          f"{row['traffic_bytes'] / 1e6:,.2f} MB",
                          f"{row['weight_ratio']:,.0f} x")
        Console().print(table)


@contextmanager
def _progress(quiet, what="exploring"):
    """A callable(done, total) that draws a bar on a terminal's stderr, and else prints a line."""
    if quiet or not sys.stderr.isatty():
        began = []

        def once(done, total):
            if not began and not quiet:
                say(f"{what}: {total} points, {done} of them known")
            began.append(done)

        yield once
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
