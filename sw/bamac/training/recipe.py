"""What a training run is: the interface between a recipe and the loop, and what comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from bamac.nn.network import Network

from .schedule import Phase

__all__ = ["Progress", "Recipe", "TrainError", "TrainingResult"]


class TrainError(ValueError):
    """A training run cannot start, continue or finish."""


class Progress(Protocol):
    """A display of a run's progress."""

    def data(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` pieces of a preparation, which ``text`` names."""

    def part(self, text: str) -> None:
        """A part of the run begins."""

    def step(self, epoch: int, done: int, total: int) -> None:
        """``done`` of ``total`` steps of an epoch, counted from 1."""

    def epoch(self, line: Mapping[str, Any], eta_seconds: float) -> None:
        """An epoch has ended: its line of the log, and the seconds that are left."""


class Recipe(ABC):
    """What is learnt, and how; :class:`bamac.training.loop.Trainer` runs it.

    Attributes
    ----------
    network : :class:`bamac.nn.network.Network`
        What learns; :meth:`start` or :meth:`restore` sets it.
    seed : int
        Of all random numbers.
    clips : int
        Number of training clips.
    phases : sequence of :class:`bamac.training.schedule.Phase`
        In order. A last phase without epochs is begun, and its network is the result as it is.
    keep_best : bool
        Whether the result is the network of the best validation score in the last phase; else it
        is the one after the last epoch.
    weight_decay : float
        Of AdamW, on weights only.
    """

    network: Network
    seed: int
    clips: int
    phases: Sequence[Phase]
    keep_best: bool
    weight_decay: float = 1e-3

    @abstractmethod
    def decides(self) -> dict[str, Any]:
        """Plain values that decide the result; a run of other ones is not continued."""

    @abstractmethod
    def start(self) -> None:
        """Make the network of a fresh run."""

    def restore(self, network: Network, state: Mapping[str, Any], phase: Phase) -> None:
        """Take the network of a checkpoint, written after an epoch of ``phase``.

        ``state`` is what :meth:`state` returned then.
        """
        self.network = network

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the network: tensors and plain values."""
        return {}

    def begin(self, phase: Phase) -> None:  # noqa: B027
        """Prepare a phase; its optimiser is made afterwards."""

    def learners(self) -> list[nn.Module]:
        """All modules that learn."""
        return [self.network]

    @abstractmethod
    def loss(self, phase: Phase, rows: np.ndarray, mine: np.ndarray,
             rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Loss of a step, and the error that the log shows: two scalars.

        Parameters
        ----------
        phase : in which the step is
        rows : training clips of the whole batch
        mine : positions in ``rows`` of this process's share, which the loss is the mean over
        rng : of the epoch; every process must draw the same numbers from it
        """

    def after_step(self) -> None:
        """Put the weights back to where they are allowed to be."""
        self.network.constrain()

    def end(self, phase: Phase, epoch: int) -> None:  # noqa: B027
        """Finish a phase after its last epoch, the run's epoch number ``epoch``."""

    @abstractmethod
    def validate(self) -> tuple[dict[str, Any], float]:
        """Plain values for the epoch's line of the log, and a score (NaN for none) to keep by."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run gives.

    Attributes
    ----------
    network : in evaluation mode
    metadata : plain values that its checkpoint holds
    report : plain values: the configuration, agreement on validation and test clips, densities
    test_scores, test_labels : float64 (clips,)
    twin : the run of the full-precision twin that this one trained first, if it did
    """

    network: Network
    metadata: dict[str, Any]
    report: dict[str, Any]
    test_scores: np.ndarray
    test_labels: np.ndarray
    twin: TrainingResult | None = None
