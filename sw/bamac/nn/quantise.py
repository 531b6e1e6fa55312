"""Quantisers of training. Rounding is to nearest, ties to even; gradients pass straight through."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["channel_scales", "floor_ste", "largest", "quantise_weights", "round_ste"]


def round_ste(x: Tensor) -> Tensor:
    """Round; the gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def floor_ste(x: Tensor) -> Tensor:
    """Floor; the gradient is that of the identity."""
    return x + (torch.floor(x) - x).detach()


def largest(bits: int) -> int:
    """The largest magnitude of a symmetric signed weight of that many bits: 127 for 8."""
    return (1 << (bits - 1)) - 1


def channel_scales(weights: Tensor, bits: int = 8) -> Tensor:
    """Positive scale (channels,) with which a channel's largest weight is ``largest(bits)``."""
    peak = weights.detach().abs().flatten(1).amax(1)
    return (peak / largest(bits)).clamp_min(1e-12)


def quantise_weights(weights: Tensor, scales: Tensor, bits: int = 8) -> Tensor:
    """Integer-valued floats, ``clamp(round(weights / scale))``, within ``largest(bits)``.

    ``scales`` has one value per output channel (the first axis), or one for all. The range is
    symmetric: the most negative value is left out so that a weight can change its sign.
    """
    scales = scales.reshape(-1, *[1] * (weights.dim() - 1))
    return round_ste((weights / scales).clamp(-largest(bits), largest(bits)))
