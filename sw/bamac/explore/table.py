"""The one table of a sweep, as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math

from bamac.files import new_file, write_text

from .pareto import front

__all__ = ["OBJECTIVES", "mark_front", "write_csv", "write_json"]

OBJECTIVES = {"cycles": "cycles", "lanes": "lanes", "on_chip_bytes": "on-chip memory",
              "traffic_bytes": "traffic"}
"""What a sweep minimises: columns of the table, and what they are called."""


def mark_front(rows):
    """Set ``front`` in every row: whether no other array for the same model is better.

    Better means not worse in any of :data:`OBJECTIVES` and better in one.
    """
    for model in dict.fromkeys(row["model"] for row in rows):
        done = [row for row in rows if row["model"] == model and row["status"] == "ok"]
        values = [[row[name] for name in OBJECTIVES] for row in done]
        for row, on_front in zip(done, front(values), strict=True):
            row["front"] = bool(on_front)
    for row in rows:
        row.setdefault("front", False)


def write_csv(path, rows):
    """One line per row; a column that a row does not have stays empty."""
    columns = dict.fromkeys(name for row in rows for name in row)
    with new_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows({name: "" if value is None else value for name, value in row.items()}
                         for row in rows)


def write_json(path, result):
    """``result`` as JSON: ``about`` and ``rows``."""
    assert all(not isinstance(value, float) or math.isfinite(value)
               for row in result["rows"] for value in row.values())
    write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
