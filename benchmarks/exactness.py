"""Scores of a checkpoint at every level of the chain: the trained network is what is computed.

``python -m benchmarks.exactness [MODEL.pt ...] [--rtl N]`` scores the whole test split with the
quantised PyTorch network and with the integer reference. N clips, spread over the split, are also
scored with the simulated hardware. Writes ``reports/exactness.md``. Without a model, it takes all
shipped networks with binary maps; otherwise the rows of the other networks stay, with their date.
The test clips must be in the cache (``bamac data``).
"""

import argparse
import contextlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import repeat
from pathlib import Path

import numpy as np

from bamac import tasks
from bamac.compiler import CompileError, compile_network
from bamac.data.recipes import HELD_OUT
from bamac.evaluation.levels import scores_at
from bamac.evaluation.metrics import agreement
from bamac.files import write_text
from bamac.load import load_model
from bamac.nn.checkpoint import DEFAULT_MODEL, load_network
from bamac.shipped import ASSETS
from bamac_hw.geometry import Geometry

SHIPPED = sorted(Path(DEFAULT_MODEL).parent.glob("*-bam-w8*.pt"), key=lambda path: path.stem)
"""The shipped networks with binary maps."""
ARRAYS = ("small", "large", *(str(ASSETS / "arrays" / f"large_event_{size}.toml")
                              for size in ("256k", "512k")))
"""Arrays, smallest first; the first that holds the network is used."""
REPORT = Path(__file__).parents[1] / "reports" / "exactness.md"


def array_of(path):
    """The array that scores the network."""
    network = load_model(path)
    for array in ARRAYS[:-1]:
        with contextlib.suppress(CompileError):
            compile_network(network, Geometry.named(array))
            return array
    return ARRAYS[-1]


def measure(path, rtl):
    """Rows (level, clips, PCC, SRCC, RMSE, largest difference to the level before)."""
    network, metadata = load_network(path)
    data = tasks.of_metadata(metadata).data
    # Test clips are the same for every recipe
    folder = data.folder({**metadata["training"], "data_recipe": HELD_OUT.number})
    features, labels, _ = data.load(folder, "test")
    some = np.linspace(0, len(labels) - 1, rtl).astype(int)
    array = array_of(path)
    scores = {level: scores_at(level, network, metadata, features) for level in ("qat", "integer")}
    rows = []
    for name, clips, level, before in (
            ("QAT network (PyTorch)", slice(None), "qat", None),
            ("integer reference", slice(None), "integer", "qat"),
            ("integer reference", some, "integer", None),
            (f"RTL (Verilator), array `{Path(array).stem}`", some, "rtl", "integer")):
        found = (scores_at("rtl", network, metadata, features[some], array) if level == "rtl"
                 else scores[level][clips])
        apart = None if before is None else float(np.abs(found - scores[before][clips]).max())
        rows.append((name, agreement(found, labels[clips]), apart))
        print(path.name, *rows[-1], flush=True)
    return rows


def report(measured, rtl, old=""):
    """The report's text of ``{model: rows}``; other shipped models keep their rows of ``old``."""
    lines = ["# Exactness", "",
             f"Made by `python -m benchmarks.exactness --rtl {rtl}` with bamac {version('bamac')}, "
             f"torch {version('torch')}, Verilator {version('verilator')}; test clips of "
             "[data.md](data.md). *Apart* is the largest difference of a score to the line above, "
             "*on* the day that the row was measured.", "",
             "| model | level | clips | PCC | SRCC | RMSE | apart | on |", "|---" * 8 + "|"]
    shipped = {path.stem for path in SHIPPED}
    table = {}
    for line in old.splitlines():
        model = line.split("|")[1].strip() if line.startswith("| ") else None
        if model in shipped:
            table.setdefault(model, []).append(line)
    for model, rows in measured.items():
        table[model] = [f"| {model} | {name} | {found['clips']:,} | {found['pcc']:.4f} | "
                        f"{found['srcc']:.4f} | {found['rmse']:.4f} | "
                        f"{'' if apart is None else f'{apart:g}'} | {time.strftime('%Y-%m-%d')} |"
                        for name, found, apart in rows]
    return "\n".join(lines + [line for model in sorted(table) for line in table[model]]) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=SHIPPED)
    parser.add_argument("--rtl", type=int, default=20, help="clips that the hardware scores")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        measured = list(pool.map(measure, arguments.models, repeat(arguments.rtl)))
    measured = {path.stem: rows for path, rows in zip(arguments.models, measured, strict=True)}
    old = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    write_text(REPORT, report(measured, arguments.rtl, old))
    exact = all(apart in (None, 0.0) for rows in measured.values() for *_, apart in rows)
    return 0 if exact else 1


if __name__ == "__main__":
    raise SystemExit(main())
