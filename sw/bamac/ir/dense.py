"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .bounds import largest_sum, reach
from .checks import Array, int_array, require, weight_array
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
    """Fully connected layer on a vector of unsigned integers.

    ``emit`` is ``"raw"`` (``acc + bias``, int32: scores), ``"unsigned"``
    (``clamp((acc + bias) >> shift, 0, 2**bits - 1)``; the rounding constant is part of the bias)
    or ``"bit"`` (``acc + bias >= 0``).

    Parameters
    ----------
    weights : int array (out_features, in_features), in -127..127
    bias : int array (out_features,)
    """

    name: str
    weights: Array
    bias: Array
    emit: str = "raw"
    bits: int = 8
    shift: int = 0

    kind: ClassVar[str] = "dense"
    reads_map: ClassVar[bool] = False

    def __post_init__(self) -> None:
        w = weight_array(self.weights, f"{self.name}: weights", 2)
        object.__setattr__(self, "weights", w)
        b = int_array(self.bias, f"{self.name}: bias", 1)
        object.__setattr__(self, "bias", b)
        require(b.shape[0] == w.shape[0],
                f"{self.name}: bias must be one per output ({w.shape[0]}), not {b.shape[0]}")
        require(self.emit in ("raw", "unsigned", "bit"),
                f"{self.name}: emit must be 'raw', 'unsigned' or 'bit', not {self.emit!r}")
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

    def output(self, before: TensorSpec) -> TensorSpec:
        shape = (self.out_channels,)
        if self.emits_scores:
            low, high = reach(self.weights, before.low, before.high)
            return TensorSpec(shape, int((low + self.bias).min()), int((high + self.bias).max()))
        return TensorSpec(shape, 0, 1 if self.emit == "bit" else (1 << self.bits) - 1)

    def run(self, activations: Array, before: TensorSpec, *, keep_acc: bool = False) -> DenseTrace:
        acc = dense_accumulators(self, activations, before.largest)
        return DenseTrace(self.name, acc, emit(self, acc))

    def describe_more(self, before: TensorSpec) -> dict[str, Any]:
        if self.emit == "unsigned":
            return {"emit": self.emit, "bits": self.bits, "shift": self.shift}
        return {"emit": self.emit}

    def update_digest(self, digest: Hash) -> None:
        digest.update(repr(("dense", self.name, self.weights.shape, self.emit, self.bits,
                            self.shift)).encode())
        digest.update(self.bias.astype("<i8").tobytes())
        digest.update(self.weights.astype("<i1").tobytes())


def dense_accumulators(dense: Dense, vector: Array, input_max: int) -> Array:
    """``weights @ vector + bias`` as int64, for ``vector`` within 0..``input_max``."""
    # int64 is exact far beyond this; the check is about sums that hardware would never hold
    exact_dtype(dense.name, largest_sum(dense.weights, input_max) + int(np.abs(dense.bias).max()))
    sums: Array = dense.weights @ vector.astype(np.int64) + dense.bias
    return sums


def emit(dense: Dense, acc: Array) -> Array:
    """What ``dense`` hands on of ``acc``: bits, clamped unsigned integers or the raw sum."""
    if dense.emit == "bit":
        return (acc >= 0).astype(np.int64)
    if dense.emit == "unsigned":
        clipped: Array = np.clip(acc >> dense.shift, 0, (1 << dense.bits) - 1)
        return clipped
    return acc
