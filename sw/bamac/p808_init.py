"""Networks that start from the released DNSMOS P.808 weights.

The released network is a chain of 3x3 convolutions with bias, ReLU and max pools, a global
maximum and three dense layers; its input is the float feature ``v = int8 / 127``
(:mod:`bamac.features_p808`). :func:`released_network` is that network, exactly, as a
:class:`bamac.networks.Network` on integer-valued features: it labels augmented features during
training.

:func:`warm_start` turns it into a network with binary maps without any gradient, layer by layer:
the first convolution keeps the released kernels; every later one is the linear regression of the
released layer's sums on the bits that the layers before it give; and each channel's threshold is
the quantile that gives the wanted density of ones. With 96 clips a linear read-out of that network
agrees with DNSMOS at PCC 0.73 on unseen voices; the released kernels under fresh batch norm give
0.38 to 0.60, random kernels 0.5.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from bamac.dnsmos import released_weights
from bamac.features_p808 import STEPS
from bamac.networks import Network, make_config

__all__ = ["measure_norm", "released_network", "warm_start"]

FIT_CLIPS = 96
"""Clips that the convolutions of a warm start are fitted on."""
POSITIONS = 200
"""Positions of each clip's maps that a regression looks at."""
LAST_DENSITY = 0.16
"""Ones in the last map at the start: denser than the released maxima, and better (0.73 / 0.71)."""


@torch.no_grad()
def released_network():
    """The released network in evaluation mode, as the fp32 variant of the ``p808`` shape.

    It maps ``(n, 1, rows, 120)`` features in int8 steps (integers, or floats before rounding) to
    scores ``(n, 1)`` equal to the ONNX file's to 1e-4. Any number of rows from 8 on will do.
    """
    network = Network(make_config("p808", "fp32", global_pool="max", dropout=0.0))
    weights = released_weights()
    for stage, (weight, bias) in zip(network.convs, weights["convs"], strict=True):
        # The first reads int8 steps, times its in_scale, where the file reads v
        step = STEPS * stage.in_scale if stage is network.convs[0] else 1.0
        stage.weight.copy_(torch.from_numpy(weight / np.float32(step)))
        # Batch norm becomes the bias alone: (z - 0) / sqrt(1 - eps + eps) + bias
        stage.norm.running_mean.zero_()
        stage.norm.running_var.fill_(1 - stage.norm.eps)
        stage.norm.weight.fill_(1)
        stage.norm.bias.copy_(torch.from_numpy(bias.copy()))
    for stage, (weight, bias) in zip(network.head, weights["dense"], strict=True):
        stage.weight.copy_(torch.from_numpy(weight.copy()))
        stage.bias.copy_(torch.from_numpy(bias.copy()))
    network.score_offset.zero_()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)


@torch.no_grad()
def measure_norm(network, batches):
    """Batch norm statistics over ``batches`` of features, as a plain mean over the batches."""
    network.train()
    momenta = [stage.norm.momentum for stage in network.convs]
    for stage in network.convs:
        stage.norm.train()
        stage.norm.reset_running_stats()
        stage.norm.momentum = None  # cumulative average
        stage.drop.eval()
    for batch in batches:
        network.maps(batch)
    for stage, momentum in zip(network.convs, momenta, strict=True):
        stage.norm.momentum = momentum
    network.train()


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


def _fit_kernels(stage, released, maps, released_maps, rng):
    """Kernels that give the released layer's sums from the bits of ``maps``."""
    inputs, targets = [], []
    for x, z in zip(maps, released_maps, strict=True):
        sums = F.conv2d(z, released.weight, padding=1)
        for i in range(len(x)):
            rows = torch.from_numpy(rng.integers(x.shape[2], size=POSITIONS))
            cols = torch.from_numpy(rng.integers(x.shape[3], size=POSITIONS))
            inputs.append(_patches(x[i], rows, cols))
            targets.append(sums[i][:, rows, cols].T)
    weight = _regress(torch.cat(inputs).double(), torch.cat(targets).double(), 1e-3)
    stage.weight.copy_(weight.reshape(stage.weight.shape))


def _set_thresholds(stage, sums, density):
    """Batch norm of ``stage`` so that each channel has its share of ``density`` ones."""
    flat = torch.cat([s.permute(1, 0, 2, 3).flatten(1) for s in sums], 1)
    flat = flat[:, ::max(1, flat.shape[1] // 100_000)]
    mean, var = flat.mean(1), flat.var(1)
    limit = torch.stack([torch.quantile(values, 1 - share)
                         for values, share in zip(flat, density.tolist(), strict=True)])
    stage.norm.running_mean.copy_(mean)
    stage.norm.running_var.copy_(var)
    stage.norm.bias.copy_((mean - limit) / (var + stage.norm.eps).sqrt())


def _fit_first_dense(network, released, batches):
    """Regress the released first dense sums on the network's numbers of ones."""
    ones = torch.cat([network.pooled(x) for x in batches]).double() * network.pool_scale
    first = released.head[0]
    sums = torch.cat([F.linear(released.pooled(x), first.weight, first.bias)
                      for x in batches]).double()
    spread = ones.std(0).clamp_min(1e-3)
    weight = _regress(ones / spread, sums, 0.05) / spread
    network.head[0].weight.copy_(weight)
    network.head[0].bias.copy_(sums.mean(0) - weight @ ones.mean(0))


@torch.no_grad()
def warm_start(network, batches, density=None, seed=0):
    """Turn the released network into a fresh ``p808``-shaped ``network`` with binary maps.

    Parameters
    ----------
    network : :class:`bamac.networks.Network` with float weights and one global sum; changed
    batches : list of feature tensors (n, 1, 900, 120); the first :data:`FIT_CLIPS` clips fit the
        convolutions, all of them the first dense layer. The other dense layers are copied.
    density : share of ones in every map; None for each released channel's own share of non-zero
        outputs within 5..40 %, and :data:`LAST_DENSITY` in the last map
    seed : of the positions that the regressions look at
    """
    released = released_network()
    network.eval()
    rng = np.random.default_rng(seed)
    count = max(1, FIT_CLIPS // len(batches[0]))
    maps = released_maps = batches[:count]
    for stage, its in zip(network.convs, released.convs, strict=True):
        first, last = stage is network.convs[0], stage is network.convs[-1]
        if first:
            stage.weight.copy_(its.weight)
        else:
            _fit_kernels(stage, its, maps, released_maps, rng)
        released_maps = [its(x) for x in released_maps]
        if density is not None or last:
            shares = torch.full((len(stage.weight),), density or LAST_DENSITY)
        else:
            active = [(x > 0).float().mean((0, 2, 3)) for x in released_maps]
            shares = torch.stack(active).mean(0).clamp(0.05, 0.4)
        sums = [stage.convolve(x, stage.weight * stage.in_scale) for x in maps]
        _set_thresholds(stage, sums, shares)
        maps = [(stage.norm(s) > 0).float() for s in sums]
    _fit_first_dense(network, released, batches)
    for mine, its in zip(network.head[1:], released.head[1:], strict=True):
        mine.weight.copy_(its.weight)
        mine.bias.copy_(its.bias)
    network.head[-1].bias -= float(network.score_offset)
    network.train()
