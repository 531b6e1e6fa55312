"""The training loop: epochs of every recipe, with checkpoints to continue from.

The folder of a run holds ``checkpoint.pt`` (all that is needed to continue, written after every
epoch) and ``log.jsonl`` (a line per epoch). A run that was killed and is started again with the
same configuration continues after the last finished epoch, with the same random numbers, and ends
with the same network as one that was never interrupted. Another configuration in the same folder
is refused.

Each phase has an AdamW of its own under the cosine schedule of :mod:`bamac.training.schedule`, and
gradients are clipped to norm :data:`CLIP`. Under ``torchrun`` every process takes its share of each
batch (:mod:`bamac.training.distributed`); the first one writes the files.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bamac.nn.checkpoint import (
    load_checkpoint,
    network_content,
    restore_network,
    save_checkpoint,
)
from bamac.nn.network import Network

from .distributed import Workers
from .recipe import Progress, Recipe, TrainError
from .schedule import Phase, phase_of, rate_at

__all__ = ["Trained", "Trainer", "checkpoint_path"]

CLIP = 5.0
"""Largest norm of the network's gradient."""


@dataclass(frozen=True)
class Trained:
    """The network that a run keeps, the epoch it is from, and the seconds the run has taken."""

    network: Network
    epoch: int
    seconds: float


def checkpoint_path(folder: str | Path) -> Path:
    """Where a run in ``folder`` keeps its checkpoint; it exists once an epoch has ended."""
    return Path(folder) / "checkpoint.pt"


