"""Small random networks for tests of the array, with what they compute, by definition.

Everything here is plain numpy over whole maps: no code of the reference, the compiler or the model.
"""

from dataclasses import dataclass

import numpy as np

from bamac.compiler import compile_network
from bamac.ir.network import Conv2d, Dense, InputSpec, IntegerNetwork
from bamac.perf.cycles import predict, predict_events
from bamac_hw.abi.counters import COUNTERS


@dataclass(eq=False)
class LayerCase:
    """A network, frames (clips, ...) for it, and what each layer must give of each clip."""

    network: IntegerNetwork
    frames: np.ndarray
    expected: list  # per clip, a dict of layer names: bits before the pool, or outputs


def convolve(values, weights, stride=(1, 1), padding=(0, 0, 0, 0)):
    """Sums (out_channels, rows, cols) of a map (channels, rows, cols)."""
    top, bottom, left, right = padding
    padded = np.pad(np.asarray(values, np.int64), ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], (1, 2))
    return np.einsum("cyxij,ocij->oyx", windows[:, ::stride[0], ::stride[1]], weights)


def pool_bits(bits, pool):
    """Maximum over windows of ``pool``; what fills none is dropped."""
    channels, rows, cols = bits.shape
    rows, cols = rows // pool[0], cols // pool[1]
    return bits[:, :rows * pool[0], :cols * pool[1]].reshape(
        channels, rows, pool[0], cols, pool[1]).max(axis=(2, 4))


def simple_head(vectors, outputs=2, seed=0):
    """A dense layer that emits scores: ``(layer, outputs)`` of each vector."""
    rng = np.random.default_rng([seed, 77])
    weights = rng.integers(-40, 41, (outputs, len(vectors[0])))
    bias = rng.integers(-300, 301, outputs)
    return Dense("scores", weights, bias), [weights @ vector + bias for vector in vectors]


def check_case(case, program, result):
    """Compare every value and counter of a run; returns how many values were compared."""
    compared = 0
    for clip, expected in enumerate(case.expected):
        for row in program.layers:
            wanted = np.asarray(expected[row["name"]])
            kind = "bits" if wanted.ndim == 3 else "outputs"
            if wanted.ndim == 3:
                wanted = wanted[:, :row["tiled_rows"], :row["tiled_cols"]]
            np.testing.assert_array_equal(result.trace[clip][row["name"]][kind], wanted,
                                          f"{case.network.name}, clip {clip}, {row['name']}")
            compared += wanted.size
        np.testing.assert_array_equal(result.outputs[clip], expected[program.layers[-1]["name"]])
    predicted = predict(program, case.network, case.frames)
    events = np.sum([predict_events(program, case.network, window) for window in case.frames], 0)
    for counted, model, ones in zip(result.counters, predicted["layers"], events, strict=True):
        wanted = {**model, "events": ones}
        assert counted == {name: wanted[name] for name in COUNTERS}, (
            f"{case.network.name}, layer {model['name']}")
    assert result.cycles == predicted["cycles"], case.network.name
    return compared


def compiled(cases, geometry):
    """The programs of all cases."""
    return [compile_network(case.network, geometry) for case in cases]


def _constants(rng, name, weights, sums, step, sides, pool, last, int8):
    """A convolution near the middle of its sums, and its map before the pool for each clip."""
    middle = np.quantile(np.stack(sums), 0.7, axis=(0, 2, 3)).astype(np.int64)
    if not int8:
        layer = Conv2d(name, weights, middle, step, sides, pool, "sum" if last else None)
        return layer, [(acc >= middle[:, None, None]).astype(np.uint8) for acc in sums]
    shift = max(0, int(np.max(sums)).bit_length() - 8)
    layer = Conv2d(name, weights, None, step, sides, pool, "max" if last else None, -middle, shift)
    return layer, [np.clip((acc - middle[:, None, None]) >> shift, 0, 255) for acc in sums]


