"""Runs programs on the simulated gateware, as plain Python calls.

Each call runs a simulator of its own as a subprocess; programs, frames and results travel as files,
so that this process neither loads cocotb's machinery nor is stopped by the simulator.
"""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from cocotb_tools.check_results import get_results

from bamac_hw.datapath import variant_of
from bamac_hw.output.trace import own_fields
from bamac_hw.program import Program
from bamac_hw.verilog import TOP

from .build import TIMESCALE, Runner, build
from .testbench import Design

__all__ = ["Job", "SimulationError", "SimulationResult", "simulate", "simulate_many"]


class SimulationError(RuntimeError):
    """The simulation failed or broke a rule; the text says which, and names the log."""


@dataclass(eq=False)
class Job:
    """One program on one or more clips.

    Parameters
    ----------
    program : Program or path
    frames : int array (rows, cols) or (clips, rows, cols)
        Clips follow each other without a gap. A clip of several channels is (channels, rows, cols).
    idle, stall : float
        Probability that the source idles, and that the sink is not ready, in a cycle. With both at
        zero a value is offered and a score is taken in every cycle.
    reset_at : int, optional
        Run for so many cycles first, reset, load and start again.
    monitors : bool
        Count memory accesses from the ports too (slow).
    seed : int
        Of ``idle`` and ``stall``.
    patience : int, optional
        Cycles without any visible progress after which the run has failed.
    loaded : bool
        The program is in the memories' initial contents, and is not loaded.
    """

    program: object
    frames: np.ndarray
    idle: float = 0.0
    stall: float = 0.0
    reset_at: int | None = None
    monitors: bool = False
    seed: int = 0
    patience: int | None = None
    loaded: bool = False

    def __post_init__(self):
        if not isinstance(self.program, Program):
            self.program = Program.load(self.program)
        frames = np.asarray(self.frames)
        if not np.issubdtype(frames.dtype, np.integer):
            raise TypeError(f"Frames must be integers, not {frames.dtype}")
        network, shape = self.program.manifest["network"], self.program.frame_shape
        if frames.ndim == len(shape):
            frames = frames[np.newaxis]
        if frames.shape[1:] != shape or not len(frames):
            raise ValueError(f"Frames must be {' x '.join(map(str, shape))}, or clips of that, "
                             f"not {np.asarray(self.frames).shape}")
        signed, bits = network["input_signed"], network["input_bits"]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if frames.min() < low or frames.max() > high:
            raise ValueError(f"Frames must be in {low}..{high}, "
                             f"not {frames.min()}..{frames.max()}")
        self.frames = frames.astype(np.int16)
        for name in ("idle", "stall"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be a probability below 1, "
                                 f"not {getattr(self, name)!r}")


@dataclass(eq=False)
class SimulationResult:
    """What the gateware gave.

    Parameters
    ----------
    outputs : int64 array (clips, outputs)
        Raw scores.
    cycles : int
        From the first cycle in which the scheduler polls a layer to the end of the last job: the
        sum of all ``cycles_*`` counters, or ``elapsed`` if the geometry has no counters.
    elapsed : int
        Clock cycles from the write that starts the run to the last score's transfer.
    clip_ends : list of int
        ``elapsed`` at each clip's last score.
    counters : list of dict
        Per layer, every counter of ``bamac_hw.abi.counters.COUNTERS``; empty dicts without
        counters.
    trace : list of dict, or None
        Per clip, ``{layer: {"bits": (channels, rows, cols) uint8}}`` for convolutions (values with
        int8 lanes), before pooling and only what the hardware computes, and ``{layer: {"outputs":
        (features,) int64}}`` for dense layers. With ``"acc"`` beside ``"bits"`` (start value
        included) on request.
    monitors : list of dict, or None
        Per layer, the accesses that the ports' enables show.
    build_seconds, sim_seconds, kcycles_per_s : float
        Of the build, of the run itself, and simulated clock cycles in that time.
    """

    outputs: np.ndarray
    cycles: int
    elapsed: int
    clip_ends: list
    counters: list
    trace: list | None
    monitors: list | None
    build_seconds: float
    sim_seconds: float
    kcycles_per_s: float
    waves: Path | None = field(default=None)


