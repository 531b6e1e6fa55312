"""The result of an FPGA implementation in the terminal, and its progress."""

from __future__ import annotations

import time
from contextlib import contextmanager

__all__ = ["print_implementation", "progress_display"]

KINDS = {"lut": "LUT", "carry": "carry", "ff": "FF", "bram": "block RAM", "spram": "SPRAM",
         "lutram": "LUT RAM", "dsp": "DSP"}


@contextmanager
def progress_display(quiet):
    """A callable (what, stage) that prints a line per step, and on a terminal the current stage."""
    import sys

    import click

    if quiet:
        yield None
        return
    began, last = time.monotonic(), None
    if not sys.stderr.isatty():
        def announce(what, stage):
            nonlocal last
            if what != last:
                click.echo(f"{time.monotonic() - began:6.0f} s  {what}", err=True)
                last = what
        yield announce
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def update(what, stage):
            if what not in tasks:
                for task in tasks.values():
                    bar.stop_task(task)
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], description=f"{what}: {stage[:60]}")

        yield update


def print_implementation(result):
    """Verdict first, then resources per module, then each seed and the slowest path."""
    from rich.markup import escape

    from .summary import _console, _table

    console, target = _console(), result["target"]
    name = f"array [bold]{escape(result['geometry']['name'])}[/] on [bold]{target['name']}[/]"
    if result["fmax_mhz"] is None:
        console.print(f"\n{name}: synthesis only, there is no open place and route for it here")
    else:
        fmax, met = result["fmax_mhz"], result["timing_met"]
        verdict = "[bold green]timing met[/]" if met else "[bold red]timing missed[/]"
        console.print(
            f"\n{name}: {verdict}, {_spread(fmax, result['seeds'])} for a clock of "
            f"{target['clock_mhz']:g} MHz", soft_wrap=True)
        best = next(run for run in result["seeds"] if run["seed"] == result["best"])
        used, room = best["used"], best["available"]
        console.print("placed: " + ", ".join(
            f"{used[kind]:,} of {room[kind]:,} {KINDS[kind]}" for kind in KINDS if kind in used),
            soft_wrap=True)
    kinds = [kind for kind in KINDS if result["resources"].get(kind)]
    table = _table(None, "module", *(KINDS[kind] for kind in kinds))
    table.columns[0].justify = "left"
    order = sorted(result["modules"], key=lambda path: -result["modules"][path].get("lut", 0))
    for path in order:
        counts = result["modules"][path]
        table.add_row(escape(path) or "(top)",
                      *(f"{counts.get(kind, 0):,}" if counts.get(kind) else "" for kind in kinds))
    table.add_row("[bold]all[/]", *(f"[bold]{result['resources'][kind]:,}[/]" for kind in kinds))
    console.print(table)
    if result["pin_shell"]:
        console.print("(pins) is a serial shell: the package has fewer pins than the design")
    for run in result["seeds"] or ():
        if run["given_up_s"] is not None:
            console.print(f"seed {run['seed']}: given up after {run['given_up_s']:g} s",
                          soft_wrap=True)
            continue
        path = run["path"]
        line = f"seed {run['seed']}: {run['fmax_mhz']:g} MHz"
        if path:
            line += (f"; {path['delay_ns']:.2f} ns ({path['routing_ns']:.2f} routing) from "
                     f"{escape(path['from'])} to {escape(path['to'])}")
        console.print(line, soft_wrap=True)
    if result["bitstream"]:
        console.print(f"bitstream of seed {result['best']}: {escape(result['bitstream'])}",
                      soft_wrap=True)


def _spread(fmax, runs):
    """Median and spread in words; seeds without a result count as the slowest."""
    count = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    given_up = sum(run["given_up_s"] is not None for run in runs)
    median = "no median" if fmax["median"] is None else f"{fmax['median']:g} MHz median"
    if not given_up:
        return f"{median} of {count} ({fmax['lowest']:g} to {fmax['highest']:g})"
    return f"{median} of {count} (up to {fmax['highest']:g}, {given_up} given up)"
