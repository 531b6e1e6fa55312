"""Quantisers of training. Rounding is to nearest, ties to even; gradients pass straight through."""

from __future__ import annotations

import torch

__all__ = ["WEIGHT_MAX", "channel_scales", "floor_ste", "quantise_weights", "round_ste"]

WEIGHT_MAX = 127  # symmetric: -128 is left out so that a weight can change its sign


def round_ste(x):
    """Round; the gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def floor_ste(x):
    """Floor; the gradient is that of the identity."""
    return x + (torch.floor(x) - x).detach()


def channel_scales(weights):
    """One positive scale per output channel: its largest magnitude becomes 127."""
    largest = weights.detach().abs().flatten(1).amax(1)
    return (largest / WEIGHT_MAX).clamp_min(1e-12)


def quantise_weights(weights, scales):
    """Integer-valued floats in -127..127: ``clamp(round(weights / scale))``.

    ``scales`` has one value per output channel (the first axis), or one for all.
    """
    scales = scales.reshape(-1, *[1] * (weights.dim() - 1))
    return round_ste((weights / scales).clamp(-WEIGHT_MAX, WEIGHT_MAX))
