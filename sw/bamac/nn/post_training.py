"""A trained ReLU network as an integer network with 8-bit maps: the baseline of binary ones.

No training is needed (post-training quantisation). Every map holds ``clamp((acc + bias) >> shift,
0, 255)``, with int8 weights. A layer has one shift and no multiplier, so the scales of weights and
maps are chosen to fit: batch norm is folded into the weights, and as ReLU commutes with positive
factors, each channel of a map has a scale of its own, which the next layer's weights take over.

For a given shift a channel's scale must be large enough for its largest value to be at most 255 and
for its largest weight to be at most 127; the shift is the one whose rounding costs least, relative
to the channels' ranges. Ranges are the largest values on the calibration's frames, with room for
twice as much: clipping at a percentile would harm a network with max pools, and real input can be
louder than what was calibrated with.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bamac.frontends import audio
from bamac.frontends.log_mel import SaturationWarning
from bamac.frontends.registry import FrontEndSpec
from bamac.ir.network import (
    SHIFT_MAX,
    VALUE_MAX,
    WEIGHT_MAX,
    Conv2d,
    Dense,
    FrontEnd,
    GraphError,
    InputSpec,
    IntegerNetwork,
)
from bamac.ir.reference import conv_accumulators, conv_outputs, emit, global_pool, max_pool

from .layers import ConvStage, DenseStage
from .network import Network
from .quantise import channel_scales, quantise_weights

__all__ = ["ACC_BITS", "calibration_frames", "integerise_int8_maps"]

ACC_BITS = 24
"""Width of the accumulators of an array with int8 lanes."""
HEADROOM = 2.0
"""How far values may go beyond those of the calibration."""
LEVELS = (0.1, 1, 4)
"""Gains of the calibration's clips, clipped at full scale."""
NOISE = 0.1
"""Standard deviation of white noise over them, full scale 1."""


