"""Random and extreme networks, with frames for them, for conformance tests of every level.

Sizes are odd on purpose: nothing divides the array. Thresholds lie near the median of what the
network computes on the frames it comes with, so that bits are balanced and a wrong accumulator
shows; accumulators fit a stated number of bits, because hardware refuses the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from . import reference
from .network import (
    SHIFT_MAX,
    VALUE_MAX,
    WEIGHT_MAX,
    Conv2d,
    Dense,
    GraphError,
    InputSpec,
    IntegerNetwork,
)

__all__ = [
    "Case",
    "accumulator_range",
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
    frames: np.ndarray


def accumulator_range(layer, bits, signed=False):
    """Lowest and highest value that the array's accumulators of ``layer`` can pass through.

    The array starts an accumulator of a convolution at ``-threshold`` (of a dense layer at
    ``bias``) and adds gated weights. A signed input of ``bits`` bits is read in offset form,
    ``u = v + 2**(bits - 1)``, and the start value makes up for the offset. Returns two int64
    arrays, one value per output channel.
    """
    weights = layer.weights.reshape(layer.out_channels, -1)
    start = layer.bias if layer.bias is not None else -layer.thresholds
    if signed:
        start = start - (1 << (bits - 1)) * weights.sum(axis=1)
    top = (1 << bits) - 1
    low = start + np.minimum(weights, 0).sum(axis=1) * top
    high = start + np.maximum(weights, 0).sum(axis=1) * top
    return np.minimum(low, start), np.maximum(high, start)


def _spread(sums, bits):
    """A bias for each row of ``sums``, and one shift, with which values of ``bits`` bits differ.

    The largest ones are clamped, and what lies below a row's median becomes zero.
    """
    bias = -np.median(sums, axis=1).astype(np.int64)
    reach = int((sums + bias[:, None]).max()) * 3 // 4
    shift = min(max(0, reach.bit_length() - bits), SHIFT_MAX)
    return bias + ((1 << shift) >> 1), shift


def _fits(layer, bits, signed, acc_bits):
    low, high = accumulator_range(layer, bits, signed)
    return low.min() >= -(1 << (acc_bits - 1)) and high.max() < 1 << (acc_bits - 1)


class _Builder:
    """Grows a network layer by layer, computing it on its frames as it goes.

    With ``values`` its maps hold 8-bit values, not bits.
    """

    def __init__(self, rng, spec, frames, acc_bits, quantile=None, values=False):
        self.rng, self.spec, self.acc_bits = rng, spec, acc_bits
        self.frames, self.quantile, self.values = frames, quantile, values
        self.maps = [window[np.newaxis] for window in frames]
        self.bits, self.signed = spec.bits, spec.signed
        self.layers = []

    @property
    def _input_max(self):
        if not self.layers:
            return max(-self.spec.min, self.spec.max)
        return VALUE_MAX if self.values else 1

    def weights(self, shape):
        """Random weights, a tenth of them zero, now and then at the extremes."""
        weights = self.rng.integers(-WEIGHT_MAX, WEIGHT_MAX + 1, shape)
        weights[self.rng.random(shape) < 0.1] = 0
        weights[self.rng.random(shape) < 0.05] = -WEIGHT_MAX
        weights[self.rng.random(shape) < 0.05] = WEIGHT_MAX
        # The sum of magnitudes times the input's range, twice over for a threshold near the middle
        reach = np.abs(weights).reshape(shape[0], -1).sum(axis=1).max() * ((1 << self.bits) - 1)
        limit = 1 << (self.acc_bits - 2)
        return weights if reach < limit else np.trunc(weights * (limit / reach)).astype(np.int64)

    def conv(self, channels, kernel, stride, padding, pool, global_pool, weights=None):
        name = f"conv{len(self.layers) + 1}"
        in_channels = self.maps[0].shape[0]
        if weights is None:
            weights = self.weights((channels, in_channels, *kernel))
        shape = (stride, padding, pool, global_pool)
        probe = Conv2d(name, weights, np.zeros(channels, np.int64), *shape)
        if min(probe.pooled_shape(*self.maps[0].shape[1:])) < 1:
            raise GraphError(f"{name}: the map before it is too small for its kernel and pool")
        accs = [reference.conv_accumulators(probe, a, self._input_max) for a in self.maps]
        flat = np.concatenate([acc.reshape(channels, -1) for acc in accs], axis=1)
        if self.values:
            bias, shift = _spread(flat, 8)
            layer = Conv2d(name, weights, None, *shape, bias=bias, shift=shift)
        else:
            # A quantile rather than the median, so that neighbouring channels differ in density; an
            # accumulator equal to its threshold is a case that must occur
            quantile = self.rng.uniform(0.3, 0.9) if self.quantile is None else self.quantile
            thresholds = np.quantile(flat, quantile, axis=1, method="nearest").astype(np.int64)
            layer = Conv2d(name, weights, thresholds, *shape)
        if not _fits(layer, self.bits, self.signed, self.acc_bits):
            raise GraphError(f"{name}: does not fit {self.acc_bits} bits")
        maps = [reference.max_pool(reference.conv_outputs(layer, acc), pool) for acc in accs]
        if self.values and global_pool == "sum":
            most = max(int(a.sum(axis=(1, 2), dtype=np.int64).max()) for a in maps)
            layer = replace(layer, pool_shift=max(0, (most * 3 // 4 >> 8).bit_length()))
        self.layers.append(layer)
        self.maps, self.bits, self.signed = maps, 8 if self.values else 1, False
        if global_pool is not None:
            self.vectors = [reference.global_pool(layer, a) for a in maps]
        if global_pool == "sum" and not self.values:
            self.bits = int(maps[0][0].size).bit_length()

    def dense(self, index, features, emit, bits):
        name = f"dense{index}"
        weights = self.weights((features, self.vectors[0].size))
        sums = np.stack([weights @ v for v in self.vectors])
        shift = 0
        if emit == "bit":
            bias = -np.median(sums, axis=0).astype(np.int64)
        elif emit == "unsigned" and self.values:
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


def _frames(rng, spec, windows):
    frames = rng.integers(spec.min, spec.max + 1, (windows, spec.rows, spec.cols))
    # Smooth rows beside noise: silence and slow change are what speech is made of
    frames[:, : spec.rows // 3] = np.clip(frames[:, : spec.rows // 3] // 8, spec.min, spec.max)
    return frames.astype(np.int16)


def _try_random(rng, name, acc_bits, windows, max_rows, max_cols, channels, pools, values):
    signed = bool(rng.integers(2))
    spec = InputSpec(int(rng.integers(5, max_rows + 1)), int(rng.integers(5, max_cols + 1)),
                     bits=int(rng.integers(2, 9)), signed=signed)
    builder = _Builder(rng, spec, _frames(rng, spec, windows), acc_bits, values=values)
    n_convs = int(rng.integers(1, 4))
    for i in range(n_convs):
        kernel = KERNELS[rng.integers(len(KERNELS))]
        last = i == n_convs - 1
        if rng.random() < 0.5:
            padding = (kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
        else:
            padding = tuple(int(rng.integers(0, k)) for k in
                            (kernel[0], kernel[0], kernel[1], kernel[1]))
        padding = tuple(min(p, k - 1) for p, k in
                        zip(padding, (kernel[0], kernel[0], kernel[1], kernel[1]), strict=True))
        builder.conv(int(rng.choice(channels)), kernel, int(rng.integers(1, 3)), padding,
                     pools[rng.integers(len(pools))],
                     ("max", "sum")[rng.integers(2)] if last else None)
    n_denses = int(rng.integers(1, 4))
    for i in range(n_denses):
        if i == n_denses - 1:
            builder.dense(i + 1, int(rng.integers(1, 6)), "raw", 8)
        elif values:
            builder.dense(i + 1, int(rng.choice(channels)), "unsigned", 8)
        else:
            builder.dense(i + 1, int(rng.choice(channels)),
                          ("bit", "unsigned")[rng.integers(2)], int(rng.integers(1, 11)))
    network = IntegerNetwork(name, spec, builder.layers, float(rng.uniform(1e-4, 1e-1)),
                             float(rng.uniform(-3, 3)))
    return Case(name, network, builder.frames)


def random_case(seed, *, acc_bits=20, windows=1, max_rows=17, max_cols=21, channels=CHANNELS,
                pools=POOLS, values=False):
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
    values : bool
        Maps of 8-bit values instead of bits, and a head of such: what int8 lanes run.
    """
    rng = np.random.default_rng([0xBA3AC, seed])
    # Some draws shrink a map to nothing or outgrow the accumulator: draw again
    for _ in range(1000):
        try:
            return _try_random(rng, f"random-{seed}", acc_bits, windows, max_rows, max_cols,
                               channels, pools, values)
        except GraphError:
            continue
    raise ValueError(f"Accumulator bits must leave room for a network, not {acc_bits}")


