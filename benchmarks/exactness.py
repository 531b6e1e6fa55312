"""What was trained is what is computed: one checkpoint's scores at every level of the chain.

``python -m benchmarks.exactness [MODEL.pt ...] [--rtl N]`` scores the whole test split with the
quantised PyTorch network and with the integer reference, and N clips of it, spread over the split,
with the simulated hardware; it writes ``reports/exactness.md``. Without a model, of all shipped
networks with binary maps. The test clips must be in the cache (``bamac data``).
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

from bamac.checkpoint import DEFAULT_MODEL, load_network
from bamac.compiler import CompileError, compile_network
from bamac.data import build as data_build
from bamac.evaluate import scores_at
from bamac.metrics import agreement
from bamac.pipeline import load_model
from bamac.shipped import ASSETS
from bamac_hw.geometry import Geometry

SHIPPED = sorted(Path(DEFAULT_MODEL).parent.glob("*-bam-w8*.pt"), key=lambda path: path.stem)
"""The networks with binary maps that come with the package."""
ARRAYS = ("small", "large", str(ASSETS / "arrays" / "large_event_256k.toml"))
"""The hardware: the first that has room for the network."""
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
    training = metadata["training"]
    label = "p808" if metadata["network"] == "p808" else "pesq"
    # Test clips are the same by every recipe
    folder = data_build.set_folder(data_build.DEFAULT_CACHE, training.get("data_seed", 1),
                                   recipe=data_build.HELD_OUT_RECIPE)
    features, labels, _ = data_build.load_split(folder, "test", label=label)
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


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=SHIPPED)
    parser.add_argument("--rtl", type=int, default=20, help="clips that the hardware scores")
    arguments = parser.parse_args()
    lines = ["# Exactness", "",
             f"Made by `python -m benchmarks.exactness --rtl {arguments.rtl}` on "
             f"{time.strftime('%Y-%m-%d')} with bamac {version('bamac')}, torch "
             f"{version('torch')}, Verilator {version('verilator')}; test clips of "
             "[data.md](data.md). *Apart* is the largest difference of a score to the line above.",
             "", "| model | level | clips | PCC | SRCC | RMSE | apart |", "|---" * 7 + "|"]
    exact = True
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        measured = list(pool.map(measure, arguments.models, repeat(arguments.rtl)))
    for path, rows in zip(arguments.models, measured, strict=True):
        for name, found, apart in rows:
            exact &= apart in (None, 0.0)
            lines.append(f"| {path.stem} | {name} | {found['clips']:,} | {found['pcc']:.4f} | "
                         f"{found['srcc']:.4f} | {found['rmse']:.4f} | "
                         f"{'' if apart is None else f'{apart:g}'} |")
    partial = REPORT.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(REPORT)
    return 0 if exact else 1


if __name__ == "__main__":
    raise SystemExit(main())
