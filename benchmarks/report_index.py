"""The index of all reports, ``reports/README.md``."""

from __future__ import annotations

import re

from bamac.files import write_text
from benchmarks.report_list import FOLDER, REPORTS
from benchmarks.report_times import gateware, read_times

__all__ = ["index_text", "write_index"]


def _made(report, took):
    """The date that a report states, and a note if the gateware has changed since."""
    path = FOLDER / report.path
    if not path.is_file():
        return "not made yet"
    stated = re.search(r"\d{4}-\d\d-\d\d", path.read_text(encoding="utf-8"))
    date = stated[0] if stated else "-"
    if not any(source.startswith("hw/") for source in report.sources):
        return date
    current = took and took.get("gateware") == gateware()
    return date if current else f"{date}; the gateware has changed since"


def _about_times(times):
    machines = sorted({each["machine"] for each in times["reports"].values()})
    if not machines:
        return []
    text = f"Minutes: how long a report took when it was last made, two at a time, on " \
           f"{' or '.join(machines)}; less where simulators, mappings or placements came from " \
           f"the caches."
    if times["all"]:
        about = times["all"]
        text += f" All in one run: **{about['minutes']:.0f} minutes** on {about['machine']}, " \
                f"{about['date']}."
    return [text, ""]


def index_text():
    """Markdown of the index, from :data:`benchmarks.report_list.REPORTS`."""
    times = read_times()
    lines = ["# Reports", "",
             "`make reports` makes all of them again, and this index; `python -m "
             "benchmarks.reports --only NAME` makes one. The commands below measure the numbers; "
             "estimates are called so. Dates are those that the reports state.", "",
             "Few figures are kept here; the commands draw the others. Accuracy, learning curve "
             "and trade-off are made from [runs.json](runs.json), which holds the reports, logs "
             "and test scores of all training runs. `python -m benchmarks.pack_runs` adds runs to "
             "it.", "",
             *_about_times(times),
             "| report | what it says | command | made | minutes |", "|---|---|---|---|--:|"]
    for report in REPORTS:
        title = report.path.removesuffix("/README.md")
        name = f"[{title}]({report.path})" if (FOLDER / report.path).is_file() else title
        took = times["reports"].get(report.name)
        lines.append(f"| {name} | {report.says} | `{report.shown}` | "
                     f"{_made(report, took)} | "
                     f"{took['minutes'] if took else '-'} |")
    return "\n".join(lines) + "\n"


def write_index(path):
    """Write :func:`index_text` to ``path``, whole or not at all."""
    write_text(path, index_text())