def simulate(program, frames, *, build_dir=None, waves=None, trace=True, accumulators=False,
             monitors=False, idle=0.0, stall=0.0, reset_at=None, seed=0, patience=None,
             loaded=False, verilog=None, progress=None):
    """Run one program on one or more clips.

    Parameters
    ----------
    program : Program or path
    frames : int array (rows, cols) or (clips, rows, cols)
    build_dir : path, optional
        Cache of builds, see :func:`bamac_sim.build.build`.
    waves : path, optional
        Dump waves; the suffix ``.fst``, ``.vcd`` or ``.saif`` decides the format.
    trace, accumulators : bool
        Record every layer's outputs, and the accumulators too.
    idle, stall, reset_at, monitors, seed, patience, loaded
        See :class:`Job`.
    verilog : str, optional
        Another design with the same ports, see :func:`bamac_sim.build.build`.
    progress : callable(fraction, cycles), optional
        Called now and then.

    Returns
    -------
    SimulationResult

    Raises
    ------
    ToolError, BuildError
        If the simulator cannot be built.
    SimulationError
        If the run fails.
    """
    job = Job(program, frames, idle=idle, stall=stall, reset_at=reset_at, monitors=monitors,
              seed=seed, patience=patience, loaded=loaded)
    return simulate_many([job], build_dir=build_dir, waves=waves, trace=trace,
                         accumulators=accumulators, verilog=verilog, progress=progress)[0]


def simulate_many(jobs, *, build_dir=None, waves=None, trace=True, accumulators=False,
                  verilog=None, progress=None):
    """Run jobs of one geometry one after the other in one simulator, with a reset before each.

    Returns
    -------
    list of SimulationResult
        One per job.

    Raises
    ------
    ValueError
        If there is no job, or the jobs' geometries differ, or accumulators are asked of int8 lanes.
    ToolError, BuildError, SimulationError
        As :func:`simulate`.
    """
    jobs = [job if isinstance(job, Job) else Job(**job) for job in jobs]
    if not jobs:
        raise ValueError("There must be at least one job")
    geometry = jobs[0].program.geometry
    for job in jobs:
        if job.program.geometry.digest() != geometry.digest():
            raise ValueError(f"All jobs must have one geometry, not {geometry.name} and "
                             f"{job.program.geometry.name}")
    if accumulators and "acc" not in _record_fields(geometry, accumulators=True):
        raise ValueError(f"Accumulators of array {geometry.name} cannot be recorded: int8 lanes "
                         f"show their values alone")
    trace = bool(trace or accumulators or any(job.monitors for job in jobs))
    built = build(geometry, trace=trace, accumulators=accumulators, build_dir=build_dir,
                  verilog=verilog,
                  waves=Path(waves).suffix[1:].lower() if waves is not None else False)

    folder = Path(tempfile.mkdtemp(prefix="bamac-sim-"))
    try:
        _write_jobs(folder, jobs, built)
        _run(folder, jobs, built, waves, progress)
        results = [_read_result(folder, index, job, built, waves)
                   for index, job in enumerate(jobs)]
    except SimulationError:
        raise  # the error names the log, so the folder stays
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return results


def _write_jobs(folder, jobs, built):
    table = []
    for index, job in enumerate(jobs):
        program = job.program
        np.savez(folder / f"{index}.npz", descriptors=program.descriptors.astype(np.uint32),
                 weights=np.ascontiguousarray(program.weights, np.int8).reshape(-1).view("<u4"),
                 frames=program.stream(job.frames).astype(np.int16))
        table.append({
            "index": index, "layers": len(program.layers),
            "beats": len(job.frames) * program.sent_shape[1] * program.row_beats,
            "outputs": program.manifest["network"]["outputs"], "idle": job.idle,
            "stall": job.stall, "reset_at": job.reset_at, "monitors": job.monitors,
            "seed": job.seed, "patience": job.patience, "loaded": job.loaded,
        })
    (folder / "jobs.json").write_text(json.dumps({
        "common": {"trace": built.trace, "design": asdict(_design(built))},
        "jobs": table,
    }), encoding="utf-8")


