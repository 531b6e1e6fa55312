"""The integer reference: what the network computes, by definition.

The arithmetic is a sum of products of integers. It runs on floating point only as an exact engine:
before a layer is computed, the largest magnitude that any partial sum can reach is known from its
weights and the range of its inputs, and an engine is taken whose significand holds it. Speed
matters, because every other level is compared with this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .network import VALUE_MAX, Conv2d, Dense, GraphError

__all__ = [
    "ConvTrace", "DenseTrace", "ReferenceTrace", "check_frames", "conv_accumulators",
    "conv_outputs", "dense_accumulators", "global_pool", "max_pool", "run",
]

# Engines in the order of speed, with the largest integer up to which they are exact.
_ENGINES = ((np.float32, 1 << 24), (np.float64, 1 << 53))


@dataclass(frozen=True, eq=False)
class ConvTrace:
    """What one convolution computed.

    ``bits`` (channels, rows, cols) uint8 is ``acc >= threshold`` before pooling, or the 8-bit
    values of a layer that has values, ``pooled`` the map after the layer's max pool, ``vector``
    (channels,) int64 the result of its global pool or None, ``acc`` the accumulators, int64, or
    None when they were not asked for.
    """

    name: str
    bits: np.ndarray
    pooled: np.ndarray
    vector: np.ndarray | None = None
    acc: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class DenseTrace:
    """What one dense layer computed: ``acc`` with the bias in it, and what was emitted of it."""

    name: str
    acc: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class ReferenceTrace:
    """What a network computed on one window of frames, layer by layer in execution order.

    ``vector`` is the global pool's result, ``outputs`` the raw integer scores (int64) and
    ``scores`` the real ones (float64).
    """

    layers: dict
    vector: np.ndarray
    outputs: np.ndarray
    scores: np.ndarray


def check_frames(spec, frames):
    """Return ``frames`` as int64, or raise :class:`GraphError` if they do not fit ``spec``."""
    frames = np.asarray(frames)
    if not np.issubdtype(frames.dtype, np.integer):
        raise GraphError(f"Frames must be integers, not {frames.dtype}")
    if frames.shape != (spec.rows, spec.cols):
        shape = " x ".join(str(size) for size in frames.shape)
        raise GraphError(f"Frames must be {spec.rows} x {spec.cols}, not {shape or 'a scalar'}")
    low, high = int(frames.min()), int(frames.max())
    if low < spec.min or high > spec.max:
        raise GraphError(f"Frames must be in {spec.min}..{spec.max}, not {low}..{high}")
    return frames.astype(np.int64)


def _engine(name, magnitude):
    for dtype, exact in _ENGINES:
        if magnitude < exact:
            return dtype
    raise GraphError(f"{name}: accumulators must stay below 2^53, not reach {magnitude}")


def conv_accumulators(conv, activations, input_max):
    """Accumulators (channels, rows, cols) int64 of ``conv`` on ``activations`` (int, 3 axes).

    ``input_max`` is the largest magnitude that an activation can have.
    """
    return _conv_sums(conv, activations, _reach(conv, input_max)).astype(np.int64)


def _reach(conv, input_max):
    """The largest magnitude that a sum of ``conv`` can have."""
    return int(np.abs(conv.weights).sum(axis=(1, 2, 3)).max()) * int(input_max)


def _conv_sums(conv, activations, reach):
    """The accumulators as integers in the engine's floating point type."""
    top, bottom, left, right = conv.padding
    kernel_rows, kernel_cols = conv.kernel
    dtype = _engine(conv.name, reach)
    padded = np.pad(activations, ((0, 0), (top, bottom), (left, right))).astype(dtype)
    rows, cols = conv.conv_shape(*activations.shape[1:])
    step = conv.stride
    weights = conv.weights.transpose(2, 3, 0, 1).astype(dtype)  # (i, j, out, in)
    # Beyond the last position the slice may run one row or column too far
    taps = (padded[:, i:i + rows * step:step, j:j + cols * step:step][:, :rows, :cols].reshape(
        conv.in_channels, -1) for i in range(kernel_rows) for j in range(kernel_cols))
    weights = weights.reshape(-1, conv.out_channels, conv.in_channels)
    if conv.in_channels < 16:
        # A matrix product over so few channels would mostly move memory
        acc = np.concatenate(weights, axis=1) @ np.concatenate(list(taps))
    else:
        acc = np.zeros((conv.out_channels, rows * cols), dtype)
        for weight, tap in zip(weights, taps, strict=True):
            acc += weight @ tap
    return acc.reshape(conv.out_channels, rows, cols)


