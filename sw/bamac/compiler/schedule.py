"""The order in which jobs run, and the rows that each ring must hold for it."""

from bamac_hw.abi.descriptors import Emit

__all__ = ["job_order", "ring_rows"]


def job_order(walks, *, first=0):
    """Yield ``(index, looks)`` for each job of one clip.

    ``walks`` need the loop bounds of :class:`bamac.compiler.shapes.Walk`; ``first`` is the layer
    that is looked at first: 0 after a reset, the last one after a clip.

    ``looks`` counts the layers that the scheduler looks at before it finds this job: it begins
    behind the layer that ran last, and goes up until a layer has the rows it needs. This is the
    rule of :class:`bamac_hw.control.scheduler.Scheduler`.
    """
    arrived = [walks[0].rows] + [0] * (len(walks) - 1)
    done = [0] * len(walks)
    candidate, looks = first, 0
    last = len(walks) - 1
    while done[last] < walks[last].jobs:
        walk = walks[candidate]
        looks += 1
        first_row = done[candidate] * walk.advance - walk.padding[0]
        if done[candidate] < walk.jobs and arrived[candidate] >= min(
                walk.rows, first_row + walk.span):
            yield candidate, looks
            looks = 0
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


def ring_rows(walks, index):
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