def _design(built):
    """What the testbench must know: the geometry's lane may be unknown to the simulator's process.
    """
    geometry = built.geometry
    return Design(int(geometry.digest()[:8], 16), geometry.max_layers, geometry.counters,
                  _record_fields(geometry, accumulators=built.accumulators),
                  geometry.weight_window)


def _record_fields(geometry, *, accumulators):
    """What the datapath's write-back records of a tile."""
    return own_fields(variant_of(geometry).write_back.record_signature(
        geometry, accumulators=accumulators))


def _run(folder, jobs, built, waves, progress):
    told = None

    def watch():
        nonlocal told
        try:
            state = json.loads((folder / "progress.json").read_text())
        except (FileNotFoundError, ValueError):
            return
        if state != told:
            told = state
            progress(state["done"], state["cycles"])

    results, log = folder / "results.xml", folder / "simulation.log"
    runner = Runner(built.toolchain, watch=watch if progress else None)
    test_args = []
    if waves is not None:
        test_args = ["--trace-file", str(Path(waves).resolve())]
    failure = None
    try:
        runner.test(
            hdl_toplevel=TOP, hdl_toplevel_lang="verilog", test_module="bamac_sim.run_jobs",
            build_dir=built.folder, test_dir=folder, results_xml=str(results), log_file=log,
            waves=waves is not None, test_args=test_args, seed=jobs[0].seed,
            timescale=TIMESCALE, extra_env={"BAMAC_JOBS": str(folder), "COCOTB_ANSI_OUTPUT": "0"})
    except (RuntimeError, SystemExit) as error:
        failure = error
    if progress:
        watch()
    try:
        tests, failed = get_results(results)
    except Exception as error:  # absent, or cut off in the middle
        tests, failed, failure = 0, 0, failure or error
    if (folder / "error.json").is_file():
        error = json.loads((folder / "error.json").read_text())
        raise SimulationError(f"Simulation of job {error['index']} (seed "
                              f"{jobs[error['index']].seed}) failed: {error['text']}; see {log}")
    if failure is not None or failed or tests != 1:
        raise SimulationError(f"Simulation ended without a result; see {log}") from failure


def _read_result(folder, index, job, built, waves):
    try:
        facts = json.loads((folder / f"{index}.result.json").read_text())
        with np.load(folder / f"{index}.result.npz") as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError) as error:
        raise SimulationError(f"Simulation left no result of job {index}; "
                              f"see {folder / 'simulation.log'}") from error
    counters = facts["counters"]
    cycles = sum(value for layer in counters for name, value in layer.items()
                 if name.startswith("cycles_"))
    trace = None
    if built.trace:
        try:
            trace = assemble_trace(job.program, len(job.frames), arrays)
        except TraceRecordError as error:
            raise SimulationError(f"Simulation of job {index} left a trace with a hole: {error}; "
                                  f"see {folder / 'simulation.log'}") from error
    return SimulationResult(
        arrays["outputs"], cycles if built.geometry.counters else facts["elapsed"],
        facts["elapsed"], facts["clip_ends"], counters, trace, facts["monitors"], built.seconds,
        facts["seconds"], facts["simulated"] / facts["seconds"] / 1000,
        Path(waves) if waves is not None else None)


class TraceRecordError(ValueError):
    """Trace records are missing, repeated or out of range."""