def _at_least(sums, thresholds, reach):
    """``sums >= threshold`` of each channel as uint8, in the sums' own type.

    No sum is beyond ``reach``, so a threshold beyond it means the same as the next integer, which
    the engine's type holds too.
    """
    limits = np.clip(thresholds, -reach, reach + 1).astype(sums.dtype)
    return (sums >= limits[:, np.newaxis, np.newaxis]).view(np.uint8)


def max_pool(bits, pool):
    """Maximum over windows of ``pool`` with stride = size; what does not fill one is dropped."""
    rows, cols = bits.shape[1] // pool[0], bits.shape[2] // pool[1]
    windows = bits[:, :rows * pool[0], :cols * pool[1]]
    return np.maximum.reduce([windows[:, i::pool[0], j::pool[1]]
                              for i in range(pool[0]) for j in range(pool[1])])


def dense_accumulators(dense, vector, input_max):
    """``weights @ vector + bias`` as int64, for ``vector`` within 0..``input_max``."""
    reach = int(np.abs(dense.weights).sum(axis=1).max()) * int(input_max)
    # int64 is exact far beyond this; the check is about sums that hardware would never hold
    _engine(dense.name, reach + int(np.abs(dense.bias).max()))
    return dense.weights @ vector.astype(np.int64) + dense.bias


def emit(dense, acc):
    """What ``dense`` hands on of ``acc``: bits, clamped unsigned integers or the raw sum."""
    if dense.emit == "bit":
        return (acc >= 0).astype(np.int64)
    if dense.emit == "unsigned":
        return np.clip(acc >> dense.shift, 0, (1 << dense.bits) - 1)
    return acc


def conv_outputs(conv, acc):
    """The map (channels, rows, cols) uint8 that ``conv`` makes of its accumulators, not pooled."""
    if conv.values:
        shifted = (acc + conv.bias[:, np.newaxis, np.newaxis]) >> conv.shift
        return np.clip(shifted, 0, VALUE_MAX).astype(np.uint8)
    return (acc >= conv.thresholds[:, np.newaxis, np.newaxis]).astype(np.uint8)


def global_pool(conv, pooled):
    """The vector (channels,) int64 of a map under the layer's global pool, or None."""
    if conv.global_pool == "max":
        return pooled.max(axis=(1, 2)).astype(np.int64)
    if conv.global_pool == "sum":
        total = pooled.sum(axis=(1, 2), dtype=np.int64)
        return np.minimum(total >> conv.pool_shift, VALUE_MAX) if conv.values else total
    return None


def run(network, frames, *, keep_acc=False):
    """Run ``network`` on one window of integer ``frames`` (rows, cols).

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
    activations = check_frames(spec, frames)[np.newaxis]
    input_max = max(-spec.min, spec.max)
    layers = {}
    for layer in network.layers:
        if isinstance(layer, Conv2d):
            reach = _reach(layer, input_max)
            sums = _conv_sums(layer, activations, reach)
            if layer.values:
                bits = conv_outputs(layer, sums.astype(np.int64))
            else:
                bits = _at_least(sums, layer.thresholds, reach)
            pooled = max_pool(bits, layer.pool)
            vector = global_pool(layer, pooled)
            layers[layer.name] = ConvTrace(layer.name, bits, pooled, vector,
                                           sums.astype(np.int64) if keep_acc else None)
            activations, input_max = pooled, VALUE_MAX if layer.values else 1
            if vector is not None:
                pool_vector = features = vector
                if layer.global_pool == "sum" and not layer.values:
                    input_max = pooled[0].size
        else:
            assert isinstance(layer, Dense)
            acc = dense_accumulators(layer, features, input_max)
            features = emit(layer, acc)
            layers[layer.name] = DenseTrace(layer.name, acc, features)
            input_max = 1 if layer.emit == "bit" else (1 << layer.bits) - 1
    scores = features * network.score_scale + network.score_offset
    return ReferenceTrace(layers, pool_vector, features, scores)
