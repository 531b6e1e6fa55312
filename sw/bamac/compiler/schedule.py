"""The order in which jobs run, and the rows that each ring must hold for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from bamac_hw.abi.descriptors import Emit

__all__ = ["JobBounds", "job_order", "ring_rows"]


class JobBounds(Protocol):
    """What the schedule reads of a layer's :class:`bamac.compiler.walk.Walk`."""

    @property
    def emit(self) -> Emit: ...
    @property
    def rows(self) -> int: ...
    @property
    def out_rows(self) -> int: ...
    @property
    def jobs(self) -> int: ...
    @property
    def padding(self) -> Sequence[int]: ...
    @property
    def span(self) -> int: ...
    @property
    def advance(self) -> int: ...
    @property
    def block_rows(self) -> int: ...


def job_order(walks: Sequence[JobBounds], *, first: int = 0) -> Iterator[tuple[int, int]]:
    """Yield ``(index, polls)`` for each job of one clip.

    ``polls`` counts the layers that the scheduler asks until it finds this job. It begins with the
    layer behind the one that ran last, and goes up until a layer has the rows that it needs. This
    is the rule of :class:`bamac_hw.control.scheduler.Scheduler`.

    Parameters
    ----------
    first : int
        The layer that is asked first: 0 after a reset, the last one after a clip.
    """
    arrived = [walks[0].rows] + [0] * (len(walks) - 1)
    done = [0] * len(walks)
    candidate, polls = first, 0
    last = len(walks) - 1
    while done[last] < walks[last].jobs:
        walk = walks[candidate]
        polls += 1
        first_row = done[candidate] * walk.advance - walk.padding[0]
        if done[candidate] < walk.jobs and arrived[candidate] >= min(
                walk.rows, first_row + walk.span):
            yield candidate, polls
            polls = 0
            done[candidate] += 1
            if candidate < last:
                if walk.emit == Emit.MAP:
                    arrived[candidate + 1] = min(walk.out_rows, done[candidate] * walk.block_rows)
                elif done[candidate] == walk.jobs:
                    arrived[candidate + 1] = 1
            candidate = min(candidate + 1, last)
        else:
            candidate -= 1
            assert candidate >= 0, "no layer can run"


def ring_rows(walks: Sequence[JobBounds], index: int) -> int:
    """Rows that the ring at the input of convolution ``index`` >= 1 must hold at least.

    A ring of ``n`` rows overwrites row ``r - n`` with row ``r``. That is right if the layer's
    next job begins behind row ``r - n``.
    """
    producer, consumer = walks[index - 1], walks[index]
    produced, consumed, needed = 0, 0, 1
    for job, _ in job_order(walks):
        if job == index - 1:
            produced += 1
            newest = min(producer.out_rows, produced * producer.block_rows) - 1
            oldest = consumed * consumer.advance - consumer.padding[0]
            if consumed < consumer.jobs:
                needed = max(needed, newest - max(oldest, 0) + 1)
        elif job == index:
            consumed += 1
    return needed
