"""Max pool and step of binary maps in one operation, whose gradient passes over the maps once.

Values and gradients are those of :func:`bamac.nn.surrogate.binary_step` behind
:func:`bamac.nn.pooling.max_pool`. There the gradient takes a dozen operations, each over whole maps
and bound by memory; here they are one loop, which torch.compile generates. That needs a C++
compiler and some seconds per shape of a map, once (PyTorch keeps what it compiled). In bfloat16 it
rounds once, where the separate operations round after each.
``python -m benchmarks.training_step`` measures both.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from .pooling import max_pool
from .surrogate import threshold_bits

__all__ = ["FusedError", "pool_and_step", "require_compiler"]

SHAPES = 64
"""Shapes of maps that a process may compile for: stages x phases x the last batch of an epoch."""


class FusedError(RuntimeError):
    """Nothing can be compiled here."""


def _gradient(y, grad, bias, pool, beta):
    """Gradients of :func:`pool_and_step`; all maps are (n, rows, cols, channels).

    ``y`` (n, rows, cols, channels) before the pool, ``grad`` (n, rows', cols', levels * channels)
    of the bits, ``bias`` (levels, channels). Returns the gradients of ``y`` and ``bias``.
    """
    if pool == (1, 1):
        z = y
    else:
        rows, cols = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
        first, second, third, fourth = (y[:, i:rows:2, j:cols:2] for i in (0, 1) for j in (0, 1))
        upper, lower = torch.maximum(first, second), torch.maximum(third, fourth)
        z = torch.maximum(upper, lower)
    channels = z.shape[3]
    grad_z, grad_bias = 0, []
    for i in range(bias.shape[0]):
        width = (beta * (z + bias[i].to(z.dtype)).abs() + 1).square()
        share = grad[..., i * channels:(i + 1) * channels] / width
        grad_bias.append(share.to(bias.dtype).sum((0, 1, 2)))
        grad_z = grad_z + share
    if pool == (1, 1):
        return grad_z, torch.stack(grad_bias)

    # Of equal values the first in reading order gets the gradient
    zero = torch.zeros_like(grad_z)
    above, left, below_left = upper >= lower, first >= second, third >= fourth
    top, bottom = torch.where(above, grad_z, zero), torch.where(above, zero, grad_z)
    grad_rows = [torch.stack([torch.where(first_is, part, zero), torch.where(first_is, zero, part)],
                             3) for first_is, part in ((left, top), (below_left, bottom))]
    grad_y = torch.stack(grad_rows, 2).reshape(z.shape[0], rows, cols, channels)
    missing = (y.shape[2] - cols, y.shape[1] - rows)
    if any(missing):
        grad_y = F.pad(grad_y, (0, 0, 0, missing[0], 0, missing[1]))
    return grad_y, torch.stack(grad_bias)


@functools.cache
def _compiled():
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    return torch.compile(_gradient, dynamic=False, fullgraph=True)


def require_compiler() -> None:
    """Raise :class:`FusedError`, with what to do, where torch.compile finds no C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        raise FusedError("A C++ compiler (g++) is needed to compile gradients; install one, or "
                         "train without --compile") from error


def _last(x):
    """Maps (n, channels, rows, cols) as contiguous (n, rows, cols, channels)."""
    return x.permute(0, 2, 3, 1).contiguous()


class _PoolAndStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, bias, pool, beta):
        ctx.save_for_backward(y, bias)
        ctx.pool, ctx.beta = pool, beta
        return threshold_bits(max_pool(y, pool), bias)

    @staticmethod
    def backward(ctx, grad):
        y, bias = ctx.saved_tensors
        grad_y, grad_bias = _compiled()(_last(y), _last(grad), bias, ctx.pool, ctx.beta)
        return grad_y.permute(0, 3, 1, 2), grad_bias, None, None


def pool_and_step(y: Tensor, bias: Tensor, pool: tuple[int, int], beta: float) -> Tensor:
    """``binary_step(max_pool(y, pool), beta, bias)``, with a compiled gradient.

    ``y`` (n, channels, rows, cols), ``bias`` (levels, channels), ``pool`` (1, 1) or (2, 2); bits
    (n, levels * channels, rows', cols').

    Raises
    ------
    ValueError
        If the pool has another size.
    """
    if tuple(pool) not in ((1, 1), (2, 2)):
        raise ValueError(f"Pool must be 1 x 1 or 2 x 2, not {tuple(pool)}")
    return _PoolAndStep.apply(y, bias, tuple(pool), beta)