def assemble_trace(program, clips, records):
    """Maps and vectors per clip from a run's trace records, see :class:`SimulationResult`.

    Layers finish a clip before they begin the next one, so a layer's records divide evenly.
    """
    geometry = program.geometry
    result = [{} for _ in range(clips)]
    for layer in program.layers:
        dense = layer["kind"] == "dense"
        prefix = "word" if dense else "tile"
        chosen = records[f"{prefix}_layer"] == layer["index"]
        own = {name.removeprefix(prefix + "_"): array[chosen] for name, array in records.items()
               if name.startswith(prefix + "_")}
        make = _dense_arrays if dense else _conv_arrays
        count = len(own["layer"])
        if not count or count % clips:
            raise TraceRecordError(f"layer {layer['name']} has {count} records for {clips} clips")
        step = count // clips
        for clip, entry in enumerate(result):
            part = {name: array[clip * step:(clip + 1) * step] for name, array in own.items()}
            entry[layer["name"]] = make(geometry, layer, part)
    return result


def _dense_arrays(geometry, layer, part):
    if part["index"].tolist() != list(range(layer["out_channels"])):
        raise TraceRecordError(f"layer {layer['name']} has outputs {part['index'].tolist()}, "
                               f"not 0..{layer['out_channels'] - 1}")
    values = part["value"].astype(np.int64)
    if layer["emit"] == "raw":
        values = (values ^ (1 << 31)) - (1 << 31)
    return {"outputs": values}


def _conv_arrays(geometry, layer, part):
    rows, cols, channels = geometry.tile_rows, geometry.tile_cols, geometry.channels
    tile_rows = -(-layer["tiled_rows"] // rows)
    tile_cols = -(-layer["tiled_cols"] // cols)
    passes = -(-layer["out_channels"] // channels)
    by_word = "group" in part
    words = channels // geometry.word_channels if by_word else 1  # records of a tile and pass
    index = (part["row"] * tile_cols + part["col"]) * passes + part["pass"]
    if by_word:
        index = index * words + part["group"]
    inside = (part["row"] < tile_rows) & (part["col"] < tile_cols) & (part["pass"] < passes)
    if not inside.all() or not np.array_equal(np.sort(index),
                                              np.arange(tile_rows * tile_cols * passes * words)):
        raise TraceRecordError(
            f"layer {layer['name']} has {len(index)} tiles, not each of {tile_rows} x {tile_cols} "
            f"in {passes} passes once")
    order = np.argsort(index)
    if by_word:
        # -> (pass, word, channel of the word, tile row, row, tile col, col)
        maps = np.packbits(np.unpackbits(part["bits"], axis=1, count=geometry.lanes,
                                         bitorder="little").reshape(-1, 8), bitorder="little")
        maps = maps.reshape(len(index), -1)[order].reshape(
            tile_rows, tile_cols, passes, words, rows, cols, geometry.word_channels)
        maps = maps.transpose(2, 3, 6, 0, 4, 1, 5).reshape(
            passes * channels, tile_rows * rows, tile_cols * cols)
        return {"bits": np.ascontiguousarray(
            maps[:layer["out_channels"], :layer["tiled_rows"], :layer["tiled_cols"]])}

    def to_map(lanes):  # (tile_rows * tile_cols * passes, lanes)
        lanes = lanes[order].reshape(tile_rows, tile_cols, passes, rows, cols, channels)
        # -> (pass, channel, tile row, row, tile col, col)
        lanes = lanes.transpose(2, 5, 0, 3, 1, 4).reshape(
            passes * channels, tile_rows * rows, tile_cols * cols)
        return np.ascontiguousarray(
            lanes[:layer["out_channels"], :layer["tiled_rows"], :layer["tiled_cols"]])

    bits = np.unpackbits(part["bits"], axis=1, count=geometry.lanes, bitorder="little")
    arrays = {"bits": to_map(bits)}
    if "acc" in part:
        planes = np.unpackbits(part["acc"], axis=1, count=geometry.lanes * geometry.acc_bits,
                               bitorder="little").reshape(-1, geometry.lanes, geometry.acc_bits)
        weights = 1 << np.arange(geometry.acc_bits, dtype=np.int64)
        weights[-1] = -weights[-1]
        arrays["acc"] = to_map(planes @ weights)
    return arrays