def calibration_frames(source: FrontEndSpec, clips: Iterable[str | Path]) -> np.ndarray:
    """Frames (n, rows, cols) of audio files: at several levels, and in noise.

    ``source`` is the network's :class:`bamac.frontends.registry.FrontEndSpec`. Each clip's first
    window is taken; the noise is the same on every call.
    """
    rng = np.random.default_rng(0)
    frames = []
    for clip in clips:
        samples = audio.windows(audio.load_audio(clip), source.window)[0]
        heard = [samples * level for level in LEVELS]
        heard.append(samples + NOISE * rng.standard_normal(len(samples)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaturationWarning)
            frames += [source.compute(np.clip(part, -1, 1)) for part in heard]
    return np.stack(frames)


def _fold(stage: ConvStage) -> tuple[np.ndarray, np.ndarray]:
    """Weights (out, in, kernel) and bias (out,) of a stage with its batch norm, float64."""
    weight = stage.weight.detach().double()
    if stage.int8:
        scales = channel_scales(stage.weight, stage.bits)
        weight = (quantise_weights(stage.weight, scales, stage.bits).detach().double()
                  * scales.double().reshape(-1, 1, 1, 1))
    norm = stage.norm
    gain = (norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()).detach()
    bias = norm.bias.detach().double() - norm.running_mean.double() * gain
    weight = weight * (stage.in_scale * gain).reshape(-1, 1, 1, 1)
    return weight.numpy(), bias.numpy()


def _dense_weights(stage: DenseStage) -> tuple[np.ndarray, np.ndarray]:
    """Weights (out, in) and bias (out,) of a layer of the head, float64."""
    weight = stage.weight.detach()
    if stage.rounded:
        scale = channel_scales(weight)
        weight = quantise_weights(weight, scale) * scale[:, None]
    return weight.double().numpy(), stage.bias.detach().double().numpy()


def _quantise(weights, bias, peaks, energy, input_max):
    """Integers of one layer: ``(weights, bias, shift, scales)``.

    Parameters
    ----------
    weights, bias : real, (out, ...) and (out,), for inputs that are integers
    peaks : (out,) largest values, with room
    energy : sum over a position's inputs of their mean square
    input_max : largest magnitude of an input
    """
    flat = weights.reshape(len(weights), -1)
    largest = np.abs(flat).max(axis=1)
    reach = np.maximum(np.clip(flat, 0, None).sum(1), -np.clip(flat, None, 0).sum(1)) * input_max
    # A channel that was never above zero takes the others' range
    alive = peaks[peaks > 0]
    usual = float(np.median(alive)) if alive.size else 1.0
    peaks = np.where(peaks > 0, peaks, usual)
    best = None
    for shift in range(SHIFT_MAX + 1):
        step = 2.0 ** shift
        scales = np.maximum.reduce([peaks / VALUE_MAX, largest * step / WEIGHT_MAX,
                                    reach * step / (0.98 * 2 ** (ACC_BITS - 1)),
                                    np.abs(bias) * step / (0.98 * 2 ** (ACC_BITS - 1))])
        noise = float(np.mean((scales / peaks) ** 2 * (1 + energy / step**2)))
        if best is None or noise < best[0]:
            best = noise, shift, scales
    _, shift, scales = best
    step = 2.0 ** shift
    unit = (scales / step).reshape(-1, *[1] * (weights.ndim - 1))
    rounded = np.rint(weights / unit).astype(np.int64)
    half = step / 2 if shift else 0
    return rounded, np.rint(bias * step / scales + half).astype(np.int64), shift, scales


def _ranges(module, x):
    """Largest value of each channel, of every map and of every hidden layer of the head."""
    with torch.no_grad():
        maps = module.maps(x)
        vector = module.pool(maps[-1]).float() * module.pool_scale
        hidden = []
        for stage in module.head[:-1]:
            vector = stage(vector)
            hidden.append(vector.amax(0))
    return ([m.amax((0, 2, 3)).double().numpy() for m in maps],
            [h.double().numpy() for h in hidden])


def _conv(stage, name, pool, scales, maps, peaks, input_max):
    """A convolution on integer maps (clips, channels, rows, cols), and its channels' scales."""
    weight, bias = _fold(stage)
    energy = weight[0, 0].size * (maps.astype(np.float64) ** 2).mean(axis=(0, 2, 3)).sum()
    q, b, shift, scales = _quantise(weight * scales.reshape(1, -1, 1, 1), bias, peaks, energy,
                                    input_max)
    return Conv2d(name, q, stride=stage.spec.stride, padding=stage.spec.pads(),
                  pool=stage.spec.pool, global_pool=pool, bias=b, shift=shift), scales


def _pooled(conv, maps, input_max):
    """What the layer makes of integer maps, before its global pool."""
    return np.stack([max_pool(conv_outputs(conv, conv_accumulators(conv, m, input_max)), conv.pool)
                     for m in maps])


def integerise_int8_maps(module: Network, frames: np.ndarray, front_end: FrontEnd | None = None,
                         name: str | None = None) -> IntegerNetwork:
    """The :class:`~bamac.ir.network.IntegerNetwork` with 8-bit maps of a ``w8`` or ``fp32`` one.

    Parameters
    ----------
    module : :class:`bamac.nn.network.Network` in evaluation mode
    frames : int array (clips, rows, cols)
        Real input, from which the ranges of all values are taken.
    front_end : :class:`bamac.ir.network.FrontEnd` that makes such frames of audio, or None
    name : of the result; the configuration's name and ``int8`` by default

    Raises
    ------
    GraphError
        If the network has binary maps.
    """
    config = module.config
    if config.binary:
        raise GraphError(f"{config.name}: network must have ReLU maps (variant w8 or fp32) for "
                         f"8-bit values, not variant {config.variant!r}")
    spec = InputSpec(config.rows, config.cols, config.input_bits)
    maps = np.asarray(frames, np.int64)[:, None]
    peaks, hidden_peaks = _ranges(module, torch.from_numpy(maps.astype(np.float32)))

    layers, scales, input_max = [], np.ones(1), max(-spec.min, spec.max)
    for index, stage in enumerate(module.convs):
        pool = config.global_pool if index == len(module.convs) - 1 else None
        conv, scales = _conv(stage, f"conv{index + 1}", pool, scales, maps,
                             HEADROOM * peaks[index], input_max)
        maps, input_max = _pooled(conv, maps, input_max), VALUE_MAX
        layers.append(conv)

    lost = 0.0  # what rounding down takes from a value of the vector, on average
    if conv.global_pool == "sum":
        most = HEADROOM * int(maps.sum(axis=(2, 3), dtype=np.int64).max())
        conv = layers[-1] = replace(conv, pool_shift=max(0, (int(most) >> 8).bit_length()))
        scales = scales * 2.0**conv.pool_shift / maps[0, 0].size
        lost = 0.5 if conv.pool_shift else 0.0
    vectors = np.stack([global_pool(conv, m) for m in maps])

    for index, stage in enumerate(module.head):
        weight, bias = _dense_weights(stage)
        weight = weight * scales
        bias = bias + lost * weight.sum(axis=1)
        title, lost = f"dense{index + 1}", 0.0
        if stage.last:
            unit = float(np.abs(weight).max()) / WEIGHT_MAX or 1.0
            layers.append(Dense(title, np.rint(weight / unit).astype(np.int64),
                                np.rint(bias / unit).astype(np.int64)))
            break
        energy = (vectors.astype(np.float64) ** 2).sum(axis=1).mean()
        q, b, shift, scales = _quantise(weight, bias, HEADROOM * hidden_peaks[index], energy,
                                        VALUE_MAX)
        layers.append(Dense(title, q, b, "unsigned", 8, shift))
        vectors = emit(layers[-1], vectors @ q.T + b)

    return IntegerNetwork(
        name or f"{config.name}-int8", spec, tuple(layers), score_scale=unit,
        score_offset=float(module.score_offset), front_end=front_end or FrontEnd())
