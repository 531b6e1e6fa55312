"""Random networks over everything that a network may be: levels, groups, dilation, branches.

Thresholds are quantiles of what a layer sums up on the frames that the network comes with, so that
values differ and a wrong sum shows. :mod:`.random_networks` has networks of the layers that every
array runs as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .checks import Array
from .conv import Conv2d
from .dense import Dense
from .layer import Layer, TensorSpec
from .network import FRAMES, InputSpec, IntegerNetwork, joined
from .random_networks import Case

__all__ = ["random_graph"]

# Thresholds of a channel, low, step: bits, bipolar, 2 bits, signed 2 bits narrow, 3 bits, ternary
LEVELS = ((1, 0, 1), (1, 0, 1), (1, -1, 2), (3, 0, 1), (2, -1, 1), (7, 0, 1), (2, -2, 2))


class _Growth:
    """A network as it grows, computed on its frames."""

    def __init__(self, rng: np.random.Generator, spec: InputSpec, frames: Array,
                 weight_most: int) -> None:
        self.rng, self.spec, self.weight_most = rng, spec, weight_most
        self.made: dict[str, list[Array]] = {
            FRAMES: [window.reshape(spec.map_shape).astype(np.int64) - spec.zero_point
                     for window in frames]}
        self.specs = {FRAMES: TensorSpec(spec.map_shape, spec.min - spec.zero_point,
                                         spec.max - spec.zero_point)}
        self.layers: list[Layer] = []
        self.inputs: dict[str, tuple[str, ...]] = {}

    def reads(self, sources: tuple[str, ...]) -> TensorSpec:
        return joined("", [self.specs[source] for source in sources])

    def weights(self, shape: tuple[int, ...]) -> Array:
        most = int(self.rng.choice([1, 3, self.weight_most]))
        weights = self.rng.integers(-most, most + 1, shape)
        weights[self.rng.random(shape) < 0.2] = 0
        return weights

    def add(self, layer: Layer, sources: tuple[str, ...]) -> str:
        """Compute the layer with its thresholds or bias set near the middle of its sums."""
        reads = self.reads(sources)
        values = [np.concatenate([self.made[source][n] for source in sources])
                  for n in range(len(self.made[FRAMES]))]
        probes = [layer.run(each, reads, keep_acc=True) for each in values]
        sums = np.concatenate([np.asarray(probe.acc).reshape(layer.out_channels, -1)
                               for probe in probes], axis=1)
        if isinstance(layer, Conv2d):
            layer = replace(layer, thresholds=self.steps(sums, layer.levels))
        elif isinstance(layer, Dense) and layer.emit == "levels":
            layer = replace(layer, thresholds=self.steps(sums, layer.levels))
        elif isinstance(layer, Dense) and layer.emit == "bit":
            layer = replace(layer, bias=-self.steps(sums, 1)[:, 0])
        elif isinstance(layer, Dense) and layer.emit == "unsigned":
            middle = np.median(sums, axis=1).astype(np.int64)
            shift = max(0, int(np.abs(sums - middle[:, None]).max()).bit_length() - layer.bits)
            layer = replace(layer, bias=-middle, shift=shift)
        self.made[layer.name] = [layer.run(each, reads).result for each in values]
        self.specs[layer.name] = layer.output(reads)
        self.inputs[layer.name] = sources
        self.layers.append(layer)
        return layer.name

    def steps(self, sums: Array, levels: int) -> Array:
        """Thresholds (channels, levels) at random quantiles of the sums."""
        quantiles = np.sort(self.rng.uniform(0.15, 0.9, levels))
        found: Array = np.quantile(sums, quantiles, axis=1, method="nearest").T.astype(np.int64)
        return found

    def conv(self, sources: tuple[str, ...], *, same: bool = False,
             global_pool: str | None = None) -> str:
        """A random convolution; with ``same``, one that keeps the map's size."""
        rng, reads = self.rng, self.reads(sources)
        channels, rows, cols = reads.shape
        groups = int(rng.choice([g for g in (1, 1, 1, 2, 3, channels) if channels % g == 0]))
        outputs = groups * int(rng.integers(1, 3 if groups > 2 else 5))
        levels, low, step = LEVELS[int(rng.integers(len(LEVELS)))]
        if same:
            kernel = tuple(int(k) for k in rng.choice([1, 3], 2))
            dilation = tuple(int(d) for d in rng.integers(1, 3, 2))
            padding = tuple(k // 2 * d for k, d in zip(kernel, dilation, strict=True)
                            for _ in range(2))
            stride: tuple[int, ...] = (1, 1)
            pool: tuple[int, ...] = (1, 1)
        else:
            kernel = tuple(int(rng.integers(1, min(4, size) + 1)) for size in (rows, cols))
            dilation = tuple(int(rng.integers(1, 3)) if (k - 1) * 2 < size else 1
                             for k, size in zip(kernel, (rows, cols), strict=True))
            span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
            padding = tuple(int(rng.integers(0, min(s, 3))) for s in span for _ in range(2))
            most = 4 if sources == (FRAMES,) else 3
            stride = tuple(int(s) for s in rng.integers(1, most, 2))
            pool = tuple(int(p) for p in rng.choice([1, 1, 2, 4], 2))
        layer = Conv2d(
            f"conv{len(self.layers) + 1}", self.weights((outputs, channels // groups, *kernel)),
            np.zeros((outputs, levels), np.int64), stride, padding, pool, global_pool,
            groups=groups, dilation=dilation, low=low, step=step)
        if min(layer.pooled_shape(rows, cols)) < 1:
            layer = replace(layer, pool=(1, 1), stride=(1, 1))
        return self.add(layer, sources)

    def shortcut(self, name: str) -> str:
        """Two convolutions and the map in front of them, added up in front of a step."""
        branch = self.conv((self.conv((name,), same=True),), same=True)
        skipped = self.specs[name].channels
        levels, low, step = LEVELS[int(self.rng.integers(len(LEVELS)))]
        sizes = self.specs[branch].channels, skipped
        outputs = max(sizes)
        weights = np.zeros((outputs, sum(sizes), 1, 1), np.int64)
        gains = self.rng.integers(1, 100, 2)
        weights[np.arange(sizes[0]), np.arange(sizes[0])] = gains[0]
        weights[np.arange(skipped), sizes[0] + np.arange(skipped)] = gains[1]
        return self.add(Conv2d(f"add{len(self.layers) + 1}", weights,
                               np.zeros((outputs, levels), np.int64), low=low, step=step),
                        (branch, name))

    def dense(self, source: str, emit: str) -> str:
        """A random dense layer on a vector, or on a map."""
        reads = self.reads((source,))
        outputs = int(self.rng.integers(1, 6))
        levels, low, step = LEVELS[int(self.rng.integers(len(LEVELS)))]
        layer = Dense(
            f"dense{len(self.layers) + 1}", self.weights((outputs, int(np.prod(reads.shape)))),
            self.rng.integers(-50, 51, outputs), "bit" if emit == "levels" else emit,
            bits=int(self.rng.integers(2, 7)))
        if emit == "levels":
            layer = replace(layer, emit=emit, thresholds=np.zeros((outputs, levels), np.int64),
                            low=low, step=step)
        return self.add(layer, (source,))


def random_graph(seed: int, *, windows: int = 2, most_rows: int = 12, weight_most: int = 90,
                 spec: InputSpec | None = None) -> Case:
    """Network number ``seed`` of the whole class, and frames for it.

    Parameters
    ----------
    windows : clips of frames
    most_rows : largest number of rows and columns of the input
    weight_most : largest magnitude of a weight
    spec : the input, or None for a random one
    """
    rng = np.random.default_rng([seed, 25])
    if spec is None:
        spec = _random_input(rng, most_rows)
    shape = (windows, *spec.shape)
    frames = rng.integers(spec.min, spec.max + 1, shape)
    frames[rng.random(shape) < 0.3] = spec.zero_point
    if spec.bipolar:
        frames = rng.choice([-1, 1], shape)
    grown = _Growth(rng, spec, frames, weight_most)
    last = FRAMES
    if rng.random() < 0.8:
        last = _body(grown, rng)
    for _ in range(int(rng.integers(0, 3))):
        last = grown.dense(last, str(rng.choice(["bit", "levels", "unsigned"]
                                                if not grown.specs[last].is_map else
                                                ["bit", "levels"])))
    grown.dense(last, "raw")
    outputs = grown.layers[-1].out_channels
    network = IntegerNetwork(
        f"graph_{seed}", spec, grown.layers, inputs=grown.inputs,
        score_scale=tuple(float(s) for s in rng.uniform(0.01, 1, outputs)),
        score_offset=tuple(float(s) for s in rng.uniform(-1, 1, outputs)))
    return Case(network.name, network, frames.astype(np.int16))


def _random_input(rng: np.random.Generator, most_rows: int) -> InputSpec:
    rows, cols = (int(n) for n in rng.integers(3, most_rows + 1, 2))
    if rng.random() < 0.15:
        return InputSpec(rows, cols, 2, True, int(rng.integers(1, 4)), narrow=True, bipolar=True)
    signed = bool(rng.random() < 0.5)
    bits = int(rng.integers(2 if signed else 1, 9))
    plain = InputSpec(rows, cols, bits, signed, int(rng.integers(1, 4)))
    zero = int(rng.integers(plain.min, plain.max + 1)) if rng.random() < 0.3 else 0
    return replace(plain, zero_point=zero)


def _body(grown: _Growth, rng: np.random.Generator) -> str:
    """Convolutions, shortcuts and concatenations; the last map is pooled, or small."""
    last = grown.conv((FRAMES,))
    for _ in range(int(rng.integers(0, 3))):
        kind = rng.choice(["conv", "conv", "shortcut", "concat"])
        if kind == "conv":
            last = grown.conv((last,))
        elif kind == "shortcut":
            last = grown.shortcut(last)
        else:
            last = grown.conv((grown.conv((last,), same=True), grown.conv((last,), same=True)))
    pool = rng.choice(["max", "sum", "flat"])
    return last if pool == "flat" else grown.conv((last,), global_pool=str(pool))
