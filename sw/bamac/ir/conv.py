"""Convolutions, with the pooling behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .bounds import conv_shape, largest_sum
from .checks import (
    SHIFT_MAX,
    VALUE_MAX,
    Array,
    int_array,
    level_thresholds,
    require,
    size_pair,
    weight_array,
)
from .engine import exact_dtype
from .layer import Hash, Layer, LayerTrace, TensorSpec

__all__ = ["Conv2d", "ConvTrace", "conv_accumulators", "conv_outputs", "global_pool",
           "levels_reached", "max_pool"]

MAX_KERNEL = 15  # rows or columns that a kernel spans, dilation included


@dataclass(frozen=True, eq=False)
class ConvTrace(LayerTrace):
    """What one convolution computed.

    ``bits`` (channels, rows, cols) is the map before pooling: bits or 8-bit values as uint8, levels
    as int64. ``pooled`` is the map after the layer's max pool, ``vector`` (channels,) int64 the
    result of its global pool or None, ``acc`` the accumulators, int64, or None when they were not
    asked for.
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
    """Convolution whose outputs are bits or levels, or 8-bit values; then pooling.

    A channel with one threshold emits the bit ``acc >= threshold``. With several it emits how many
    of them ``acc`` reaches. ``low + step * count`` is handed on: 0 and 1 for bits, -1 and +1 for a
    bipolar map (``low=-1, step=2``), -8..7 for signed values of 4 bits (15 thresholds, ``low=-8``).
    That covers every quantiser that does not decrease, whatever its scale.

    With ``bias`` in the place of thresholds it emits int8 maps: unsigned values of 8 bits,
    ``clamp((acc + bias[channel]) >> shift, 0, 255)``, as in the int8 twin that binary networks are
    measured against.

    Parameters
    ----------
    weights : int array (out_channels, in_channels / groups, kernel_rows, kernel_cols), in -127..127
    thresholds : int array (out_channels,), or (out_channels, levels) that do not fall along a
        channel, or None
    stride : a number for both directions, or (rows, cols)
    padding : (top, bottom, left, right) of zeros
    pool : (rows, cols) of a max pool with stride = size and floor semantics; (1, 1) is none
    global_pool : None, ``"max"`` (of bits: OR over the map) or ``"sum"`` (of bits: popcount over
        the map; of an int8 map ``min(sum >> pool_shift, 255)``)
    bias : int array (out_channels,), or None; the rounding constant is part of it
    shift, pool_shift : 0..15, of int8 maps
    groups : parts into which both the input's and the output's channels are divided; a part of the
        output reads its part of the input alone
    dilation : distance of neighbouring kernel taps, a number for both directions, or (rows, cols)
    low, step : what ``count`` thresholds reached stand for: ``low + step * count``; ``step`` is
        positive
    """

    name: str
    weights: Array
    thresholds: Array | None = None
    stride: int | tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    pool: tuple[int, ...] = (1, 1)
    global_pool: str | None = None
    bias: Array | None = None
    shift: int = 0
    pool_shift: int = 0
    groups: int = 1
    dilation: int | tuple[int, ...] = (1, 1)
    low: int = 0
    step: int = 1

    kind: ClassVar[str] = "conv"
    reads_map: ClassVar[bool] = True

    def __post_init__(self) -> None:
        w = weight_array(self.weights, f"{self.name}: weights", 4)
        object.__setattr__(self, "weights", w)
        require((self.thresholds is None) != (self.bias is None),
                f"{self.name}: must have either thresholds (bits) or a bias (values)")
        if self.bias is None:
            object.__setattr__(self, "thresholds", level_thresholds(
                self.thresholds, f"{self.name}: thresholds", w.shape[0]))
        else:
            object.__setattr__(self, "bias", int_array(self.bias, f"{self.name}: bias", 1))
            require(self.bias.shape[0] == w.shape[0],
                    f"{self.name}: bias must be one per output channel ({w.shape[0]}), "
                    f"not {self.bias.shape[0]}")
            require((self.low, self.step) == (0, 1),
                    f"{self.name}: low and step are of layers with thresholds")
        require(self.step >= 1, f"{self.name}: step must be positive, not {self.step}")
        for what, used in (("shift", self.emits_int8),
                           ("pool_shift", self.emits_int8 and self.global_pool == "sum")):
            most = SHIFT_MAX if used else 0
            require(0 <= getattr(self, what) <= most,
                    f"{self.name}: {what} must be in 0..{most}, not {getattr(self, what)}")
        require(self.groups >= 1 and w.shape[0] % self.groups == 0,
                f"{self.name}: groups must divide the {w.shape[0]} output channels, "
                f"not be {self.groups}")
        for field in ("stride", "dilation"):
            object.__setattr__(self, field, size_pair(getattr(self, field),
                                                      f"{self.name}: {field}"))
        rows, cols = self.span
        require(max(self.span) <= MAX_KERNEL,
                f"{self.name}: kernel must span at most {MAX_KERNEL} x {MAX_KERNEL}, "
                f"not {rows} x {cols}")
        self._check_window(rows, cols)

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
        return int(self.weights.shape[1]) * self.groups

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
        """Rows and columns of taps."""
        return self.weights.shape[2:]

    @property
    def span(self) -> tuple[int, ...]:
        """Rows and columns of the input under the kernel, dilation included."""
        return tuple((size - 1) * apart + 1
                     for size, apart in zip(self.kernel, self.dilations, strict=True))

    @property
    def strides(self) -> tuple[int, int]:
        """(rows, cols) of the stride."""
        return size_pair(self.stride, "stride")

    @property
    def dilations(self) -> tuple[int, int]:
        """(rows, cols) of the dilation."""
        return size_pair(self.dilation, "dilation")

    @property
    def levels(self) -> int:
        """Thresholds of a channel; 0 of a layer that emits int8."""
        if self.thresholds is None:
            return 0
        return 1 if self.thresholds.ndim == 1 else int(self.thresholds.shape[1])

    @property
    def emits_bits(self) -> bool:
        """Whether its map holds 0 and 1."""
        return self.levels == 1 and (self.low, self.step) == (0, 1)

    @property
    def high(self) -> int:
        """The largest value of its map."""
        return VALUE_MAX if self.emits_int8 else self.low + self.step * self.levels

    def conv_shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the map before pooling."""
        return conv_shape(rows, cols, self.span, self.strides, self.padding)

    def pooled_shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the map after ``pool`` (before any global pool)."""
        conv_rows, conv_cols = self.conv_shape(rows, cols)
        return conv_rows // self.pool[0], conv_cols // self.pool[1]

    def map_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.out_channels, *self.pooled_shape(*shape[1:]))

    def check_input(self, before: TensorSpec) -> None:
        require(before.is_map, f"{self.name}: a convolution must read a map, not a vector")
        super().check_input(before)
        require(min(self.pooled_shape(before.rows, before.cols)) >= 1,
                f"{self.name}: the map before it is too small for its kernel and pool")

    def output(self, before: TensorSpec) -> TensorSpec:
        rows, cols = self.pooled_shape(before.rows, before.cols)
        low, high = self.low, self.high
        if self.global_pool is None:
            return TensorSpec((self.out_channels, rows, cols), low, high)
        if self.global_pool == "sum" and not self.emits_int8:
            low, high = rows * cols * low, rows * cols * high
        return TensorSpec((self.out_channels,), low, high)

    def run(self, activations: Array, before: TensorSpec, *, keep_acc: bool = False) -> ConvTrace:
        reach = largest_sum(self.weights, before.largest)
        sums = _conv_sums(self, activations, reach)
        if self.emits_bits:
            assert self.thresholds is not None
            bits = _at_least(sums, self.thresholds.reshape(-1), reach)
        else:
            bits = conv_outputs(self, sums.astype(np.int64))
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
            "kernel": list(self.kernel), "stride": _plain(self.strides),
            "padding": list(self.padding),
            "pool": list(self.pool), "global_pool": self.global_pool, "values": self.emits_int8,
            "map": list(self.conv_shape(before.rows, before.cols)), **dict(self._further())}

    def _further(self) -> list[tuple[str, Any]]:
        """Names and values of the fields that few layers use, where they say something."""
        found: list[tuple[str, Any]] = []
        if self.groups > 1:
            found.append(("groups", self.groups))
        if self.dilations != (1, 1):
            found.append(("dilation", list(self.dilations)))
        if not self.emits_bits and not self.emits_int8:
            found += [("levels", self.levels), ("low", self.low), ("step", self.step)]
        return found

    def update_digest(self, digest: Hash) -> None:
        digest.update(repr(("conv2d", self.name, self.weights.shape, _plain(self.strides),
                            self.padding, self.pool, self.global_pool)).encode())
        if self.emits_int8:
            digest.update(repr(("values", self.shift, self.pool_shift)).encode())
        if self._further():
            digest.update(repr(self._further()).encode())
        constants = self.thresholds if self.bias is None else self.bias
        assert constants is not None
        digest.update(constants.astype("<i8").tobytes())
        digest.update(self.weights.astype("<i1").tobytes())


