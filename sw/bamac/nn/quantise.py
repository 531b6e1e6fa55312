"""Quantisers of training. Rounding is to nearest, ties to even; gradients pass straight through."""

from __future__ import annotations

import torch

__all__ = ["channel_scales", "floor_ste", "largest", "quantise_weights", "round_ste"]


def round_ste(x):
    """Round; the gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def floor_ste(x):
    """Floor; the gradient is that of the identity."""
    return x + (torch.floor(x) - x).detach()


def largest(bits):
    """The largest magnitude of a symmetric signed weight of that many bits: 127 for 8."""
    return (1 << (bits - 1)) - 1


def channel_scales(weights, bits=8):
    """One positive scale per output channel: its largest magnitude becomes ``largest(bits)``."""
    peak = weights.detach().abs().flatten(1).amax(1)
    return (peak / largest(bits)).clamp_min(1e-12)


def quantise_weights(weights, scales, bits=8):
    """Integer-valued floats, ``clamp(round(weights / scale))``, within ``largest(bits)``.

    ``scales`` has one value per output channel (the first axis), or one for all. The range is
    symmetric: the most negative value is left out so that a weight can change its sign.
    """
    scales = scales.reshape(-1, *[1] * (weights.dim() - 1))
    return round_ste((weights / scales).clamp(-largest(bits), largest(bits)))
