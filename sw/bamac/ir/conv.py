"""Convolutions, with the pooling behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .bounds import conv_shape, largest_sum
from .checks import SHIFT_MAX, VALUE_MAX, Array, int_array, require, weight_array
from .engine import exact_dtype
from .layer import Hash, Layer, LayerTrace, TensorSpec

__all__ = ["Conv2d", "ConvTrace", "conv_accumulators", "conv_outputs", "global_pool", "max_pool"]

MAX_KERNEL = 7


@dataclass(frozen=True, eq=False)
class ConvTrace(LayerTrace):
    """What one convolution computed.

    ``bits`` (channels, rows, cols) uint8 is ``acc >= threshold`` before pooling, or the 8-bit
    values of a layer that emits int8, ``pooled`` the map after the layer's max pool, ``vector``
    (channels,) int64 the result of its global pool or None, ``acc`` the accumulators, int64, or
    None when they were not asked for.
    """

    name: str
    bits: Array
    pooled: Array
    vector: Array | None = None
    acc: Array | None = None

    @property
    def result(self) -> Array:
        return self.pooled if self.vector is None else self.vector

    def arrays(self) -> dict[str, Array]:
        return {"bits": self.bits}


@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """Convolution whose outputs are bits: ``bit = acc >= threshold[channel]``, then pooling.

    With ``bias`` in the place of thresholds it emits int8 maps: unsigned values of 8 bits,
    ``clamp((acc + bias[channel]) >> shift, 0, 255)``, as in the int8 twin that binary networks are
    measured against.

    Parameters
    ----------
    weights : int array (out_channels, in_channels, kernel_rows, kernel_cols), in -127..127
    thresholds : int array (out_channels,), or None
    stride : 1 or 2, the same in both directions
    padding : (top, bottom, left, right) of zeros
    pool : (rows, cols) of a max pool with stride = size and floor semantics; (1, 1) is none
    global_pool : None, ``"max"`` (OR over the map) or ``"sum"`` (popcount over the map; of an int8
        map ``min(sum >> pool_shift, 255)``)
    bias : int array (out_channels,), or None; the rounding constant is part of it
    shift, pool_shift : 0..15, of int8 maps
    """

    name: str
    weights: Array
    thresholds: Array | None = None
    stride: int = 1
    padding: tuple[int, ...] = (0, 0, 0, 0)
    pool: tuple[int, ...] = (1, 1)
    global_pool: str | None = None
    bias: Array | None = None
    shift: int = 0
    pool_shift: int = 0

    kind: ClassVar[str] = "conv"
    reads_map: ClassVar[bool] = True

    def __post_init__(self) -> None:
        w = weight_array(self.weights, f"{self.name}: weights", 4)
        object.__setattr__(self, "weights", w)
        require((self.thresholds is None) != (self.bias is None),
                f"{self.name}: must have either thresholds (bits) or a bias (values)")
        kind = "thresholds" if self.bias is None else "bias"
        t = int_array(getattr(self, kind), f"{self.name}: {kind}", 1)
        object.__setattr__(self, kind, t)
        require(t.shape[0] == w.shape[0],
                f"{self.name}: {kind} must be one per output channel ({w.shape[0]}), "
                f"not {t.shape[0]}")
        for what, used in (("shift", self.emits_int8),
                           ("pool_shift", self.emits_int8 and self.global_pool == "sum")):
            most = SHIFT_MAX if used else 0
            require(0 <= getattr(self, what) <= most,
                    f"{self.name}: {what} must be in 0..{most}, not {getattr(self, what)}")
        require(max(w.shape[2:]) <= MAX_KERNEL,
                f"{self.name}: kernel must be at most {MAX_KERNEL} x {MAX_KERNEL}, "
                f"not {w.shape[2]} x {w.shape[3]}")
        require(self.stride in (1, 2), f"{self.name}: stride must be 1 or 2, not {self.stride!r}")
        self._check_window(*w.shape[2:])

    def _check_window(self, kernel_rows: int, kernel_cols: int) -> None:
        object.__setattr__(self, "padding", tuple(int(p) for p in self.padding))
        object.__setattr__(self, "pool", tuple(int(p) for p in self.pool))
        require(len(self.padding) == 4 and min(self.padding) >= 0,
                f"{self.name}: padding must be four non-negative sizes, not {self.padding}")
        top, bottom, left, right = self.padding
        require(max(top, bottom) < kernel_rows and max(left, right) < kernel_cols,
                f"{self.name}: padding must be smaller than the kernel {kernel_rows} x "
                f"{kernel_cols}, not {self.padding}")
        require(len(self.pool) == 2 and min(self.pool) >= 1,
                f"{self.name}: pool must be two positive sizes, not {self.pool}")
        require(self.global_pool in (None, "max", "sum"),
                f"{self.name}: global pool must be None, 'max' or 'sum', not {self.global_pool!r}")

    @property
    def in_channels(self) -> int:
        return int(self.weights.shape[1])

    @property
    def out_channels(self) -> int:
        return int(self.weights.shape[0])

    @property
    def ends_in_vector(self) -> bool:
        return self.global_pool is not None

    @property
    def emits_int8(self) -> bool:
        return self.bias is not None

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.weights.shape[2:]

    def conv_shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the map before pooling."""
        return conv_shape(rows, cols, self.kernel, self.stride, self.padding)

    def pooled_shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the map after ``pool`` (before any global pool)."""
        conv_rows, conv_cols = self.conv_shape(rows, cols)
        return conv_rows // self.pool[0], conv_cols // self.pool[1]

    def map_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.out_channels, *self.pooled_shape(*shape[1:]))

    def check_input(self, before: TensorSpec) -> None:
        super().check_input(before)
        require(min(self.pooled_shape(before.rows, before.cols)) >= 1,
                f"{self.name}: the map before it is too small for its kernel and pool")

    def output(self, before: TensorSpec) -> TensorSpec:
        rows, cols = self.pooled_shape(before.rows, before.cols)
        high = VALUE_MAX if self.emits_int8 else 1
        if self.global_pool is None:
            return TensorSpec((self.out_channels, rows, cols), 0, high)
        if self.global_pool == "sum" and not self.emits_int8:
            high = rows * cols
        return TensorSpec((self.out_channels,), 0, high)

    def run(self, activations: Array, before: TensorSpec, *, keep_acc: bool = False) -> ConvTrace:
        reach = largest_sum(self.weights, before.largest)
        sums = _conv_sums(self, activations, reach)
        if self.emits_int8:
            bits = conv_outputs(self, sums.astype(np.int64))
        else:
            assert self.thresholds is not None
            bits = _at_least(sums, self.thresholds, reach)
        pooled = max_pool(bits, self.pool)
        return ConvTrace(self.name, bits, pooled, global_pool(self, pooled),
                         sums.astype(np.int64) if keep_acc else None)

    def map_values(self, before: TensorSpec) -> int:
        rows, cols = self.conv_shape(before.rows, before.cols)
        return self.out_channels * rows * cols

    def products(self, before: TensorSpec) -> int:
        rows, cols = self.conv_shape(before.rows, before.cols)
        return int(self.weights.size) * rows * cols

    def describe_more(self, before: TensorSpec) -> dict[str, Any]:
        return {
            "kernel": list(self.kernel), "stride": self.stride, "padding": list(self.padding),
            "pool": list(self.pool), "global_pool": self.global_pool, "values": self.emits_int8,
            "map": list(self.conv_shape(before.rows, before.cols))}

    def update_digest(self, digest: Hash) -> None:
        digest.update(repr(("conv2d", self.name, self.weights.shape, self.stride, self.padding,
                            self.pool, self.global_pool)).encode())
        if self.emits_int8:
            digest.update(repr(("values", self.shift, self.pool_shift)).encode())
        constants = self.thresholds if self.bias is None else self.bias
        assert constants is not None
        digest.update(constants.astype("<i8").tobytes())
        digest.update(self.weights.astype("<i1").tobytes())


def conv_accumulators(conv: Conv2d, activations: Array, input_max: int) -> Array:
    """Accumulators (channels, rows, cols) int64 of ``conv`` on ``activations`` (int, 3 axes).

    ``input_max`` is the largest magnitude that an activation can have.
    """
    return _conv_sums(conv, activations, largest_sum(conv.weights, input_max)).astype(np.int64)


def _conv_sums(conv: Conv2d, activations: Array, reach: int) -> Array:
    """The accumulators as integers in the engine's floating point type."""
    top, bottom, left, right = conv.padding
    kernel_rows, kernel_cols = conv.kernel
    dtype = exact_dtype(conv.name, reach)
    padded = np.pad(activations, ((0, 0), (top, bottom), (left, right))).astype(dtype)
    rows, cols = conv.conv_shape(*activations.shape[1:])
    step = conv.stride
    by_tap = conv.weights.transpose(2, 3, 0, 1).astype(dtype)  # (i, j, out, in)
    # Beyond the last position the slice may run one row or column too far
    taps = (padded[:, i:i + rows * step:step, j:j + cols * step:step][:, :rows, :cols].reshape(
        conv.in_channels, -1) for i in range(kernel_rows) for j in range(kernel_cols))
    weights = by_tap.reshape(-1, conv.out_channels, conv.in_channels)
    if conv.in_channels < 16:
        # A matrix product over so few channels would mostly move memory
        acc = np.concatenate(list(weights), axis=1) @ np.concatenate(list(taps))
    else:
        acc = np.zeros((conv.out_channels, rows * cols), dtype)
        for weight, tap in zip(weights, taps, strict=True):
            acc += weight @ tap
    sums: Array = acc.reshape(conv.out_channels, rows, cols)
    return sums


