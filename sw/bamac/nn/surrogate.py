"""The step function of binary activation maps, and the gradient that stands in for its own."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["binary_step", "threshold_bits"]


class _BinaryStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, beta):
        ctx.save_for_backward(z)
        ctx.beta = beta
        # (z > 0).to(z.dtype) gives the same and is much slower on a CPU
        return torch.gt(z, 0, out=torch.empty_like(z))

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad / (ctx.beta * z.abs() + 1).square(), None


class _ThresholdStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, bias, beta):
        ctx.save_for_backward(z, bias)
        ctx.beta = beta
        return threshold_bits(z, bias)

    @staticmethod
    def backward(ctx, grad):
        z, bias = ctx.saved_tensors
        grad_z, grad_bias = None, []
        for level, part in zip(_per_channel(bias, z), grad.split(bias.shape[1], 1), strict=True):
            width = (z + level).abs_().mul_(ctx.beta).add_(1).square_()
            share = torch.div(part, width, out=width)
            grad_bias.append(share.sum((0, 2, 3), dtype=bias.dtype))
            grad_z = share if grad_z is None else grad_z.add_(share)
        return grad_z, torch.stack(grad_bias), None


def threshold_bits(z: Tensor, bias: Tensor) -> Tensor:
    """1 where ``z + bias > 0``, as :func:`binary_step` with a bias, without a gradient."""
    count, channels = bias.shape
    bits = torch.empty((z.shape[0], count * channels, *z.shape[2:]), dtype=z.dtype,
                       memory_format=_layout(z))
    for level, part in zip(_per_channel(-bias, z), bits.split(channels, 1), strict=True):
        torch.gt(z, level, out=part)
    return bits


def _per_channel(values, z):
    """``values`` (levels, channels) as they are added to maps ``z``."""
    return values.to(z.dtype)[:, :, None, None]


def _layout(z):
    last = z.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def binary_step(z: Tensor, beta: float = 2.0, bias: Tensor | None = None) -> Tensor:
    """1 where ``z > 0``, else 0; backwards the SuperSpike surrogate ``grad / (beta |z| + 1)^2``.

    With ``bias`` (levels, channels), 1 where ``z + bias > 0``: maps ``z`` (n, channels, rows, cols)
    give bits (n, levels * channels, rows, cols), all channels of the first level first.

    SuperSpike: F. Zenke and S. Ganguli, Neural Computation 30(6), 2018. ``z`` is expected to have
    about unit variance, as batch norm gives it; a small ``beta`` is a wide surrogate.
    """
    return _BinaryStep.apply(z, beta) if bias is None else _ThresholdStep.apply(z, bias, beta)