def _corner(name, spec, frames, kernel=(3, 3), weight=None, channels=(3, 2), global_pool="sum",
            values=False):
    rng = np.random.default_rng([0xC0, len(name)])
    frames = np.broadcast_to(np.asarray(frames, np.int16), (1, spec.rows, spec.cols)).copy()
    builder = _Builder(rng, spec, frames, 24, values=values)
    same = (kernel[0] // 2, (kernel[0] - 1) // 2, kernel[1] // 2, (kernel[1] - 1) // 2)
    n = len(channels)
    for i, count in enumerate(channels):
        in_channels = builder.maps[0].shape[0]
        weights = None
        if weight is not None:
            weights = np.full((count, in_channels, *kernel), weight)
        builder.conv(count, kernel, 1, same, (1, 1) if i == n - 1 else (2, 2),
                     global_pool if i == n - 1 else None, weights)
    builder.dense(1, 3, "unsigned", 8 if values else 4)
    builder.dense(2, 1, "raw", 8)
    return Case(name, IntegerNetwork(name, spec, builder.layers), frames)


def corner_cases(values=False):
    """A list of :class:`Case`: the most extreme weights and inputs, and the smallest sizes.

    With ``values``, of networks with maps of 8-bit values.
    """
    signed, unsigned = InputSpec(9, 10, 8, True), InputSpec(9, 10, 8, False)
    corner = partial(_corner, values=values)
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
    if values:
        for name, bias in (("values-all-255", 1 << 22), ("values-all-zero", -(1 << 22))):
            convs = [replace(c, bias=np.full_like(c.bias, bias)) for c in base.convs]
            cases.append(Case(name, replace(base, name=name, layers=(*convs, *base.denses)),
                              cases[6].frames))
        return cases
    for name, threshold in (("bits-all-one", -(1 << 20)), ("bits-all-zero", 1 << 20)):
        convs = [Conv2d(c.name, c.weights, np.full_like(c.thresholds, threshold), c.stride,
                        c.padding, c.pool, c.global_pool) for c in base.convs]
        network = IntegerNetwork(name, base.input, (*convs, *base.denses))
        cases.append(Case(name, network, cases[6].frames))
    return cases


def _speech_network(name, spec, seed, convs, global_pool, quantile, values=False):
    """3x3 convolutions of (channels, pool), then the dense head of the paper, 64-64-1."""
    rng = np.random.default_rng([0x9A9E5, seed])
    builder = _Builder(rng, spec, _frames(rng, spec, 1), 24 if values else 20, quantile, values)
    for index, (channels, pool) in enumerate(convs):
        last = global_pool if index == len(convs) - 1 else None
        builder.conv(channels, (3, 3), 1, (1, 1, 1, 1), pool, last)
    builder.dense(1, 64, "unsigned", 8)
    builder.dense(2, 64, "unsigned", 8)
    builder.dense(3, 1, "raw", 8)
    network = IntegerNetwork(name, spec, builder.layers, 2.0 ** -14, 2.5)
    return Case(name, network, builder.frames)


def paper_network(seed=0, *, rows=249, cols=120, global_pool="max", quantile=0.88, values=False):
    """A :class:`Case` of the paper's shape with random weights and about 12 % ones in every map.

    With ``values``, its maps hold 8-bit values instead.
    """
    convs = ((32, (2, 2)), (32, (2, 2)), (32, (2, 2)), (64, (1, 1)))
    return _speech_network("paper-shape", InputSpec(rows, cols), seed, convs, global_pool,
                           quantile, values)


def p808_network(seed=0, *, rows=900, cols=120, global_pool="max", quantile=0.88):
    """A :class:`Case` of the shape of DNSMOS P.808 (model_v8), with random weights."""
    convs = ((32, (2, 2)), (32, (2, 2)), (32, (1, 1)), (32, (2, 2)), (64, (1, 1)))
    return _speech_network("p808-shape", InputSpec(rows, cols), seed, convs, global_pool,
                           quantile)
