"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from .bounds import largest_sum, reach
from .checks import Array, int_array, level_thresholds, require, weight_array
from .conv import levels_reached
from .engine import exact_dtype
from .layer import Hash, Layer, LayerTrace, TensorSpec

__all__ = ["Dense", "DenseTrace", "dense_accumulators", "emit"]


@dataclass(frozen=True, eq=False)
class DenseTrace(LayerTrace):
    """What one dense layer computed: ``acc`` with the bias in it, and what was emitted of it.

    Both are int64 (features,).
    """

    name: str
    acc: Array
    outputs: Array

    @property
    def result(self) -> Array:
        return self.outputs

    def arrays(self) -> dict[str, Array]:
        return {"outputs": self.outputs}


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """Fully connected layer on a vector, or on a whole map.

    A map is read flattened: channel after channel, row after row.

    ``emit`` is ``"raw"`` (``acc + bias``, int32: scores), ``"unsigned"``
    (``clamp((acc + bias) >> shift, 0, 2**bits - 1)``; the rounding constant is part of the bias),
    ``"bit"`` (``acc + bias >= 0``) or ``"levels"`` (``low + step * count``, where ``count`` of the
    feature's thresholds are reached by ``acc + bias``, as in :class:`bamac.ir.conv.Conv2d`).

    Parameters
    ----------
    weights : int array (out_features, in_features), in -127..127
    bias : int array (out_features,)
    thresholds : int array (out_features,) or (out_features, levels), of ``"levels"``, else None
    """

    name: str
    weights: Array
    bias: Array
    emit: str = "raw"
    bits: int = 8
    shift: int = 0
    thresholds: Array | None = None
    low: int = 0
    step: int = 1

    kind: ClassVar[str] = "dense"
    reads_map: ClassVar[bool] = False

    def __post_init__(self) -> None:
        w = weight_array(self.weights, f"{self.name}: weights", 2)
        object.__setattr__(self, "weights", w)
        b = int_array(self.bias, f"{self.name}: bias", 1)
        object.__setattr__(self, "bias", b)
        require(b.shape[0] == w.shape[0],
                f"{self.name}: bias must be one per output ({w.shape[0]}), not {b.shape[0]}")
        require(self.emit in ("raw", "unsigned", "bit", "levels"),
                f"{self.name}: emit must be 'raw', 'unsigned', 'bit' or 'levels', "
                f"not {self.emit!r}")
        require((self.emit == "levels") == (self.thresholds is not None),
                f"{self.name}: thresholds are of layers that emit levels")
        if self.thresholds is not None:
            object.__setattr__(self, "thresholds", level_thresholds(
                self.thresholds, f"{self.name}: thresholds", w.shape[0]))
        require(self.step >= 1, f"{self.name}: step must be positive, not {self.step}")
        require(self.emit == "levels" or (self.low, self.step) == (0, 1),
                f"{self.name}: low and step are of layers that emit levels")
        require(1 <= self.bits <= 16, f"{self.name}: bits must be in 1..16, not {self.bits}")
        require(0 <= self.shift <= 31, f"{self.name}: shift must be in 0..31, not {self.shift}")

    @property
    def in_channels(self) -> int:
        return int(self.weights.shape[1])

    @property
    def out_channels(self) -> int:
        return int(self.weights.shape[0])

    @property
    def emits_scores(self) -> bool:
        return self.emit == "raw"

    @property
    def levels(self) -> int:
        """Thresholds of a feature; 0 of a layer that does not emit levels."""
        if self.thresholds is None:
            return 0
        return 1 if self.thresholds.ndim == 1 else int(self.thresholds.shape[1])

    def check_input(self, before: TensorSpec) -> None:
        inputs = prod(before.shape)
        shown = f" ({' x '.join(map(str, before.shape))})" if before.is_map else ""
        require(self.in_channels == inputs,
                f"{self.name}: expects {self.in_channels} inputs, gets {inputs}{shown}")

    def map_values(self, before: TensorSpec) -> int:
        return 0

    def output(self, before: TensorSpec) -> TensorSpec:
        shape = (self.out_channels,)
        if self.emits_scores:
            low, high = reach(self.weights, before.low, before.high)
            return TensorSpec(shape, int((low + self.bias).min()), int((high + self.bias).max()))
        if self.emit == "levels":
            return TensorSpec(shape, self.low, self.low + self.step * self.levels)
        return TensorSpec(shape, 0, 1 if self.emit == "bit" else (1 << self.bits) - 1)

    def run(self, activations: Array, before: TensorSpec, *, keep_acc: bool = False) -> DenseTrace:
        acc = dense_accumulators(self, activations.reshape(-1), before.largest)
        return DenseTrace(self.name, acc, emit(self, acc))

    def describe_more(self, before: TensorSpec) -> dict[str, Any]:
        if self.emit == "unsigned":
            return {"emit": self.emit, "bits": self.bits, "shift": self.shift}
        if self.emit == "levels":
            return {"emit": self.emit, "levels": self.levels, "low": self.low, "step": self.step}
        return {"emit": self.emit}

    def update_digest(self, digest: Hash) -> None:
        digest.update(repr(("dense", self.name, self.weights.shape, self.emit, self.bits,
                            self.shift)).encode())
        if self.thresholds is not None:
            digest.update(repr((self.thresholds.shape, self.low, self.step)).encode())
            digest.update(self.thresholds.astype("<i8").tobytes())
        digest.update(self.bias.astype("<i8").tobytes())
        digest.update(self.weights.astype("<i1").tobytes())


def dense_accumulators(dense: Dense, vector: Array, input_max: int) -> Array:
    """``weights @ vector + bias`` as int64; no magnitude in ``vector`` is above ``input_max``."""
    # int64 is exact far beyond this; the check is about sums that hardware would never hold
    exact_dtype(dense.name, largest_sum(dense.weights, input_max) + int(np.abs(dense.bias).max()))
    sums: Array = dense.weights @ vector.astype(np.int64) + dense.bias
    return sums


def emit(dense: Dense, acc: Array) -> Array:
    """What ``dense`` hands on of ``acc``: bits, levels, clamped unsigned integers or the raw sum.
    """
    if dense.emit == "bit":
        return (acc >= 0).astype(np.int64)
    if dense.emit == "unsigned":
        clipped: Array = np.clip(acc >> dense.shift, 0, (1 << dense.bits) - 1)
        return clipped
    if dense.thresholds is not None:
        counts = levels_reached(dense.thresholds, acc[:, np.newaxis])[:, 0]
        levels: Array = dense.low + dense.step * counts
        return levels
    return acc
