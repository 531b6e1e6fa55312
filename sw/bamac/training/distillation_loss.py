"""What a student and its teacher, the released DNSMOS P.808 network, differ in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bamac.nn.network import Network

from .config import DistilConfig

__all__ = ["DistillationLoss", "popcounts", "student_layers", "student_map", "teacher_layers",
           "teacher_map"]

SEGMENT_WEIGHT = 0.5
"""Weight of the segments' error in the loss."""


def _autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)


@torch.no_grad()
def teacher_map(teacher: Network, x: Tensor, bf16: bool = True) -> Tensor:
    """The teacher's last map (n, channels, rows, cols), by default computed in bfloat16."""
    with _autocast(bf16):
        return teacher.maps(x)[-1]


def student_map(network: Network, x: Tensor, bf16: bool = True) -> Tensor:
    """The student's last map (n, channels, rows, cols), by default computed in bfloat16."""
    with _autocast(bf16):
        return network.maps(x)[-1]


@torch.no_grad()
def teacher_layers(teacher: Network, last: Tensor) -> list[Tensor]:
    """The teacher's hidden dense layers and its score, of its last map: three (n, features)."""
    layers = [last.amax((2, 3)).float()]
    for stage in teacher.head:
        layers.append(stage(layers[-1]))
    return layers[1:]


def student_layers(network: Network, head: nn.ModuleList, last: Tensor) -> list[Tensor]:
    """The same of the student's last map as ``head`` reads it, in the same real units.

    Popcounts are taken, and the head computed, in float32. Count units are no layer here: the
    teacher has none.
    """
    vector = popcounts(network, last)
    layers = []
    if head[0].int8:
        for stage in head:
            vector = stage(vector)
            layers.append(vector * float(stage.out_scale if not stage.last
                                         else network.score_scale))
    else:
        vector = vector * network.pool_scale
        for stage in head:
            vector = stage(vector)
            layers.append(vector)
    layers[-1] = layers[-1] + float(network.score_offset)
    return layers[1:] if network.config.count_units else layers


def popcounts(network: Network, last: Tensor) -> Tensor:
    """Popcounts (n, channels) of whole clips' last maps; those of crops are scaled up to them."""
    rows, cols = network.config.map_shape()
    return last.float().mean((2, 3)) * (rows * cols)


def _parts(maps: Tensor, count: int) -> Tensor:
    """Maps (n, channels, rows, cols) cut along time into ``count`` parts: (count * n, ...)."""
    rows = maps.shape[2] // count
    return torch.cat([maps[:, :, i * rows:(i + 1) * rows] for i in range(count)])


class DistillationLoss:
    """Squared error of the score, of the hidden layers, and of the scores of segments.

    Parameters
    ----------
    teacher : in evaluation mode
    config : :class:`bamac.training.config.DistilConfig`
    sample : batches of features (n, 1, rows, cols) from which the variance of the teacher's layers
        is taken; a hidden layer's error counts relative to it
    """

    def __init__(self, teacher: Network, config: DistilConfig, sample: Sequence[Tensor]) -> None:
        self.teacher = teacher
        self.config = config
        layers = [teacher_layers(teacher, teacher_map(teacher, x, config.bf16)) for x in sample]
        self._spread = [float(torch.cat(parts).var(0).mean())
                        for parts in zip(*layers, strict=True)]

    def error(self, given: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Loss of the dense layers ``given``, the last of which is the score."""
        loss = F.mse_loss(given[-1], wanted[-1])
        for mine, its, spread in zip(given[:-1], wanted[:-1], self._spread[:-1], strict=True):
            loss = loss + self.config.hint * F.mse_loss(mine, its) / spread * self._spread[-1]
        return loss

    def __call__(self, network: Network, segment_head: nn.ModuleList | None, x: Tensor) -> Tensor:
        """Loss of a batch of features ``x`` (n, 1, rows, cols), a scalar."""
        wanted = teacher_map(self.teacher, x, self.config.bf16)
        given = student_map(network, x, self.config.bf16)
        loss = self._of_maps(network, network.head, given, wanted)
        if segment_head:
            parts = self.config.segments
            loss = loss + SEGMENT_WEIGHT * self._of_maps(
                network, segment_head, _parts(given, parts), _parts(wanted, parts))
        return loss

    def _of_maps(self, network: Network, head: nn.ModuleList, given: Tensor,
                 wanted: Tensor) -> Tensor:
        return self.error(student_layers(network, head, given),
                          teacher_layers(self.teacher, wanted))
