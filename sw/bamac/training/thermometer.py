"""Networks with more thresholds: new channels for a network that has been trained or fitted.

With one threshold per kernel, a bit says whether a value is large; with several (a thermometer
code) the bits say how large. To the hardware a further threshold is a further channel.

:func:`add_levels` widens the last map, so that its popcounts say more of a maximum; new channels
have kernels of their own. :func:`add_thresholds` widens any map; the new channels share their
kernel's weights (:class:`bamac.nn.config.ConvSpec`). Either way they have no effect on the score
until they are trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bamac.nn.config import NetConfig
from bamac.nn.network import Network

from .warm_start import FURTHER, fit_kernels, limits, per_kernel, set_thresholds

__all__ = ["add_levels", "add_thresholds", "level_shares"]

FIT_CLIPS = 256
"""Clips that the new channels are fitted on."""
LOOK_CLIPS = 32
"""Clips that further thresholds are set on."""


def level_shares(levels: int) -> list[float]:
    """Densities of the levels after the first: 1 %, then a fifth of the one before."""
    return [0.01 / 5**i for i in range(levels - 1)]


@torch.no_grad()
def add_levels(config: NetConfig, network: Network, twin: Network, batches: Sequence[Tensor],
               seed: int = 0) -> Network:
    """A network that gives the scores of ``network``, with more channels in its last map.

    Every level after the first has the twin's last kernels, fitted to the bits that they read, and
    thresholds for its density (:func:`level_shares`). The head's weights of the new channels are 0.

    Parameters
    ----------
    config : :class:`bamac.nn.config.NetConfig` of the result: that of ``network``, but for a
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
def add_thresholds(config: NetConfig, network: Network, batches: Sequence[Tensor]) -> Network:
    """A network that gives the scores of ``network``, with further thresholds in its maps.

    Each keeps :data:`bamac.training.warm_start.FURTHER` of the ones of the threshold before. The
    weights that the next convolution has for the new channels are 0.

    Parameters
    ----------
    config : :class:`bamac.nn.config.NetConfig` of the result: that of ``network``, but for more
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
