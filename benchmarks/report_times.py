"""``reports/minutes.json``: how long each report took, and the gateware that it is about."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import date
from pathlib import Path

from bamac.files import write_text
from benchmarks.report_list import FOLDER, REPORTS, ROOT

__all__ = ["TIMES", "add_all", "add_report", "gateware", "machine", "read_times"]

TIMES = FOLDER / "minutes.json"


def machine():
    """The processor's name and how many threads it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    threads = os.cpu_count() or 1
    return f"{names[0] if names else platform.machine()}, {threads} " \
           f"thread{'s' if threads > 1 else ''}"


def gateware():
    """A digest of the gateware's sources."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "hw" / "bamac_hw").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def read_times(path=TIMES):
    """``{"reports": {name: {minutes, machine, gateware}}, "all": {minutes, machine, date}}``.

    "all" is None if no single run has made all reports. Without a valid file, there are no reports
    and "all" is None.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"reports": dict(found["reports"]), "all": found["all"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {"reports": {}, "all": None}


def _write(path, times):
    write_text(path, json.dumps(times, indent=1, sort_keys=True) + "\n")


def add_report(name, minutes, path=TIMES):
    """Record how long the report ``name`` took, with the present gateware's digest."""
    times = read_times(path)
    times["reports"][name] = {"minutes": round(minutes, 1), "machine": machine(),
                              "gateware": gateware()}
    _write(path, times)


def add_all(made, minutes, path=TIMES):
    """Record how long a run took if it made all reports; ``made`` holds their names."""
    if {report.name for report in REPORTS} <= set(made):
        about = {"minutes": round(minutes, 1), "machine": machine(), "date": str(date.today())}
        _write(path, read_times(path) | {"all": about})
