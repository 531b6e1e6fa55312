"""One point of a sweep: compile, predict, and a row of plain values."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

import bamac_hw
from bamac.compiler import CompileError, compile_network
from bamac.files import digest_of_sources
from bamac.perf import cycles as model
from bamac.perf import traffic as traffic_model
from bamac_hw.geometry import Geometry, GeometryError

from .points import MEMORIES

__all__ = ["digest_of_clips", "evaluate", "fit_memories", "geometry_of", "model_version",
           "synthesise"]

_WEIGHT_ROWS, _WORDS, _VECTOR_WORDS = 1 << 16, 1 << 16, 1 << 12     # the most a geometry can have


def model_version():
    """Version of the package with a digest of the sources that decide a row."""
    package = Path(__file__).parents[1]
    digest = digest_of_sources(*(package / name for name in ("ir", "compiler", "perf")),
                               *(package / "explore" / name
                                 for name in ("evaluate.py", "points.py")),
                               bamac_hw.__path__[0])
    return f"{version('bamac')}+{digest[:12]}"


def digest_of_clips(frames):
    """SHA-256 of integer frames (clips, rows, cols)."""
    frames = np.ascontiguousarray(frames, "<i2")
    return hashlib.sha256(repr(frames.shape).encode() + frames.tobytes()).hexdigest()


def fit_memories(point, network, array=None):
    """The point's geometry with the smallest memories that hold ``network``.

    Parameters
    ----------
    array : Geometry, optional
        Take this array's memories instead: as many bytes as they have there.

    Raises
    ------
    GeometryError, CompileError
        If the point cannot be built, or the network not be mapped onto it.
    """
    smallest = point.geometry(weight_rows=16)
    pixels, channels = smallest.pixels, smallest.channels
    if array is not None:
        return replace(
            smallest, weight_rows=max(16, array.weight_bytes // channels),
            input_words=max(4, array.input_words * array.pixels // pixels),
            line_words=max(4, array.line_words * array.lanes // smallest.lanes),
            vector_words=array.vector_words)
    largest = replace(smallest, weight_rows=_WEIGHT_ROWS,
                      input_words=_WORDS, line_words=_WORDS, vector_words=_VECTOR_WORDS)
    program = compile_network(network, largest)
    rings = [row["ring"]["words_per_bank"] for row in program.layers if "ring" in row]
    vector_bytes = program.manifest["memory"]["used_bytes"]["vectors"]
    return replace(
        largest, weight_rows=max(16, len(program.weights)), input_words=max(4, rings[0]),
        line_words=max(4, sum(rings[1:])),
        vector_words=max(4, 8 * vector_bytes // Geometry.VECTOR_BITS))


def evaluate(point, network, frames, array=None):
    """The row of one point: what the counters would show, means over the clips.

    Parameters
    ----------
    point : Point
    network : IntegerNetwork
    frames : int array (clips, rows, cols)
    array : Geometry, optional
        See :func:`fit_memories`.

    Returns
    -------
    dict
        ``status`` is ``ok``, or ``refused`` with the ``reason``. Bytes and cycles are per clip;
        ``on_chip_bytes`` is what the array's memories hold; ``weight_bound_bytes`` is every weight
        read once; ``adding_share`` the share of cycles in which at least one lane may add.
    """
    row = {**point.to_dict(), "lanes": None, "status": "ok", "reason": ""}
    try:
        row["lanes"] = point.geometry(weight_rows=16).lanes
        geometry = fit_memories(point, network, array)
        program = compile_network(network, geometry)
    except (GeometryError, CompileError) as error:
        return {**row, "status": "refused", "reason": str(error)}

    predicted = [model.predict(program, network, clip) for clip in frames]
    limits = model.bounds(program)
    cycles = [int(clip["cycles"]) for clip in predicted]
    memory = program.manifest["memory"]
    width = traffic_model.access_bytes(geometry)
    traffic = {memory_name: float(np.mean([
        sum(layer[name] for layer in clip["layers"] for name in names) for clip in predicted]))
        * width[memory_name] for memory_name, names in traffic_model.MEMORY_COUNTERS.items()}
    adding = [model.adding_cycles(program, clip["layers"]) for clip in predicted]
    bound = memory["used_bytes"]["weights"]
    return {
        **row,
        "cycles": float(np.mean(cycles)), "cycles_least": min(cycles), "cycles_most": max(cycles),
        "cycles_bound_best": int(limits["best"]["cycles"]),
        "cycles_bound_worst": int(limits["worst"]["cycles"]),
        "adding_share": float(np.sum(adding) / np.sum(cycles)),
        "on_chip_bytes": sum(memory["capacity_bytes"].values()),
        "activation_bytes": memory["activation_bytes"],
        "traffic_bytes": sum(traffic.values()),
        **{f"{name}_traffic_bytes": value for name, value in traffic.items()},
        "weight_bound_bytes": bound, "weight_ratio": traffic["weights"] / bound,
        **{name: getattr(geometry, name) for name in MEMORIES},
    }


def geometry_of(row):
    """The geometry of a row whose status is ``ok``."""
    names = {field.name for field in fields(Geometry)}
    return Geometry("explored", **{name: value for name, value in row.items() if name in names})


def synthesise(geometry, target):
    """LUTs and other cells of an array after mapping for ``target``: a dict of kinds.

    See :mod:`bamac.fpga.resources`.
    """
    from bamac.fpga import mapped

    return mapped(geometry, target)
