"""Pool and step function of training against PyTorch's own: ``python -m benchmarks.training_step``.

Writes ``reports/training-step.md``: what one training step costs (forward and backward through all
convolutions, channels-last bfloat16, one thread) with :mod:`bamac.pooling` and
:mod:`bamac.surrogate`, and with ``max_pool2d`` and ``(z > 0).to(dtype)`` in their place, one after
the other in the same run.
"""

from __future__ import annotations

import contextlib
import platform
import time
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from bamac import networks, surrogate
from bamac.files import write_text
from bamac.networks import Network, make_config

REPORT = Path(__file__).parents[1] / "reports" / "training-step.md"
REPETITIONS = 9
CASES = (("paper", 32), ("p808", 16))
"""Network and clips per step."""


def _pytorch_pool(x, size):
    return x if size == (1, 1) else F.max_pool2d(x, size)


def _pytorch_step(ctx, z, beta):
    ctx.save_for_backward(z)
    ctx.beta = beta
    return (z > 0).to(z.dtype)


@contextlib.contextmanager
def _pytorchs():
    """Training with PyTorch's own operations."""
    with mock.patch.object(networks, "max_pool", _pytorch_pool), \
            mock.patch.object(surrogate._BinaryStep, "forward", staticmethod(_pytorch_step)):
        yield


def _step(network, x):
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = network.maps(x)[-1]
    last.float().mean().backward()


def measure(name, clips, repetitions=REPETITIONS):
    """``(ours, PyTorch's)`` least milliseconds per clip; their gradients are the same.

    Raises
    ------
    ValueError
        If a gradient differs in any bit.
    """
    torch.manual_seed(1)
    network = Network(make_config(name, "bam")).to(memory_format=torch.channels_last).train()
    network.freeze_norm()
    shape = (clips, 1, network.config.rows, network.config.cols)
    x = torch.randint(-127, 128, shape).float().to(memory_format=torch.channels_last)
    best, gradients = [float("inf")] * 2, [None] * 2
    for _ in range(repetitions):
        for i, operations in enumerate((contextlib.nullcontext, _pytorchs)):
            with operations():
                start = time.perf_counter()
                _step(network, x)
                best[i] = min(best[i], 1000 * (time.perf_counter() - start) / clips)
            gradients[i] = [p.grad.clone() for p in network.convs.parameters()]
    if not all(torch.equal(a, b) for a, b in zip(*gradients, strict=True)):
        raise ValueError(f"Gradients of {name} must be those of PyTorch's own operations")
    return tuple(best)


def report(found):
    """The report's text, of ``{network: (clips, ours, PyTorch's)}``."""
    lines = ["# What a training step costs", "",
             f"Made by `python -m benchmarks.training_step` on {date.today()}, one thread of "
             f"{platform.machine()}, torch {torch.__version__}; least of {REPETITIONS}. Forward "
             "and backward through all convolutions, pools, batch norms and steps, channels-last "
             "bfloat16. The gradients of both columns are equal, bit for bit.", "",
             "| network | clips per step | `max_pool2d`, `(z > 0).to()`: ms per clip "
             "| `bamac.pooling`, `bamac.surrogate`: ms per clip | times as fast |",
             "|---|--:|--:|--:|--:|"]
    lines += [f"| {name} | {clips} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.2f} |"
              for name, (clips, ours, theirs) in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    text = report({name: (clips, *measure(name, clips)) for name, clips in CASES})
    write_text(REPORT, text)
    print(text, end="")
