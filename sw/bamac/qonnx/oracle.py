"""Run an exported file by the ``qonnx`` package's own executor: an oracle that is not ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bamac.ir.network import GraphError, IntegerNetwork
from bamac.ir.reference import check_frames

from .exporter import OUTPUT_NAMES

__all__ = ["OracleTrace", "run"]


@dataclass(frozen=True, eq=False)
class OracleTrace:
    """What qonnx computed, named as in :class:`bamac.ir.reference.ReferenceTrace`.

    ``bits`` and ``outputs`` are dicts by layer, of (channels, rows, cols) before pooling (uint8;
    int64 where they are levels) and (features,) int64. ``vector`` is None without a global pool.
    ``raw`` are the integer scores, ``scores`` the real ones in float32.
    """

    bits: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    vector: np.ndarray | None
    raw: np.ndarray
    scores: np.ndarray


def _integers(name: str, value: np.ndarray) -> np.ndarray:
    rounded = np.rint(value)
    if not np.array_equal(rounded, value):
        raise GraphError(f"{name}: qonnx computed numbers that are not integers")
    return rounded.astype(np.int64)


def run(network: IntegerNetwork, path: str | Path, frames: np.ndarray) -> OracleTrace:
    """Run the file at ``path``, exported from ``network``, on integer ``frames``.

    Raises
    ------
    GraphError
        If the frames do not fit the network's input, or qonnx computes numbers that are no
        integers where the reference has integers.
    """
    from onnx import load
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    frames = check_frames(network.input, frames)
    wrapped = ModelWrapper(load(Path(path)))
    batch = frames.reshape(1, *network.input.map_shape).astype(np.float32)
    values = execute_onnx(wrapped, {"frames": batch}, return_full_exec_context=True)
    bits, outputs = {}, {}
    for conv in network.convs:
        name = OUTPUT_NAMES["bits"].format(conv.name)
        found = _integers(name, values[name])[0]
        bits[conv.name] = found.astype(np.uint8) if conv.emits_bits or conv.emits_int8 else found
    raw = _integers("raw", values[OUTPUT_NAMES["raw"]])[0]
    for dense in network.denses[:-1]:
        name = OUTPUT_NAMES["outputs"].format(dense.name)
        outputs[dense.name] = _integers(name, values[name])[0]
    outputs[network.denses[-1].name] = raw
    pooled = values.get(OUTPUT_NAMES["vector"])
    vector = None if pooled is None else _integers("vector", pooled)[0]
    return OracleTrace(bits, outputs, vector, raw, values[OUTPUT_NAMES["scores"]][0])
