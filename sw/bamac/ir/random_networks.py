"""Random and extreme networks, with frames for them, for conformance tests of every level.

Sizes are odd on purpose: nothing divides the array. Thresholds lie near the median of what the
network computes on the frames it comes with, so that bits are balanced and a wrong accumulator
shows; accumulators fit a stated number of bits, because hardware refuses the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from . import reference
from .bounds import accumulator_range
from .checks import SHIFT_MAX, VALUE_MAX, WEIGHT_MAX, Array
from .layer import Layer
from .network import Conv2d, Dense, GraphError, InputSpec, IntegerNetwork

__all__ = [
    "Case",
    "corner_cases",
    "p808_network",
    "paper_network",
    "random_case",
]

CHANNELS = (1, 2, 3, 5, 8, 32, 33, 70)
KERNELS = ((1, 1), (3, 3), (5, 3), (2, 4), (3, 1), (1, 5), (7, 7), (4, 4))
POOLS = ((1, 1), (2, 2), (2, 1), (1, 2), (3, 2))


@dataclass(frozen=True, eq=False)
class Case:
    """A network and frames (windows, rows, cols) int16 for it; ``name`` says what is special."""

    name: str
    network: IntegerNetwork
    frames: Array


def _spread(sums: Array, bits: int) -> tuple[Array, int]:
    """A bias for each row of ``sums``, and one shift, with which values of ``bits`` bits differ.

    The largest ones are clamped, and what lies below a row's median becomes zero.
    """
    bias = -np.median(sums, axis=1).astype(np.int64)
    reach = int((sums + bias[:, None]).max()) * 3 // 4
    shift = min(max(0, reach.bit_length() - bits), SHIFT_MAX)
    return bias + ((1 << shift) >> 1), shift


def _fits(layer: Conv2d | Dense, bits: int, signed: bool, acc_bits: int) -> bool:
    low, high = accumulator_range(layer, bits, signed)
    return bool(low.min() >= -(1 << (acc_bits - 1)) and high.max() < 1 << (acc_bits - 1))


class _Builder:
    """Grows a network layer by layer, computing it on its frames as it goes.

    With ``int8_maps`` its maps hold 8-bit values, not bits.
    """

    def __init__(self, rng: np.random.Generator, spec: InputSpec, frames: Array, acc_bits: int,
                 quantile: float | None = None, int8_maps: bool = False) -> None:
        self.rng, self.spec, self.acc_bits = rng, spec, acc_bits
        self.frames, self.quantile, self.int8_maps = frames, quantile, int8_maps
        self.maps: list[Array] = [window[np.newaxis] for window in frames]
        self.vectors: list[Array] = []
        self.bits, self.signed = spec.bits, spec.signed
        self.layers: list[Layer] = []

    @property
    def _input_max(self) -> int:
        if not self.layers:
            return max(-self.spec.min, self.spec.max)
        return VALUE_MAX if self.int8_maps else 1

    def weights(self, shape: tuple[int, ...]) -> Array:
        """Random weights, a tenth of them zero, now and then at the extremes."""
        weights = self.rng.integers(-WEIGHT_MAX, WEIGHT_MAX + 1, shape)
        weights[self.rng.random(shape) < 0.1] = 0
        weights[self.rng.random(shape) < 0.05] = -WEIGHT_MAX
        weights[self.rng.random(shape) < 0.05] = WEIGHT_MAX
        # The sum of magnitudes times the input's range, twice over for a threshold near the middle
        reach = np.abs(weights).reshape(shape[0], -1).sum(axis=1).max() * ((1 << self.bits) - 1)
        limit = 1 << (self.acc_bits - 2)
        return weights if reach < limit else np.trunc(weights * (limit / reach)).astype(np.int64)

    def conv(self, channels: int, kernel: tuple[int, ...], stride: int, padding: tuple[int, ...],
             pool: tuple[int, ...], global_pool: str | None,
             weights: Array | None = None) -> None:
        name = f"conv{len(self.layers) + 1}"
        in_channels = self.maps[0].shape[0]
        if weights is None:
            weights = self.weights((channels, in_channels, *kernel))
        probe = Conv2d(name, weights, np.zeros(channels, np.int64), stride, padding, pool,
                       global_pool)
        if min(probe.pooled_shape(*self.maps[0].shape[1:])) < 1:
            raise GraphError(f"{name}: the map before it is too small for its kernel and pool")
        accs = [reference.conv_accumulators(probe, a, self._input_max) for a in self.maps]
        flat = np.concatenate([acc.reshape(channels, -1) for acc in accs], axis=1)
        if self.int8_maps:
            bias, shift = _spread(flat, 8)
            layer = replace(probe, thresholds=None, bias=bias, shift=shift)
        else:
            # A quantile rather than the median, so that neighbouring channels differ in density; an
            # accumulator equal to its threshold is a case that must occur
            quantile = self.rng.uniform(0.3, 0.9) if self.quantile is None else self.quantile
            thresholds = np.quantile(flat, quantile, axis=1, method="nearest").astype(np.int64)
            layer = replace(probe, thresholds=thresholds)
        if not _fits(layer, self.bits, self.signed, self.acc_bits):
            raise GraphError(f"{name}: does not fit {self.acc_bits} bits")
        maps = [reference.max_pool(reference.conv_outputs(layer, acc), pool) for acc in accs]
        if self.int8_maps and global_pool == "sum":
            most = max(int(a.sum(axis=(1, 2), dtype=np.int64).max()) for a in maps)
            layer = replace(layer, pool_shift=max(0, (most * 3 // 4 >> 8).bit_length()))
        self.layers.append(layer)
        self.maps, self.bits, self.signed = maps, 8 if self.int8_maps else 1, False
        if global_pool is not None:
            pooled = [reference.global_pool(layer, a) for a in maps]
            self.vectors = [vector for vector in pooled if vector is not None]
        if global_pool == "sum" and not self.int8_maps:
            self.bits = int(maps[0][0].size).bit_length()

    def dense(self, index: int, features: int, emit: str, bits: int) -> None:
        name = f"dense{index}"
        weights = self.weights((features, self.vectors[0].size))
        sums = np.stack([weights @ v for v in self.vectors])
        shift = 0
        if emit == "bit":
            bias = -np.median(sums, axis=0).astype(np.int64)
        elif emit == "unsigned" and self.int8_maps:
            bias, shift = _spread(sums.T, bits)
        elif emit == "unsigned":
            bias = (np.abs(sums).max(axis=0) // 2 - np.median(sums, axis=0)).astype(np.int64)
            reach = int(np.abs(sums + bias).max())
            shift = max(0, reach.bit_length() - bits)
            bias = bias + ((1 << shift) >> 1)
        else:
            bias = self.rng.integers(-1000, 1001, features)
        limit = 1 << (self.acc_bits - 2)
        bias = np.clip(bias, 1 - limit, limit - 1)
        layer = (Dense(name, weights, bias, emit, bits, shift) if emit == "unsigned"
                 else Dense(name, weights, bias, emit))
        if not _fits(layer, self.bits, False, self.acc_bits):
            raise GraphError(f"{name}: does not fit {self.acc_bits} bits")
        self.layers.append(layer)
        self.vectors = [reference.emit(layer, weights @ v + bias) for v in self.vectors]
        self.bits = 1 if emit == "bit" else bits


def _frames(rng: np.random.Generator, spec: InputSpec, windows: int) -> Array:
    frames = rng.integers(spec.min, spec.max + 1, (windows, spec.rows, spec.cols))
    # Smooth rows beside noise: silence and slow change are what speech is made of
    frames[:, : spec.rows // 3] = np.clip(frames[:, : spec.rows // 3] // 8, spec.min, spec.max)
    return frames.astype(np.int16)


def _try_random(rng: np.random.Generator, name: str, acc_bits: int, windows: int, max_rows: int,
                max_cols: int, channels: Sequence[int], pools: Sequence[tuple[int, int]],
                int8_maps: bool) -> Case:
    signed = bool(rng.integers(2))
    spec = InputSpec(int(rng.integers(5, max_rows + 1)), int(rng.integers(5, max_cols + 1)),
                     bits=int(rng.integers(2, 9)), signed=signed)
    builder = _Builder(rng, spec, _frames(rng, spec, windows), acc_bits, int8_maps=int8_maps)
    n_convs = int(rng.integers(1, 4))
    for i in range(n_convs):
        kernel = KERNELS[rng.integers(len(KERNELS))]
        last = i == n_convs - 1
        sides = (kernel[0], kernel[0], kernel[1], kernel[1])
        halves = rng.random() < 0.5
        padding = tuple(min(size // 2 if halves else int(rng.integers(0, size)), size - 1)
                        for size in sides)
        builder.conv(int(rng.choice(channels)), kernel, int(rng.integers(1, 3)), padding,
                     pools[int(rng.integers(len(pools)))],
                     ("max", "sum")[rng.integers(2)] if last else None)
    n_denses = int(rng.integers(1, 4))
    for i in range(n_denses):
        if i == n_denses - 1:
            builder.dense(i + 1, int(rng.integers(1, 6)), "raw", 8)
        elif int8_maps:
            builder.dense(i + 1, int(rng.choice(channels)), "unsigned", 8)
        else:
            builder.dense(i + 1, int(rng.choice(channels)),
                          ("bit", "unsigned")[rng.integers(2)], int(rng.integers(1, 11)))
    network = IntegerNetwork(name, spec, builder.layers, float(rng.uniform(1e-4, 1e-1)),
                             float(rng.uniform(-3, 3)))
    return Case(name, network, builder.frames)


def random_case(seed: int, *, acc_bits: int = 20, windows: int = 1, max_rows: int = 17,
                max_cols: int = 21, channels: Sequence[int] = CHANNELS,
                pools: Sequence[tuple[int, int]] = POOLS, int8_maps: bool = False) -> Case:
    """A random :class:`Case`; the same arguments always give the same one.

    Parameters
    ----------
    acc_bits : int
        Every accumulator fits a two's complement number of this many bits.
    windows : int
        Windows of frames; the thresholds follow all of them.
    max_rows, max_cols : int
        Largest size of the input.
    channels : sequence of int
        What channel counts are drawn from.
    pools : sequence of (rows, cols)
        What pools are drawn from; no geometry maps all of the default ones.
    int8_maps : bool
        Maps of 8-bit values instead of bits, and a head of such: what int8 lanes run.
    """
    rng = np.random.default_rng([0xBA3AC, seed])
    # Some draws shrink a map to nothing or outgrow the accumulator: draw again
    for _ in range(1000):
        try:
            return _try_random(rng, f"random-{seed}", acc_bits, windows, max_rows, max_cols,
                               channels, pools, int8_maps)
        except GraphError:
            continue
    raise ValueError(f"Accumulator bits must leave room for a network, not {acc_bits}")


def _corner(name: str, spec: InputSpec, frames: npt.ArrayLike, kernel: tuple[int, int] = (3, 3),
            weight: int | None = None, channels: tuple[int, ...] = (3, 2),
            global_pool: str = "sum", int8_maps: bool = False) -> Case:
    rng = np.random.default_rng([0xC0, len(name)])
    frames = np.broadcast_to(np.asarray(frames, np.int16), (1, spec.rows, spec.cols)).copy()
    builder = _Builder(rng, spec, frames, 24, int8_maps=int8_maps)
    same = (kernel[0] // 2, (kernel[0] - 1) // 2, kernel[1] // 2, (kernel[1] - 1) // 2)
    n = len(channels)
    for i, count in enumerate(channels):
        in_channels = builder.maps[0].shape[0]
        weights = None
        if weight is not None:
            weights = np.full((count, in_channels, *kernel), weight)
        builder.conv(count, kernel, 1, same, (1, 1) if i == n - 1 else (2, 2),
                     global_pool if i == n - 1 else None, weights)
    builder.dense(1, 3, "unsigned", 8 if int8_maps else 4)
    builder.dense(2, 1, "raw", 8)
    return Case(name, IntegerNetwork(name, spec, builder.layers), frames)


def corner_cases(int8_maps: bool = False) -> list[Case]:
    """A list of :class:`Case`: the most extreme weights and inputs, and the smallest sizes.

    With ``int8_maps``, of networks with maps of 8-bit values.
    """
    signed, unsigned = InputSpec(9, 10, 8, True), InputSpec(9, 10, 8, False)
    corner = partial(_corner, int8_maps=int8_maps)
    cases = [
        corner("weights-all-127-input-max", signed, signed.max, weight=127),
        corner("weights-all-minus-127-input-max", signed, signed.max, weight=-127),
        corner("weights-all-127-input-min", signed, signed.min, weight=127),
        corner("weights-all-minus-127-input-min", signed, signed.min, weight=-127),
        corner("weights-all-127-unsigned-255", unsigned, 255, weight=127),
        corner("weights-all-minus-127-unsigned-255", unsigned, 255, weight=-127),
        corner("input-all-zero", signed, 0),
        corner("weights-all-zero", signed, signed.max, weight=0),
        corner("one-by-one-input", InputSpec(1, 1, 2, True), -2, kernel=(1, 1), channels=(1,)),
        corner("one-bit-input", InputSpec(6, 7, 1, False), 1, kernel=(1, 1), channels=(1,),
                global_pool="max"),
    ]
    # Outputs that are all at one end: thresholds, or biases, out of reach on either side
    base = cases[6].network
    if int8_maps:
        for name, bias in (("values-all-255", 1 << 22), ("values-all-zero", -(1 << 22))):
            convs = [replace(c, bias=np.full(c.out_channels, bias)) for c in base.convs]
            cases.append(Case(name, replace(base, name=name, layers=(*convs, *base.denses)),
                              cases[6].frames))
        return cases
    for name, threshold in (("bits-all-one", -(1 << 20)), ("bits-all-zero", 1 << 20)):
        convs = [replace(c, thresholds=np.full(c.out_channels, threshold)) for c in base.convs]
        network = IntegerNetwork(name, base.input, (*convs, *base.denses))
        cases.append(Case(name, network, cases[6].frames))
    return cases


def _speech_network(name: str, spec: InputSpec, seed: int,
                    convs: Sequence[tuple[int, tuple[int, int]]], global_pool: str,
                    quantile: float, int8_maps: bool = False) -> Case:
    """3x3 convolutions of (channels, pool), then the dense head of the paper, 64-64-1."""
    rng = np.random.default_rng([0x9A9E5, seed])
    builder = _Builder(rng, spec, _frames(rng, spec, 1), 24 if int8_maps else 20, quantile,
                       int8_maps)
    for index, (channels, pool) in enumerate(convs):
        last = global_pool if index == len(convs) - 1 else None
        builder.conv(channels, (3, 3), 1, (1, 1, 1, 1), pool, last)
    builder.dense(1, 64, "unsigned", 8)
    builder.dense(2, 64, "unsigned", 8)
    builder.dense(3, 1, "raw", 8)
    network = IntegerNetwork(name, spec, builder.layers, 2.0 ** -14, 2.5)
    return Case(name, network, builder.frames)


def paper_network(seed: int = 0, *, rows: int = 249, cols: int = 120, global_pool: str = "max",
                  quantile: float = 0.88, int8_maps: bool = False) -> Case:
    """A :class:`Case` of the paper's shape with random weights and about 12 % ones in every map.

    With ``int8_maps``, its maps hold 8-bit values instead.
    """
    convs = ((32, (2, 2)), (32, (2, 2)), (32, (2, 2)), (64, (1, 1)))
    return _speech_network("paper-shape", InputSpec(rows, cols), seed, convs, global_pool,
                           quantile, int8_maps)


def p808_network(seed: int = 0, *, rows: int = 900, cols: int = 120, global_pool: str = "max",
                 quantile: float = 0.88) -> Case:
    """A :class:`Case` of the shape of DNSMOS P.808 (model_v8), with random weights."""
    convs = ((32, (2, 2)), (32, (2, 2)), (32, (1, 1)), (32, (2, 2)), (64, (1, 1)))
    return _speech_network("p808-shape", InputSpec(rows, cols), seed, convs, global_pool,
                           quantile)