def _plain(pair: tuple[int, int]) -> int | list[int]:
    """A pair of equal numbers as one number."""
    return pair[0] if pair[0] == pair[1] else list(pair)


def conv_accumulators(conv: Conv2d, activations: Array, input_max: int) -> Array:
    """Accumulators (channels, rows, cols) int64 of ``conv`` on ``activations`` (int, 3 axes).

    ``input_max`` is the largest magnitude that an activation can have.
    """
    return _conv_sums(conv, activations, largest_sum(conv.weights, input_max)).astype(np.int64)


def _conv_sums(conv: Conv2d, activations: Array, reach: int) -> Array:
    """The accumulators as integers in the engine's floating point type."""
    top, bottom, left, right = conv.padding
    dtype = exact_dtype(conv.name, reach)
    padded = np.pad(activations, ((0, 0), (top, bottom), (left, right))).astype(dtype)
    shape = conv.conv_shape(*activations.shape[1:])
    reads = conv.in_channels // conv.groups
    parts = [_group_sums(conv, weights, padded[part * reads:(part + 1) * reads], shape, dtype)
             for part, weights in enumerate(np.split(conv.weights, conv.groups))]
    sums: Array = parts[0] if conv.groups == 1 else np.concatenate(parts)
    return sums


def _group_sums(conv: Conv2d, weights: Array, padded: Array, shape: tuple[int, int],
                dtype: type[np.floating[Any]]) -> Array:
    """Sums (channels, rows, cols) of one group: ``weights`` over its padded input."""
    (rows, cols), (row_stride, col_stride) = shape, conv.strides
    row_apart, col_apart = conv.dilations
    by_tap = weights.transpose(2, 3, 0, 1).astype(dtype)  # (i, j, out, in)
    channels, reads = weights.shape[:2]
    # Beyond the last position the slice may run one row or column too far
    taps = (padded[:, i:i + rows * row_stride:row_stride, j:j + cols * col_stride:col_stride]
            [:, :rows, :cols].reshape(reads, -1)
            for i in range(0, conv.span[0], row_apart) for j in range(0, conv.span[1], col_apart))
    flat = by_tap.reshape(-1, channels, reads)
    if reads < 16:
        # A matrix product over so few channels would mostly move memory
        acc = np.concatenate(list(flat), axis=1) @ np.concatenate(list(taps))
    else:
        acc = np.zeros((channels, rows * cols), dtype)
        for weight, tap in zip(flat, taps, strict=True):
            acc += weight @ tap
    sums: Array = acc.reshape(channels, rows, cols)
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
    """The map (channels, rows, cols) that ``conv`` makes of its accumulators, not pooled.

    uint8 for bits and 8-bit values, int64 for levels.
    """
    if conv.bias is not None:
        shifted = (acc + conv.bias[:, np.newaxis, np.newaxis]) >> conv.shift
        values: Array = np.clip(shifted, 0, VALUE_MAX).astype(np.uint8)
        return values
    assert conv.thresholds is not None
    counts = levels_reached(conv.thresholds, acc)
    return counts.astype(np.uint8) if conv.emits_bits else conv.low + conv.step * counts


def levels_reached(thresholds: Array, acc: Array) -> Array:
    """How many thresholds of its channel each sum reaches, int64 of ``acc``'s shape.

    ``thresholds`` is (channels,) or (channels, levels), ``acc`` has the channels first.
    """
    by_channel = thresholds.reshape(len(thresholds), -1)
    counts: Array = np.stack([np.searchsorted(limits, sums, side="right")
                              for limits, sums in zip(by_channel, acc, strict=True)])
    return counts.astype(np.int64)


def global_pool(conv: Conv2d, pooled: Array) -> Array | None:
    """The vector (channels,) int64 of a map under the layer's global pool, or None."""
    if conv.global_pool == "max":
        most: Array = pooled.max(axis=(1, 2)).astype(np.int64)
        return most
    if conv.global_pool == "sum":
        total: Array = pooled.sum(axis=(1, 2), dtype=np.int64)
        return np.minimum(total >> conv.pool_shift, VALUE_MAX) if conv.emits_int8 else total
    return None
