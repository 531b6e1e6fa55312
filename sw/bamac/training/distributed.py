"""Training on several processes, hosts or GPUs under ``torchrun``: gradients are averaged.

``torchrun --nproc-per-node 2 -m bamac train ...`` starts one process per device; each takes its
share of every batch, and gradients are averaged after each step, so that the recipe, its batch
size included, stays the same. Without ``torchrun`` every function here does nothing.

Batch norm's statistics come from each process's share; the running averages are averaged over
the processes at the end of an epoch (:meth:`Workers.average_buffers`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import torch
from torch import distributed, nn

__all__ = ["Workers"]


class Workers:
    """This process among all that train together.

    Parameters
    ----------
    device : ``"cpu"`` or ``"cuda"``, which gradients are exchanged between

    Attributes
    ----------
    rank, world : this process's number, and how many there are
    """

    def __init__(self, device: str = "cpu") -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.world > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of a batch: every ``world``-th row."""
        return rows[self.rank::self.world]

    def wait(self) -> None:
        """Return when every process has called it."""
        if self.world > 1:
            distributed.barrier()

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter], share: int,
                          batch: int) -> None:
        """Replace gradients by their mean over the whole batch.

        ``share`` and ``batch`` are the numbers of clips that this process and all of them saw:
        the last batch of an epoch may not divide evenly.
        """
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.mul_(share / batch)
            distributed.all_reduce(parameter.grad)

    @torch.no_grad()
    def average_buffers(self, module: nn.Module) -> None:
        """Replace floating-point buffers (batch norm's running statistics) by their mean."""
        if self.world == 1:
            return
        for buffer in module.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer.div_(self.world)

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.world == 1:
            return value
        tensor = torch.tensor(float(value), dtype=torch.float64)
        distributed.all_reduce(tensor)
        return float(tensor)