def input_case(seed, *, channels, signed=True, bits=4, clips=2, tile=(2, 2), int8=False,
               zero_point=0, kernel_most=5, axis_strides=False, padding_most=2,
               pruned=0.0, outputs_most=11, narrow=False):
    """An input, perhaps of several channels, two convolutions, and a head.

    ``pruned`` is the share of (tap, input channel) pairs without weights, for each eight outputs.
    """
    rng = np.random.default_rng([seed, channels])
    rows, cols = (int(size) for size in rng.integers(6, 10 + kernel_most, 2))
    spec = InputSpec(rows, cols, bits, signed, channels, zero_point, narrow=narrow)
    shape = (clips, rows, cols) if channels == 1 else (clips, channels, rows, cols)
    frames = rng.integers(spec.min, spec.max + 1, shape).astype(np.int16)
    frames[rng.random(shape) < 0.4] = 0
    maps = list(frames.reshape(clips, channels, rows, cols) - zero_point)
    layers, expected = [], [{} for _ in range(clips)]
    for index in range(2):
        size = tuple(int(size) for size in rng.integers(1, kernel_most + 1, 2))
        step = tuple(int(step) for step in rng.integers(1, 3, 2))
        step = step if axis_strides else step[:1] * 2
        sides = [int(rng.integers(0, min(s, padding_most + 1)))
                 for s in (*size[:1] * 2, *size[1:] * 2)]
        pool = [int(rng.choice([p for p in (1, 2) if p <= t])) for t in tile]
        if min(maps[0].shape[1] + sides[0] + sides[1] - size[0],
               maps[0].shape[2] + sides[2] + sides[3] - size[1]) < 2 * max(step):
            size, sides, step, pool = (1, 1), [0] * 4, (1, 1), [1, 1]
        weights = rng.integers(-20, 21, (int(rng.integers(2, outputs_most + 1)), len(maps[0]),
                                         *size))
        for first in range(0, len(weights) if pruned else 0, 8):
            weights[first:first + 8, rng.random(weights.shape[1:]) < pruned] = 0
        sums = [convolve(values, weights, step, sides) for values in maps]
        name = f"conv{index}"
        layer, made = _constants(rng, name, weights, sums, step, sides, pool, index == 1, int8)
        layers.append(layer)
        for clip, values in zip(expected, made, strict=True):
            clip[name] = values
        maps = [pool_bits(values, pool) for values in made]
    head, outputs = simple_head([
        values.max(axis=(1, 2)) if int8 else values.sum(axis=(1, 2), dtype=np.int64)
        for values in maps], seed=seed)
    for clip, scores in zip(expected, outputs, strict=True):
        clip["scores"] = scores
    return LayerCase(IntegerNetwork(f"input-{seed}", spec, (*layers, head)), frames, expected)


