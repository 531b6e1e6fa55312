"""Make all reports again, and their index: ``python -m benchmarks.reports [--only NAME ...]``.

A report whose sources have not changed since it was last made is left alone: doit keeps their
digests in ``build/reports.db``. So an interrupted run continues where it stopped. Two reports are
made at a time, the longest first. If one fails, the others are still made, the failed ones are
named at the end, and the exit code is 1. The time that each took is printed at the end and kept for
the index. Files that the repository does not keep are removed once a report is made. ``--only
index`` makes the index alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from pathlib import Path

from bamac.files import write_text
from benchmarks.report_index import write_index
from benchmarks.report_list import FOLDER, PROGRAMS, REPORTS, ROOT
from benchmarks.report_times import add_all, add_report, machine

__all__ = ["drop_files", "main", "run"]

DATABASE = ROOT / "build" / "reports.db"
AT_ONCE = 2
"""Reports that are made at a time; most of their work uses one core."""


def _sources(report):
    """Paths of the files whose contents decide a report."""
    found = {str(path.relative_to(ROOT)) for pattern in report.sources
             for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts}
    return sorted(found)


def _has_data(recipe):
    from bamac.data import build as data_build

    folder = data_build.set_folder(data_build.DEFAULT_CACHE, 1, recipe=recipe)
    return any(folder.glob("test-*.jsonl"))


def _reporter(on_made):
    from doit.reporter import ConsoleReporter

    class Timed(ConsoleReporter):
        """One line when a report is started, kept, made or failed, with the time since the start.
        """

        began = time.monotonic()
        making = {}

        def _say(self, word, task):
            elapsed = time.monotonic() - self.began
            print(f"{elapsed / 60:5.1f} min  {word:7}  {task.name}", flush=True)

        def execute_task(self, task):
            self.making[task.name] = time.monotonic()
            self._say("making", task)

        def skip_uptodate(self, task):
            self._say("kept", task)

        def add_success(self, task):
            self._say("made", task)
            on_made(task.name, (time.monotonic() - self.making[task.name]) / 60)

        def add_failure(self, task, fail):
            self._say("FAILED", task)
            super().add_failure(task, fail)

    return Timed


def drop_files(report, folder=FOLDER):
    """Remove what ``report.drops`` names; the report then says so where it mentions the files."""
    path = Path(folder) / report.path
    if not path.is_file():
        return
    names = {found.name for pattern in report.drops for found in path.parent.glob(pattern)}
    text = path.read_text(encoding="utf-8")
    for name in names:
        text = re.sub(rf"!\[(.*?)\]\({re.escape(name)}\)",
                      r"*Figure that the command draws, not kept here: \1.*", text)
        text = text.replace(f"`{name}`", f"`{name}` (not kept here)")
        (path.parent / name).unlink()
    write_text(path, text)


def _tasks(reports):
    for report in sorted(reports, key=lambda report: -report.minutes):
        actions = [list(words) for words in report.commands]
        if report.drops:
            actions.append((drop_files, [report, FOLDER]))
        yield {"basename": report.name, "actions": actions,
               "file_dep": _sources(report),
               "targets": [os.path.relpath(FOLDER / path, ROOT)
                           for path in (report.path, *report.also)], "verbosity": 1}


def run(reports, *, force=False, database=DATABASE, on_made=lambda name, minutes: None):
    """Make those of ``reports`` whose sources have changed; return whether none failed.

    Parameters
    ----------
    reports : sequence of Report
    force : bool
        Make them even if their sources have not changed.
    database : path
        Keeps the digests of the sources.
    on_made : callable
        Called with the name of each report that was made, and the minutes that it took.
    """
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    loader = ModuleTaskLoader({
        "task_report": lambda: _tasks(reports),
        "DOIT_CONFIG": {"dep_file": str(database), "reporter": _reporter(on_made), "continue": True,
                        "backend": "json"}})
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / PROGRAMS).mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(ROOT):
        return DoitMain(loader).run(["run", "-n", str(AT_ONCE), "-P", "thread",
                                     *(["--always-execute"] if force else [])]) == 0


def main(arguments=None):
    names = [report.name for report in REPORTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*names, "index"],
                        default=names, help=f"of {', '.join(names)}, index")
    parser.add_argument("--force", action="store_true", help="make them even if nothing changed")
    chosen = parser.parse_args(arguments)
    reports = [report for report in REPORTS if report.name in chosen.only]
    for recipe in sorted({report.data for report in reports} - {0}):
        if not _has_data(recipe):
            for report in reports:
                if report.data == recipe:
                    print(f"left out: {report.name} (it needs the data set: bamac data "
                          f"--data-recipe {recipe})")
            reports = [report for report in reports if report.data != recipe]
    began, took = time.monotonic(), {}

    def made(name, minutes):
        took[name] = minutes
        add_report(name, minutes)

    done = run(reports, force=chosen.force, on_made=made) if reports else True
    minutes = (time.monotonic() - began) / 60
    add_all(took, minutes)
    for name, each in sorted(took.items(), key=lambda item: -item[1]):
        print(f"{each:5.1f} min  {name}")
    if reports:
        print(f"{minutes:5.1f} min  in all: {len(took)} made, {AT_ONCE} at a time, on {machine()}")
    write_index(FOLDER / "README.md")
    print("index: reports/README.md")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
