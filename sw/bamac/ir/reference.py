"""The integer reference: what the network computes, by definition.

The arithmetic is a sum of products of integers. It runs on floating point only as an exact engine:
before a layer is computed, the largest magnitude that any partial sum can reach is known from its
weights and the range of its inputs, and an engine is taken whose significand holds it. Speed
matters, because every other level is compared with this one.

Each layer type computes itself, see :meth:`bamac.ir.layer.Layer.run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import Array, GraphError
from .conv import ConvTrace, conv_accumulators, conv_outputs, global_pool, max_pool
from .dense import DenseTrace, dense_accumulators, emit
from .network import FRAMES, InputSpec, IntegerNetwork

__all__ = [
    "ConvTrace", "DenseTrace", "ReferenceTrace", "check_frames", "conv_accumulators",
    "conv_outputs", "dense_accumulators", "emit", "global_pool", "max_pool", "run",
]


@dataclass(frozen=True, eq=False)
class ReferenceTrace:
    """What a network computed on one window of frames, layer by layer in execution order.

    ``layers`` has a :class:`bamac.ir.layer.LayerTrace` for each layer's name: a :class:`ConvTrace`,
    a :class:`DenseTrace`, or what another type of layer gives. ``vector`` is what the last layer
    that reads a map hands on, ``outputs`` the raw integer scores (int64) and ``scores`` the real
    ones (float64).
    """

    layers: dict[str, Any]
    vector: Array
    outputs: Array
    scores: Array


def check_frames(spec: InputSpec, frames: npt.ArrayLike) -> Array:
    """Return ``frames`` as int64, or raise :class:`GraphError` if they do not fit ``spec``."""
    frames = np.asarray(frames)
    if not np.issubdtype(frames.dtype, np.integer):
        raise GraphError(f"Frames must be integers, not {frames.dtype}")
    if frames.shape != spec.shape:
        wanted, shape = (" x ".join(str(size) for size in each)
                         for each in (spec.shape, frames.shape))
        raise GraphError(f"Frames must be {wanted}, not {shape or 'a scalar'}")
    low, high = int(frames.min()), int(frames.max())
    if low < spec.min or high > spec.max:
        raise GraphError(f"Frames must be in {spec.min}..{spec.max}, not {low}..{high}")
    return frames.astype(np.int64)


def run(network: IntegerNetwork, frames: npt.ArrayLike, *,
        keep_acc: bool = False) -> ReferenceTrace:
    """Run ``network`` on one window of integer ``frames``, of the input's shape.

    Parameters
    ----------
    keep_acc : bool
        Keep the accumulators of the convolutions too: eight bytes per position and channel.

    Returns
    -------
    ReferenceTrace

    Raises
    ------
    GraphError
        If the frames have another shape or type, or a value outside the network's input range.
    """
    spec = network.input
    made = {FRAMES: check_frames(spec, frames).reshape(spec.map_shape) - spec.zero_point}
    layers: dict[str, Any] = {}
    vector = made[FRAMES].reshape(-1)
    for layer, before in network.steps():
        parts = [made[source] for source in network.inputs_of(layer.name)]
        activations = parts[0] if len(parts) == 1 else np.concatenate(parts)
        done = layer.run(activations, before, keep_acc=keep_acc)
        layers[layer.name], made[layer.name] = done, done.result
        if before.is_map and done.result.ndim == 1:
            vector = done.result
    outputs = made[network.layers[-1].name]
    scores = outputs * np.asarray(network.score_scale) + np.asarray(network.score_offset)
    return ReferenceTrace(layers, vector, outputs, scores)
