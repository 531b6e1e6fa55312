"""The network that a distillation begins with.

It is a layer-wise fit of the teacher (:mod:`bamac.training.warm_start`) or the network of another
run, widened where the configuration asks for more thresholds (:mod:`bamac.training.thermometer`) or
for count units (:mod:`bamac.nn.count_units`).
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bamac.nn.checkpoint import load_network
from bamac.nn.config import NetConfig
from bamac.nn.count_units import add_count_units, fit_head
from bamac.nn.network import Network
from bamac.nn.predict import tensor_of

from .config import DistilConfig, numbers
from .distillation_loss import (
    DistillationLoss,
    popcounts,
    student_map,
    teacher_layers,
    teacher_map,
)
from .recipe import Progress, TrainError
from .thermometer import add_levels, add_thresholds
from .warm_start import warm_start

__all__ = ["start_student", "whole_clips"]

START_CLIPS = 512
"""Training clips that the fits of the start look at."""
HEAD_CLIPS = 8000
"""Training clips, changed as in training, that a head with new count units is fitted on."""


def whole_clips(features: np.ndarray, count: int, seed: int) -> list[Tensor]:
    """Batches of ``count`` whole training clips, for a seed always the same ones."""
    rng = np.random.default_rng([seed, 77])
    chosen = np.sort(rng.permutation(len(features))[:count])
    return [tensor_of(features[chosen[i:i + 32]]) for i in range(0, len(chosen), 32)]


def start_student(config: DistilConfig, features: np.ndarray, mean_label: float,
                  loss: DistillationLoss,
                  change: Callable[[np.ndarray, np.random.Generator], np.ndarray],
                  progress: Progress | None = None) -> Network:
    """The student before its first step, with float weights.

    Parameters
    ----------
    config : names the start and the shape
    features : int8 (n, frames, mels) of the training clips
    mean_label : of the training clips, the offset of a fresh network's score
    loss : holds the teacher
    change : changes int8 clips at random as training does
    progress : shows the popcounts that new count units need

    Raises
    ------
    TrainError
        If the network of ``config.start`` cannot become one of the configured shape.
    """
    wanted = config.network()
    start, about = load_network(config.start) if config.start else (None, {})
    network = Network(_shape_of_start(config, start)).to(memory_format=torch.channels_last)
    network.score_offset.fill_(mean_label)
    sample = whole_clips(features, START_CLIPS, config.seed)
    if start:
        _check_start(config, start, about, network.config)
        network.load_state_dict(start.state_dict())
    else:
        warm_start(network, loss.teacher, sample, seed=config.seed)
    convs = (*network.config.convs[:-1], wanted.convs[-1])
    if network.config.convs != convs:
        network = add_levels(dataclasses.replace(network.config, convs=convs), network,
                             loss.teacher, sample, config.seed)
    if network.config.convs != wanted.convs:
        network = add_thresholds(dataclasses.replace(network.config, convs=wanted.convs), network,
                                 sample)
    if network.config.count_units != wanted.count_units:
        network = _with_count_units(config, network, features, loss, change, progress)
    return network


def _shape_of_start(config: DistilConfig, start: Network | None) -> NetConfig:
    """The known shape that ``start`` has; of a fit, or where none fits, the default one."""
    counts = [config.thresholds]
    if start and _all_at_most(_thresholds(start), config.thresholds):
        counts.insert(0, _thresholds(start))
    known = [dataclasses.replace(config, levels=levels, thresholds=thresholds,
                                 count_caps=()).network()
             for thresholds in counts for levels in (config.levels, 1)]
    if start and start.config.count_units:
        known.insert(0, config.network())
    alike = [net for net in known if start and not _differences(start.config, net)]
    # A fit has all thresholds but those of the last map
    return (alike or known)[-1]


def _check_start(config: DistilConfig, start: Network, about: Mapping[str, Any],
                 shape: NetConfig) -> None:
    other = _differences(start.config, shape)
    if other:
        raise TrainError(
            f"{config.start} must hold a network of the P.808 shape with binary maps and "
            f"int8 weights, as `bamac distil` makes it, with {config.levels} "
            f"{'levels or one' if config.levels > 1 else 'level'} in its last map and "
            f"{numbers(config.thresholds)} thresholds per kernel, or fewer, in the "
            f"maps before it, and with {len(config.count_caps)} count units per channel "
            f"or none, not one of another {', '.join(other)}")
    caps = about.get("training", {}).get("count_caps", [])
    if start.config.count_units and caps and tuple(caps) != config.count_caps:
        raise TrainError(f"{config.start} has units that stop at {numbers(caps)} means; "
                         f"give --count-caps {numbers(caps)} to keep them, not "
                         f"{numbers(config.count_caps)}")


@torch.no_grad()
def _with_count_units(config: DistilConfig, network: Network, features: np.ndarray,
                      loss: DistillationLoss,
                      change: Callable[[np.ndarray, np.random.Generator], np.ndarray],
                      progress: Progress | None) -> Network:
    """The network with count units, its head fitted to them on clips as training has them."""
    network.eval()
    rng = np.random.default_rng([config.seed, 78])
    chosen = rng.permutation(len(features))[:HEAD_CLIPS]
    counts: list[Tensor] = []
    targets: list[Sequence[Tensor]] = []
    for i in range(0, len(chosen), 16):
        x = tensor_of(change(features[np.sort(chosen[i:i + 16])], rng))
        counts.append(popcounts(network, student_map(network, x, config.bf16)))
        targets.append(teacher_layers(loss.teacher, teacher_map(loss.teacher, x, config.bf16)))
        if progress:
            progress.data(min(i + 16, len(chosen)), len(chosen), "count ones for the head")
    ones = torch.cat(counts)
    wanted = [torch.cat(parts) for parts in zip(*targets, strict=True)]
    network = add_count_units(network, ones.mean(0), config.count_caps)

    def head_loss(given: list[Tensor], rows: Tensor) -> Tensor:
        given[-1] = given[-1] + float(network.score_offset)
        return loss.error(given, [layer[rows] for layer in wanted])

    with torch.enable_grad():
        fit_head(network, ones, head_loss, config.seed)
    return network


def _thresholds(network: Network) -> tuple[int, ...]:
    """Thresholds per kernel of each map before the last."""
    return tuple(conv.levels for conv in network.config.convs[:-1])


def _all_at_most(values: Sequence[int], limits: Sequence[int]) -> bool:
    return len(values) == len(limits) and all(map(operator.le, values, limits))


def _differences(config: NetConfig, other: NetConfig) -> list[str]:
    """Names of what the shapes of two networks differ in; how they are trained does not count."""
    mine, its = config.as_dict(), other.as_dict()
    return [name for name in mine if name not in ("beta", "start_bias", "dropout")
            and mine[name] != its.get(name)]