class Trainer:
    """A run of one recipe in one folder, fresh or continued.

    Parameters
    ----------
    recipe : :class:`bamac.training.recipe.Recipe`
    folder : of the run; it must exist
    workers : :class:`bamac.training.distributed.Workers`; None for this process alone or, under
        ``torchrun``, all of them on the CPU
    progress : :class:`bamac.training.recipe.Progress`, or None for silence

    Attributes
    ----------
    epoch : epochs that have ended
    seconds : that they took

    Raises
    ------
    TrainError
        If the folder holds a run of another configuration.
    """

    def __init__(self, recipe: Recipe, folder: str | Path, workers: Workers | None = None,
                 progress: Progress | None = None) -> None:
        self.recipe = recipe
        self.folder = Path(folder)
        self.workers = workers or Workers()
        self.progress = progress
        self.epoch = 0
        self.seconds = 0.0
        self._best: tuple[float, int, dict[str, Any]] | None = None  # score, epoch, network
        torch.manual_seed(recipe.seed)
        if checkpoint_path(self.folder).exists():
            self._resume()
        else:
            recipe.start()
            self._optimiser = self._new_optimiser()

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.recipe.phases)

    def run(self) -> Trained:
        """Train to the last epoch.

        Raises
        ------
        TrainError
            If the best network is to be kept and every score was NaN.
        """
        log = self.folder / "log.jsonl"
        if self.epoch == 0 and self.workers.first:
            log.unlink(missing_ok=True)
        while self.epoch < self.epochs:
            line = self.one_epoch(self._show_step)
            if self.workers.first:
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(line) + "\n")
                self.save()
            self.workers.wait()
            if self.progress:
                self.progress.epoch(line, self._seconds_left())
        return self._kept()

    def one_epoch(self, tick: Callable[[int, int], None] = lambda done, total: None
                  ) -> dict[str, Any]:
        """Train one epoch; returns its line of the log.

        ``tick(done, total)`` is called after every step.
        """
        start = time.monotonic()
        recipe = self.recipe
        phase, within = phase_of(recipe.phases, self.epoch)
        if within == 0:
            recipe.begin(phase)
            self._optimiser = self._new_optimiser()
            self._best = None
        rng = np.random.default_rng([recipe.seed, phase.first_seed + within])
        error = self._steps(phase, within, rng, tick)
        trained = time.monotonic() - start
        self.epoch += 1
        self.workers.average_buffers(recipe.network)
        if within == phase.epochs - 1:
            recipe.end(phase, self.epoch)
        found, score = recipe.validate()
        line = {"epoch": self.epoch, "phase": phase.name, "loss": round(error, 5), **found,
                "ms_per_clip": round(1000 * trained / recipe.clips, 1)}
        self._consider(phase, score)
        self.seconds += time.monotonic() - start
        line["seconds"] = round(self.seconds, 1)
        return line

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(checkpoint_path(self.folder), {
            **network_content(self.recipe.network), "decides": self.recipe.decides(),
            "epoch": self.epoch, "seconds": self.seconds, "recipe": self.recipe.state(),
            "best": list(self._best) if self._best else None,
            "optimiser": self._optimiser.state_dict(), "rng": torch.get_rng_state()})

    def _resume(self) -> None:
        content = load_checkpoint(checkpoint_path(self.folder))
        before, wanted = content.get("decides") or {}, self.recipe.decides()
        missing = object()
        changed = [name for name in {**wanted, **before}
                   if before.get(name, missing) != wanted.get(name, missing)]
        if changed:
            raise TrainError(f"{self.folder} holds a run with another configuration "
                             f"({', '.join(changed)} differ); give another --out or the same "
                             f"values")
        self.epoch, self.seconds = content["epoch"], content["seconds"]
        self._best = content["best"] and tuple(content["best"])
        phase, _ = phase_of(self.recipe.phases, self.epoch - 1)
        self.recipe.restore(restore_network(content), content["recipe"], phase)
        self._optimiser = self._new_optimiser()
        self._optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["rng"])

    def _new_optimiser(self) -> torch.optim.Optimizer:
        """AdamW with decay on weights alone; the schedule sets its rate before every step."""
        parameters = [p for module in self.recipe.learners() for p in module.parameters()]
        return torch.optim.AdamW(
            [{"params": [p for p in parameters if p.dim() > 1],
              "weight_decay": self.recipe.weight_decay},
             {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}], lr=0.0)

    def _steps(self, phase: Phase, within: int, rng: np.random.Generator,
               tick: Callable[[int, int], None]) -> float:
        """All steps of an epoch; returns the mean error over the clips."""
        recipe, workers = self.recipe, self.workers
        order = rng.permutation(recipe.clips)
        steps = math.ceil(recipe.clips / phase.batch)
        recipe.network.train()
        total = 0.0
        for i in range(steps):
            rows = order[i * phase.batch:(i + 1) * phase.batch]
            mine = workers.share(np.arange(len(rows)))
            for group in self._optimiser.param_groups:
                group["lr"] = rate_at(phase, within * steps + i, steps)
            loss, error = recipe.loss(phase, rows, mine, rng)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            workers.average_gradients((p for module in recipe.learners()
                                       for p in module.parameters()), len(mine), len(rows))
            torch.nn.utils.clip_grad_norm_(recipe.network.parameters(), CLIP)
            self._optimiser.step()
            recipe.after_step()
            total += float(error.detach()) * len(mine)
            tick(i + 1, steps)
        return workers.total(total) / recipe.clips

    def _consider(self, phase: Phase, score: float) -> None:
        """Remember the network if it is the best of the last phase; NaN never is."""
        if not self.recipe.keep_best or phase is not self.recipe.phases[-1] or math.isnan(score):
            return
        if self._best is None or score > self._best[0]:
            self._best = score, self.epoch, network_content(self.recipe.network)

    def _kept(self) -> Trained:
        recipe = self.recipe
        last = recipe.phases[-1]
        if last.epochs == 0:
            recipe.begin(last)
            if recipe.keep_best:
                self._consider(last, recipe.validate()[1])
        if not recipe.keep_best:
            network = restore_network(network_content(recipe.network))
            return Trained(network, self.epoch, self.seconds)
        if self._best is None:
            raise TrainError("Training gave a constant score in every epoch; use more clips or "
                             "epochs")
        _, epoch, content = self._best
        return Trained(restore_network(content), epoch, self.seconds)

    def _show_step(self, done: int, total: int) -> None:
        if self.progress:
            self.progress.step(self.epoch + 1, done, total)

    def _seconds_left(self) -> float:
        """Estimate, from the costs of the phases' epochs."""
        costs = [phase.cost for phase in self.recipe.phases for _ in range(phase.epochs)]
        return self.seconds * sum(costs[self.epoch:]) / sum(costs[:self.epoch])