def _at_least(sums: Array, thresholds: Array, reach: int) -> Array:
    """``sums >= threshold`` of each channel as uint8, in the sums' own type.

    No sum is beyond ``reach``, so a threshold beyond it means the same as the next integer, which
    the engine's type holds too.
    """
    limits = np.clip(thresholds, -reach, reach + 1).astype(sums.dtype)
    bits: Array = (sums >= limits[:, np.newaxis, np.newaxis]).view(np.uint8)
    return bits


def max_pool(bits: Array, pool: tuple[int, ...]) -> Array:
    """Maximum over windows of ``pool`` with stride = size; what does not fill one is dropped."""
    rows, cols = bits.shape[1] // pool[0], bits.shape[2] // pool[1]
    windows = bits[:, :rows * pool[0], :cols * pool[1]]
    pooled: Array = np.maximum.reduce([windows[:, i::pool[0], j::pool[1]]
                                       for i in range(pool[0]) for j in range(pool[1])])
    return pooled


def conv_outputs(conv: Conv2d, acc: Array) -> Array:
    """The map (channels, rows, cols) uint8 that ``conv`` makes of its accumulators, not pooled."""
    if conv.bias is not None:
        shifted = (acc + conv.bias[:, np.newaxis, np.newaxis]) >> conv.shift
        values: Array = np.clip(shifted, 0, VALUE_MAX).astype(np.uint8)
        return values
    assert conv.thresholds is not None
    bits: Array = (acc >= conv.thresholds[:, np.newaxis, np.newaxis]).astype(np.uint8)
    return bits


def global_pool(conv: Conv2d, pooled: Array) -> Array | None:
    """The vector (channels,) int64 of a map under the layer's global pool, or None."""
    if conv.global_pool == "max":
        most: Array = pooled.max(axis=(1, 2)).astype(np.int64)
        return most
    if conv.global_pool == "sum":
        total: Array = pooled.sum(axis=(1, 2), dtype=np.int64)
        return np.minimum(total >> conv.pool_shift, VALUE_MAX) if conv.emits_int8 else total
    return None