def depthwise_case(seed, *, channels, tile=(2, 2), kernel_most=5, axis_strides=False, pruned=0.0):
    """A convolution, a depthwise one of ``channels``, one of 1 x 1, another depthwise, a head."""
    rng = np.random.default_rng([seed, channels, 3])
    rows, cols = (int(size) for size in rng.integers(8, 10 + kernel_most, 2))
    spec = InputSpec(rows, cols, 3, bool(seed % 2))
    frames = rng.integers(spec.min, spec.max + 1, (2, rows, cols)).astype(np.int16)
    maps, layers, expected = list(frames[:, np.newaxis]), [], [{}, {}]
    for index, depthwise in enumerate((False, True, False, True)):
        size = ((3, 3), None, (1, 1), None)[index] or tuple(
            int(size) for size in rng.integers(1, kernel_most + 1, 2))
        step = tuple(int(step) for step in rng.integers(1, 3, 2)) if depthwise else (1, 1)
        step = step if axis_strides else step[:1] * 2
        sides = [size[0] // 2, (size[0] - 1) // 2, size[1] // 2, (size[1] - 1) // 2]
        pool = [int(rng.choice([p for p in (1, 2) if p <= t])) if index == 1 else 1 for t in tile]
        weights = rng.integers(-20, 21, (channels, 1 if depthwise else len(maps[0]), *size))
        if depthwise and pruned:
            weights[:, 0, rng.random(size) < pruned] = 0
        if depthwise:
            sums = [np.concatenate([convolve(values[k:k + 1], weights[k:k + 1], step, sides)
                                    for k in range(channels)]) for values in maps]
        else:
            sums = [convolve(values, weights, step, sides) for values in maps]
        thresholds = np.quantile(np.stack(sums), 0.6, axis=(0, 2, 3)).astype(np.int64) + 1
        layer = Conv2d(f"conv{index}", weights, thresholds, step, sides, pool,
                       "sum" if index == 3 else None, groups=channels if depthwise else 1)
        layers.append(layer)
        maps = [(acc >= thresholds[:, None, None]).astype(np.uint8) for acc in sums]
        for clip, values in zip(expected, maps, strict=True):
            clip[layer.name] = values
        maps = [pool_bits(values, pool) for values in maps]
    head, outputs = simple_head([values.sum(axis=(1, 2), dtype=np.int64) for values in maps],
                                seed=seed)
    for clip, scores in zip(expected, outputs, strict=True):
        clip["scores"] = scores
    return LayerCase(IntegerNetwork(f"depthwise-{seed}", spec, (*layers, head)), frames, expected)


def flattened_case(seed, *, convs, hidden, clips=2, tile=(2, 2), int8=False, emit="unsigned",
                   size_most=7):
    """Convolutions, then dense layers: the first one reads the last map flattened, or the input."""
    rng = np.random.default_rng([seed, 5])
    channels = int(rng.integers(1, 4))
    rows, cols = (int(size) for size in rng.integers(3 if size_most == 7 else 8, size_most, 2))
    if convs:
        rows, cols = 2 * rows + 1, 2 * cols
    spec = InputSpec(rows, cols, int(rng.integers(2, 7)), bool(seed % 2), channels)
    shape = (clips, rows, cols) if channels == 1 else (clips, channels, rows, cols)
    frames = rng.integers(spec.min, spec.max + 1, shape).astype(np.int16)
    frames[rng.random(shape) < 0.3] = 0
    maps = list(frames.reshape(clips, channels, rows, cols))
    layers, expected = [], [{} for _ in range(clips)]
    for index in range(convs):
        weights = rng.integers(-20, 21, (int(rng.integers(2, 20)), len(maps[0]), 3, 3))
        sides = [1, 1, 1, 1]
        pool = [min(size, 1 if index else 2) for size in tile]
        sums = [convolve(values, weights, (1, 1), sides) for values in maps]
        layer, made = _constants(rng, f"conv{index}", weights, sums, 1, sides, pool, False, int8)
        layers.append(layer)
        for clip, values in zip(expected, made, strict=True):
            clip[layer.name] = values
        maps = [pool_bits(values, pool) for values in made]
    if max(maps[0].shape[1:]) > size_most:
        return flattened_case(seed + 1000, convs=convs, hidden=hidden, clips=clips, tile=tile,
                              int8=int8, emit=emit, size_most=size_most)
    vectors = [values.reshape(-1).astype(np.int64) for values in maps]
    for index, features in enumerate(hidden):
        weights = rng.integers(-20, 21, (features, len(vectors[0])))
        sums = np.stack([weights @ vector for vector in vectors])
        bias = -np.median(sums, axis=0).astype(np.int64)
        bits = 8 if int8 else 5
        shift = max(0, int(np.abs(sums + bias).max()).bit_length() - bits)
        name = f"hidden{index}"
        if emit == "bit":
            layers.append(Dense(name, weights, bias, "bit"))
            vectors = [(total + bias >= 0).astype(np.int64) for total in sums]
        else:
            layers.append(Dense(name, weights, bias, "unsigned", bits, shift))
            vectors = [np.clip(total + bias >> shift, 0, 2**bits - 1) for total in sums]
        for clip, values in zip(expected, vectors, strict=True):
            clip[name] = values
    head, outputs = simple_head(vectors, outputs=int(rng.integers(1, 12)), seed=seed)
    for clip, scores in zip(expected, outputs, strict=True):
        clip["scores"] = scores
    return LayerCase(IntegerNetwork(f"flattened-{seed}", spec, (*layers, head)), frames, expected)
