"""More than one threshold per kernel, so that binary maps say how large a value is.

*The last map.* The released DNSMOS P.808 keeps the largest value of each of its 64 last channels.
A popcount of one threshold says little about a maximum: from the released network's own last maps,
cut into bits, its score can be regressed to PCC 0.93 with one threshold per channel and to 0.96
with three (reports/popcounts.md). To the hardware a threshold more is a channel more, of the same
kernel at the start: three levels make a last convolution of 192 channels.

*Earlier maps.* Further thresholds share the kernel's weights (:class:`bamac.nn.network.ConvSpec`)
and tell the next convolution more of a value than whether it is large. Layer by layer fits of the
released network reproduce its last sums with a correlation of 0.69 with one threshold per kernel,
of 0.81 with 3, 2, 2, 2 and of 0.86 with three everywhere (reports/thresholds.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from bamac.training.warm_start import FURTHER, fit_kernels, limits, per_kernel, set_thresholds

from .network import Network

__all__ = ["add_levels", "add_thresholds", "level_shares", "with_thresholds"]

FIT_CLIPS = 256
"""Clips that the new channels are fitted on."""


LOOK_CLIPS = 32
"""Clips that further thresholds are set on."""


def with_thresholds(config, counts):
    """``config`` with so many thresholds per kernel of each map, one number per convolution."""
    return dataclasses.replace(config, convs=tuple(
        dataclasses.replace(conv, out_channels=conv.kernels * count, levels=count)
        for conv, count in zip(config.convs, counts, strict=True)))


def level_shares(levels):
    """Shares of ones of the levels after the first: 1 %, then a fifth of the one before."""
    return [0.01 / 5**i for i in range(levels - 1)]


@torch.no_grad()
def add_levels(config, network, twin, batches, seed=0):
    """A network that gives the scores of ``network``, with more channels in its last map.

    Every level after the first has the twin's last kernels, fitted to the bits that they read, and
    thresholds for its share of ones (:func:`level_shares`). The head does not listen to the new
    channels yet: their weights are 0.

    Parameters
    ----------
    config : :class:`bamac.nn.network.NetConfig` of the result: that of ``network``, but for a
        multiple of the channels in the last convolution
    network : with binary maps, float weights and one level; not changed
    twin : ReLU network of the same shape, in evaluation mode
    batches : feature tensors (n, 1, rows, cols); the first :data:`FIT_CLIPS` clips count
    seed : of the positions that the regression looks at
    """
    channels = network.config.convs[-1].out_channels
    levels = config.convs[-1].out_channels // channels
    batches = batches[:max(1, FIT_CLIPS // len(batches[0]))]
    network.eval()
    maps, twin_maps = [], []
    for x in batches:
        maps.append(network.maps(x)[-2])
        twin_maps.append(twin.maps(x)[-2])

    wide = Network(config).to(memory_format=torch.channels_last)
    last = wide.convs[-1]
    kernels = fit_kernels(twin.convs[-1], maps, twin_maps, np.random.default_rng(seed))
    last.weight.copy_(kernels.repeat(levels, 1, 1, 1))
    shares = torch.cat([torch.full((channels,), share) for share in [0.5, *level_shares(levels)]])
    set_thresholds(last, [last.convolve(x, last.weight) for x in maps], shares)
    wide.head[0].weight.zero_()
    # The first level and all that has no levels is what it was
    for name, value in wide.state_dict().items():
        old = network.state_dict()[name]
        value[tuple(slice(n) for n in old.shape)] = old
    return wide


@torch.no_grad()
def add_thresholds(config, network, batches):
    """A network that gives the scores of ``network``, with further thresholds in its maps.

    Each keeps :data:`bamac.training.warm_start.FURTHER` of the ones of the threshold before. The
    next convolution does not listen to them yet: those weights are 0.

    Parameters
    ----------
    config : :class:`bamac.nn.network.NetConfig` of the result: that of ``network``, but for more
        levels in its convolutions
    network : with binary maps and float weights; not changed
    batches : feature tensors (n, 1, rows, cols); the first :data:`LOOK_CLIPS` clips count
    """
    network.eval()
    maps = batches[:max(1, LOOK_CLIPS // len(batches[0]))]
    result = Network(config).to(memory_format=torch.channels_last)
    for name, value in result.state_dict().items():
        old = network.state_dict().get(name)
        if old is not None:
            value.zero_()[tuple(slice(n) for n in old.shape)] = old
    for stage, wider in zip(network.convs, result.convs, strict=True):
        if wider.spec.levels > stage.spec.levels:
            flat = per_kernel([stage.norm(stage.convolve(x, stage.weight * stage.in_scale))
                               for x in maps])
            shares = (flat > 0).float().mean(1).double()
            for i in range(stage.spec.levels, wider.spec.levels):
                above = limits(flat, shares * FURTHER**i)
                wider.further[i - 1].copy_(stage.norm.bias - above)
        maps = [stage(x) for x in maps]
    return result
