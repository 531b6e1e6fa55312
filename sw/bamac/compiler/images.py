"""Weight rows in the order of the walk, with start values, and the proof that sums fit."""

import numpy as np

from bamac.ir.network import Conv2d
from bamac_hw.abi.descriptors import Source

from .errors import CompileError

__all__ = ["accumulator_bounds", "start_values", "weight_image"]


def start_values(walk):
    """What each output channel's accumulator starts from, int64 (out_channels,).

    Convolution: ``-threshold``, so that the output bit is the sign, less ``offset`` for each
    input (for the dense walk, signed inputs are stored with an offset). Thresholds beyond what
    the sums can reach are moved to the nearest value with the same meaning. Dense, and convolutions
    that emit values: the bias.
    """
    layer = walk.layer
    if not isinstance(layer, Conv2d):
        return layer.bias.astype(np.int64)
    flat = layer.weights.reshape(layer.out_channels, -1)
    if layer.values:
        return layer.bias - walk.offset * flat.sum(axis=1)
    low, high = _reach(flat, walk.in_min - walk.offset, walk.in_max - walk.offset)
    threshold = np.clip(layer.thresholds, low, high + 1)
    return -(threshold + walk.offset * flat.sum(axis=1))


def accumulator_bounds(walk):
    """Smallest and largest value that any partial sum of any channel can take."""
    flat = walk.layer.weights.reshape(walk.layer.out_channels, -1)
    start = start_values(walk)
    low, high = _reach(flat, walk.in_min, walk.in_max)
    if walk.bits_are_values:
        # Start values are added where the sums are read out, which has a bit more.
        return (min(int(low.min()), int(start.min())), max(int(high.max()), int(start.max())))
    if walk.rounds > 1:
        # The start value comes after all rounds but the last.
        return (int(np.minimum(low, start + low).min()), int(np.maximum(high, start + high).max()))
    return int((start + low).min()), int((start + high).max())


def _reach(weights, smallest, largest):
    """Lowest and highest sum of products with values from ``smallest`` <= 0 to ``largest``."""
    negative, positive = np.minimum(weights, 0).sum(axis=1), np.maximum(weights, 0).sum(axis=1)
    return negative * largest + positive * smallest, positive * largest + negative * smallest


def weight_image(walk, geometry):
    """The layer's rows of the weight store, int8 (rows, channels).

    For each pass: rows of start-value bytes, least significant first, as many as fill whole words
    of the store; then one row per kernel tap and input channel, or ``walk.word_rows`` of them.
    With pair lanes, a row of zeros follows an odd number of channels in a word. Lanes without a
    channel start at -1 and never change.

    Raises
    ------
    CompileError
        If a sum could leave the accumulator.
    """
    low, high = accumulator_bounds(walk)
    if low < geometry.acc_min or high > geometry.acc_max:
        bits = max(low.bit_length() if low >= 0 else (-low - 1).bit_length(),
                   high.bit_length()) + 1
        wider = f", or a geometry with acc_bits = {bits}" if bits <= 32 else ""
        raise CompileError(
            f"{walk.layer.name}: sums reach {low}..{high} and need {bits}-bit accumulators, "
            f"array {geometry.name} has {geometry.acc_bits}; use smaller weights or inputs{wider}")
    layer = walk.layer
    starts = start_values(walk)
    if walk.source == Source.VECTOR:
        taps = layer.weights.T                                        # (in, out)
    else:
        taps = layer.weights.transpose(2, 3, 1, 0).reshape(-1, layer.out_channels)
    if walk.word_rows == 2:
        # A word of the store holds the low eight bits of the double.
        other = (2 * taps + 128) % 256 - 128 if walk.step_bits > 1 else -taps
        taps = np.stack([taps, other], axis=1).reshape(-1, layer.out_channels)
    elif walk.end_bits % walk.step_bits:
        taps = np.pad(taps.reshape(walk.taps, -1, layer.out_channels),
                      ((0, 0), (0, 1), (0, 0))).reshape(-1, layer.out_channels)
    rows = []
    for number in range(walk.passes):
        channels = walk.pass_channels(number, geometry)
        chosen = slice(number * geometry.channels, number * geometry.channels + channels)
        start = np.full(geometry.channels, -1, np.int64)
        start[:channels] = starts[chosen]
        for byte in range(geometry.start_reads * geometry.store_rows):
            rows.append(((start >> (8 * byte)) & 0xFF).astype(np.uint8).view(np.int8)[None])
        body = np.zeros((len(taps), geometry.channels), np.int8)
        body[:, :channels] = taps[:, chosen]
        rows.append(body)
    return np.concatenate(rows)
