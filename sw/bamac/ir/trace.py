"""Traces: what each layer computed on one window, from the reference or from the RTL.

Both sides write the same form, so that ``bamac diff`` can name the first place where they differ.
A file is a NumPy ``.npz`` with one array per layer and kind, ``LAYER/bits`` or ``LAYER/outputs``
(and ``LAYER/acc`` where it was kept), and ``meta``, a JSON text.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bamac import files

from .checks import Array
from .network import IntegerNetwork
from .reference import ReferenceTrace

__all__ = [
    "Divergence", "Trace", "TraceError", "first_divergence", "from_reference", "input_digest",
    "load", "save",
]

SCHEMA = 1
SOURCES = ("reference", "rtl")
_NDIM = {"bits": (3,), "outputs": (1,), "acc": (1, 3)}


class TraceError(ValueError):
    """A trace is damaged, or cannot be compared with another."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One window through one network.

    Parameters
    ----------
    layers : dict
        Per layer, in execution order, a dict of integer arrays: for a convolution ``bits``
        (channels, rows, cols) before pooling (values of 8 bits where maps are int8), for a
        dense layer ``outputs`` (features,); both may have ``acc`` of the same shape.
    source : ``"reference"`` or ``"rtl"``
    network, input : hex digests of what was run
    """

    layers: dict[str, dict[str, Array]]
    source: str
    network: str
    input: str
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise TraceError(f"Trace source must be one of {SOURCES}, not {self.source!r}")
        for name, arrays in self.layers.items():
            if ("bits" in arrays) == ("outputs" in arrays):
                raise TraceError(f"Layer {name} must have either bits or outputs, "
                                 f"not {sorted(arrays)}")
            for kind, array in arrays.items():
                if kind not in _NDIM:
                    raise TraceError(f"Layer {name} must hold bits, outputs or acc, not {kind!r}")
                if array.dtype.kind not in "iu" or array.ndim not in _NDIM[kind]:
                    raise TraceError(f"Array {name}/{kind} must be integers of {_NDIM[kind]} "
                                     f"dimensions, not {array.dtype} of shape {array.shape}")
            if "bits" in arrays and arrays["bits"].size and arrays["bits"].max() > 255:
                raise TraceError(f"Array {name}/bits must hold bits or values of 8 bits, "
                                 f"not {arrays['bits'].max()}")


@dataclass(frozen=True)
class Divergence:
    """The first place, in execution order, where two traces differ.

    ``kind`` is ``"bits"``, ``"outputs"`` or ``"acc"``. For a dense layer ``row`` and ``col`` are
    None. ``tile`` is (tile row, tile column) when the tile's shape was given. ``acc`` holds both
    accumulators where both traces kept them.
    """

    layer: str
    kind: str
    row: int | None
    col: int | None
    channel: int
    first: int
    second: int
    count: int
    total: int
    tile: tuple[int, int] | None = None
    acc: tuple[int, int] | None = None

    def __str__(self) -> str:
        place = f"layer {self.layer}"
        if self.row is not None:
            place += f", row {self.row}, col {self.col}"
        place += f", channel {self.channel}"
        if self.tile is not None:
            place += f" (tile {self.tile[0]}, {self.tile[1]})"
        acc = f", accumulators {self.acc[0]} and {self.acc[1]}" if self.acc else ""
        return (f"{place}: {self.kind} {self.first} and {self.second}{acc}; "
                f"{self.count} of {self.total} differ in this layer")


def input_digest(frames: npt.ArrayLike) -> str:
    """SHA-256 over the shape and the values of integer ``frames``, whatever their integer type."""
    frames = np.asarray(frames)
    h = hashlib.sha256(repr(tuple(int(size) for size in frames.shape)).encode())
    h.update(frames.astype("<i8").tobytes())
    return h.hexdigest()


def from_reference(network: IntegerNetwork, frames: npt.ArrayLike,
                   result: ReferenceTrace) -> Trace:
    """The :class:`Trace` of a :class:`bamac.ir.reference.ReferenceTrace`."""
    layers: dict[str, dict[str, Array]] = {}
    for name, layer in result.layers.items():
        arrays = dict(layer.arrays())
        if layer.acc is not None:
            arrays["acc"] = layer.acc
        layers[name] = arrays
    return Trace(layers, "reference", network.digest(), input_digest(frames))


def save(trace: Trace, path: str | Path) -> None:
    """Write ``trace`` to ``path``; the same trace always gives the same bytes."""
    meta = {"schema": SCHEMA, "source": trace.source, "network": trace.network,
            "input": trace.input, "layers": list(trace.layers), "notes": trace.notes}
    with files.new_file(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            def put(name: str, array: Array) -> None:
                # A fixed date: numpy's own writer would put today's into the file
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w") as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array),
                                              allow_pickle=False)

            put("meta", np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8))
            for layer, arrays in trace.layers.items():
                for kind, array in sorted(arrays.items()):
                    put(f"{layer}/{kind}", np.asarray(array))


def load(path: str | Path) -> Trace:
    """Read a trace back.

    Raises
    ------
    TraceError
        If the file is no trace, is damaged, or was written by a newer version.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            meta = json.loads(bytes(arrays.pop("meta")))
            schema = meta["schema"]
            names, source, network, digest, notes = (
                meta[key] for key in ("layers", "source", "network", "input", "notes"))
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, OSError,
                AttributeError, NotImplementedError, zlib.error) as error:
            raise TraceError(f"{path}: not a trace, or damaged ({error})") from error
    if schema != SCHEMA:
        raise TraceError(f"{path}: trace schema must be {SCHEMA}, not {schema!r}")
    layers: dict[str, dict[str, Array]] = {name: {} for name in names}
    for key, array in arrays.items():
        layer, _, kind = key.rpartition("/")
        if layer not in layers:
            raise TraceError(f"{path}: array {key!r} belongs to no layer of the trace")
        layers[layer][kind] = array
    try:
        return Trace(layers, source, network, digest, notes)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def _compare(layer: str, kind: str, a: Array, b: Array, tile: tuple[int, int] | None,
             accs: tuple[Array | None, Array | None]) -> Divergence | None:
    """The first difference of one kind of array of one layer."""
    if a.ndim == b.ndim == 3:
        rows, cols = (min(a.shape[axis], b.shape[axis]) for axis in (1, 2))
        a, b = a[:, :rows, :cols], b[:, :rows, :cols]
    if a.shape != b.shape:
        raise TraceError(f"Layer {layer}: {kind} must have the same shape in both traces, "
                         f"not {a.shape} and {b.shape}")
    differs = a.astype(np.int64) != b.astype(np.int64)
    if not differs.any():
        return None
    row: int | None = None
    col: int | None = None
    at_tile = None
    where: tuple[int, ...]
    if differs.ndim == 3:
        # (channels, rows, cols) -> (rows, cols, channels): a position is computed for all channels
        row, col, channel = (int(i) for i in np.argwhere(np.moveaxis(differs, 0, -1))[0])
        where = (channel, row, col)
        at_tile = None if tile is None else (row // tile[0], col // tile[1])
    else:
        channel = int(np.argwhere(differs)[0, 0])
        where = (channel,)
    acc = None
    if kind != "acc" and accs[0] is not None and accs[1] is not None:
        acc = (int(accs[0][where]), int(accs[1][where]))
    return Divergence(layer, kind, row, col, channel, int(a[where]), int(b[where]),
                      int(differs.sum()), differs.size, at_tile, acc)


def first_divergence(a: Trace, b: Trace, *,
                     tile: tuple[int, int] | None = None) -> Divergence | None:
    """The first :class:`Divergence` of two traces, or None if they are equal.

    The hardware does not compute rows and columns of a map that no later layer uses; the part that
    both traces hold is compared. Layers are compared in execution order, so a difference is named
    in the layer that causes it and not in those that follow; inside a layer row by row, column by
    column, channel by channel. Within a layer, accumulators are compared (where both kept them)
    only if the bits or outputs agree.

    Parameters
    ----------
    tile : (rows, cols) of the array's pixel tile, or None

    Raises
    ------
    TraceError
        If the traces are of different networks or inputs, or have no layer in common.
    """
    for what in ("network", "input"):
        first, second = getattr(a, what), getattr(b, what)
        if first != second:
            raise TraceError(f"Traces must be of the same {what}, not {first[:12]} "
                             f"and {second[:12]}")
    if list(a.layers) != list(b.layers):
        raise TraceError(f"Traces must have the same layers, not {list(a.layers)} "
                         f"and {list(b.layers)}")
    for layer in a.layers:
        first, second = a.layers[layer], b.layers[layer]
        for kind in ("bits", "outputs", "acc"):
            if (kind in first) != (kind in second) and kind != "acc":
                raise TraceError(f"Layer {layer}: {kind} must be in both traces")
            if kind in first and kind in second:
                found = _compare(layer, kind, first[kind], second[kind], tile,
                                 (first.get("acc"), second.get("acc")))
                if found is not None:
                    return found
    return None
