"""Phases of a training run and their learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Phase", "phase_of", "rate_at"]

WARM_UP = 0.02
"""Share of a cosine's steps in which the rate rises to it."""


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike.

    Parameters
    ----------
    name : in the log
    epochs : how many; 0 leaves the phase out
    batch : clips per step
    rate : peak learning rate
    end : share of the peak at which a cosine ends
    cycles : cosines of equal length, each from the peak again (warm restarts, Loshchilov and
        Hutter, arXiv:1608.03983)
    first_seed : the epochs' random numbers come from the seeds ``[seed, first_seed + i]``
    cost : time of an epoch relative to other phases, for the estimate of the time left
    """

    name: str
    epochs: int
    batch: int
    rate: float
    end: float = 0.01
    cycles: int = 1
    first_seed: int = 0
    cost: float = 1.0


def phase_of(phases: Sequence[Phase], epoch: int) -> tuple[Phase, int]:
    """The phase of an epoch, counted from 0 over all phases, and its number in the phase.

    Raises
    ------
    ValueError
        If the phases have fewer epochs.
    """
    within = epoch
    for phase in phases:
        if within < phase.epochs:
            return phase, within
        within -= phase.epochs
    raise ValueError(f"Epoch must be in 0..{sum(p.epochs for p in phases) - 1}, not {epoch}")


def rate_at(phase: Phase, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step, counted from the start of the phase: a cosine after a warm-up."""
    length = phase.epochs * steps_per_epoch // phase.cycles
    at = step % length
    warm = min(1.0, (at + 1) / (WARM_UP * length + 1))
    return phase.rate * warm * (phase.end + (1 - phase.end) * 0.5
                                * (1 + math.cos(math.pi * at / length)))
