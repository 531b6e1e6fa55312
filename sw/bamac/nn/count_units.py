"""Count units: a layer of saturating units between the popcounts and the head.

A score depends less and less on a channel's popcount as it grows, about as its square root. A unit
rises in proportion to one channel's popcount and stops at :data:`bamac.nn.config.HEAD_MAX`:
``min(255, (w * count + 1) >> 1)``. Together they are a dense layer of fixed int8 weights w, of
which each unit has one that is not 0. Two per channel, with different ends, give a concave line of
three pieces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .config import HEAD_MAX, UNIT_SHIFT
from .network import Network

__all__ = ["add_count_units", "fit_head", "unit_weights"]

EPOCHS, BATCH, RATE, DECAY = 20, 64, 4e-3, 0.1
NOISE = 0.4
"""Standard deviation of the noise on each unit while the head is fitted, in the unit's own standard
deviations. It keeps a head that reads hundreds of units from over-fitting."""


def unit_weights(means: Tensor, caps: Sequence[float]) -> Tensor:
    """Int8 weights (len(caps) * channels, channels) of units that stop at counts of caps * mean.

    ``means`` (channels,): mean popcount of each channel. A unit can stop at counts of 4.02 to 510;
    the nearest weight is taken.
    """
    ends = torch.cat([means * cap for cap in caps]).clamp(min=1e-3)
    weights = torch.round(HEAD_MAX * 2**UNIT_SHIFT / ends).clamp(1, 127)
    channels = torch.arange(len(means)).repeat(len(caps))
    return weights[:, None] * torch.nn.functional.one_hot(channels, len(means))


@torch.no_grad()
def add_count_units(network: Network, means: Tensor, caps: Sequence[float]) -> Network:
    """The network with units before its head, which is not fitted to them yet.

    Parameters
    ----------
    network : float weights, no count units; not changed
    means : (channels,) mean popcount of each channel of the last map
    caps : ends of the units, in means
    """
    config = dataclasses.replace(network.config, count_units=len(caps))
    result = Network(config).to(memory_format=torch.channels_last)
    state = {}
    for name, value in network.state_dict().items():
        part, *rest = name.split(".")
        if part == "head":
            # The first layer keeps its bias; what it reads is new
            rest[0] = str(int(rest[0]) + 1)
        state[".".join([part, *rest])] = value
    kept = result.state_dict()
    kept.update({name: value for name, value in state.items() if name != "head.1.weight"})
    result.load_state_dict(kept)
    units = result.head[0]
    step = 1 / (HEAD_MAX * 2**UNIT_SHIFT * result.pool_scale)
    units.weight.copy_(unit_weights(means, caps) * step)
    units.bias.zero_()
    return result


def fit_head(network: Network, counts: Tensor,
             loss: Callable[[list[Tensor], Tensor], Tensor], seed: int = 0) -> None:
    """Train what follows the count units, on fixed popcounts.

    Parameters
    ----------
    network : with count units and a float head; changed in place
    counts : (n, channels) popcounts
    loss : function of the layers after the units, a list of (rows, features) in real units before
        the score's offset, and of the rows' numbers; gives a scalar
    seed : of the order and the noise
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        units = network.head[0](counts * network.pool_scale)
    noise = NOISE * units.std(0)
    parameters = [p for stage in network.head[1:] for p in stage.parameters()]
    steps = max(1, len(counts) // BATCH)
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(counts), generator=generator)
        for i in range(steps):
            rows = order[i * BATCH:(i + 1) * BATCH]
            x = units[rows]
            x = x + noise * torch.randn(x.shape, generator=generator)
            layers = []
            for stage in network.head[1:]:
                x = stage(x)
                layers.append(x)
            optimiser.zero_grad(set_to_none=True)
            loss(layers, rows).backward()
            optimiser.step()
            schedule.step()
