"""Binary maps from a ReLU network without any gradient: the start of training.

:func:`warm_start` turns a trained ReLU network, the *twin*, into a network of the same shape with
binary maps, layer by layer: the first convolution keeps the twin's kernels; every later one is the
linear regression of the twin's sums on the bits that the layers before it give; and each channel's
threshold is the quantile that gives the wanted activation density.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bamac.nn.layers import ConvStage
from bamac.nn.network import Network
from bamac.nn.surrogate import binary_step

__all__ = ["fit_kernels", "limits", "per_kernel", "set_thresholds", "warm_start"]

FIT_CLIPS = 96
"""Clips that the convolutions of a warm start are fitted on."""
POSITIONS = 200
"""Positions of each clip's maps that a regression looks at."""
FURTHER = 0.4
"""Share of a threshold's ones that the next threshold of its kernel keeps at the start."""
LAST_DENSITY = 0.16
"""Density of the last map at the start."""


def _patches(x, rows, cols):
    """Inputs (positions, channels * 9) of a 3x3 convolution at some positions of one map."""
    windows = F.pad(x, (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    return windows[:, rows, cols].permute(1, 0, 2, 3).flatten(1)


def _regress(inputs, targets, ridge):
    """Weights (targets, inputs) of the ridge regression, both sides centred; float64."""
    inputs, targets = inputs - inputs.mean(0), targets - targets.mean(0)
    gram = inputs.T @ inputs
    gram += ridge * len(inputs) * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, inputs.T @ targets).T


def fit_kernels(twin: ConvStage, maps: Sequence[Tensor], twin_maps: Sequence[Tensor],
                rng: np.random.Generator) -> Tensor:
    """Kernels (out, in, 3, 3) that give the sums of stage ``twin`` from the bits of ``maps``."""
    inputs, targets = [], []
    for x, z in zip(maps, twin_maps, strict=True):
        sums = F.conv2d(z, twin.weight, padding=1)
        for i in range(len(x)):
            rows = torch.from_numpy(rng.integers(x.shape[2], size=POSITIONS))
            cols = torch.from_numpy(rng.integers(x.shape[3], size=POSITIONS))
            inputs.append(_patches(x[i], rows, cols))
            targets.append(sums[i][:, rows, cols].T)
    weight = _regress(torch.cat(inputs).double(), torch.cat(targets).double(), 1e-3)
    return weight.reshape(len(weight), -1, 3, 3)


def per_kernel(sums: Sequence[Tensor]) -> Tensor:
    """Values (kernels, positions) of batches of sums (n, kernels, rows, cols), thinned out."""
    flat = torch.cat([s.permute(1, 0, 2, 3).flatten(1) for s in sums], 1)
    return flat[:, ::max(1, flat.shape[1] // 100_000)]


def limits(flat: Tensor, shares: Tensor) -> Tensor:
    """What a share of each kernel's values exceeds: (kernels,) of ``flat`` (kernels, positions)."""
    return torch.stack([torch.quantile(values, 1 - share)
                        for values, share in zip(flat, shares.tolist(), strict=True)])


def set_thresholds(stage: ConvStage, sums: Sequence[Tensor], density: Tensor) -> None:
    """Set batch norm of ``stage`` so that each kernel's first threshold has its ``density``.

    Each further threshold has :data:`FURTHER` of the ones of the one before.
    """
    flat = per_kernel(sums)
    mean, var = flat.mean(1), flat.var(1)
    stage.norm.running_mean.copy_(mean)
    stage.norm.running_var.copy_(var)
    for i, bias in enumerate([stage.norm.bias, *stage.further]):
        limit = limits(flat, density.double() * FURTHER**i)
        bias.copy_((mean - limit) / (var + stage.norm.eps).sqrt())


def _fit_first_dense(network, twin, batches, twin_batches):
    """Regress the twin's first dense sums on the network's popcounts."""
    ones = torch.cat([network.pooled(x) for x in batches]).double() * network.pool_scale
    first = twin.head[0]
    sums = torch.cat([F.linear(twin.pooled(x), first.weight, first.bias)
                      for x in twin_batches]).double()
    spread = ones.std(0).clamp_min(1e-3)
    weight = _regress(ones / spread, sums, 0.05) / spread
    network.head[0].weight.copy_(weight)
    network.head[0].bias.copy_(sums.mean(0) - weight @ ones.mean(0))


@torch.no_grad()
def warm_start(network: Network, twin: Network, batches: Sequence[Tensor],
               density: float | None = None, seed: int = 0,
               twin_batches: Sequence[Tensor] | None = None) -> None:
    """Give a fresh ``network`` with binary maps what its ReLU ``twin`` has learnt.

    Parameters
    ----------
    network : :class:`bamac.nn.network.Network` with binary maps, float weights, 3x3 convolutions
        that keep the size, and one global sum; changed
    twin : a ReLU network of the same convolutions and dense layers, in evaluation mode
    batches : list of feature tensors (n, 1, rows, cols) as the network reads them; the first
        :data:`FIT_CLIPS` clips fit the convolutions, all of them the first dense layer. The other
        dense layers are copied.
    density : share of ones in every map; None for each of the twin's channels' own share of
        non-zero outputs within 5..40 %, and :data:`LAST_DENSITY` in the last map
    seed : of the positions that the regressions look at
    twin_batches : the same clips as the twin reads them; None if it reads the same values
    """
    twin_batches = twin_batches or batches
    network.eval()
    rng = np.random.default_rng(seed)
    count = max(1, FIT_CLIPS // len(batches[0]))
    maps, twin_maps = batches[:count], twin_batches[:count]
    for stage, its in zip(network.convs, twin.convs, strict=True):
        first, last = stage is network.convs[0], stage is network.convs[-1]
        if first:
            stage.weight.copy_(its.weight)
        else:
            stage.weight.copy_(fit_kernels(its, maps, twin_maps, rng))
        twin_maps = [its(x) for x in twin_maps]
        if density is not None or last:
            shares = torch.full((len(stage.weight),), density or LAST_DENSITY)
        else:
            active = [(x > 0).float().mean((0, 2, 3)) for x in twin_maps]
            shares = torch.stack(active).mean(0).clamp(0.05, 0.4)
        sums = [stage.convolve(x, stage.weight * stage.in_scale) for x in maps]
        set_thresholds(stage, sums, shares)
        biases = stage.biases() - stage.norm.bias
        maps = [binary_step(stage.norm(s), bias=biases) for s in sums]
    _fit_first_dense(network, twin, batches, twin_batches)
    for mine, its in zip(network.head[1:], twin.head[1:], strict=True):
        mine.weight.copy_(its.weight)
        mine.bias.copy_(its.bias)
    network.head[-1].bias += float(twin.score_offset) - float(network.score_offset)
    network.train()
