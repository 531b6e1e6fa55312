"""Pool and step function of training against PyTorch's own: ``python -m benchmarks.training_step``.

Writes ``reports/training-step.md``: what one training step costs (forward and backward through all
convolutions, channels-last bfloat16, one thread) with :mod:`bamac.pooling` and
:mod:`bamac.surrogate`, with ``max_pool2d`` and ``(z > limit).to(dtype)`` in their place, and with
frozen batch norm as an operation of its own, one after the other in the same run.
"""

from __future__ import annotations

import contextlib
import time
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from bamac import networks, surrogate
from bamac.files import write_text
from bamac.networks import ConvStage, Network, make_config
from benchmarks.report_times import machine

REPORT = Path(__file__).parents[1] / "reports" / "training-step.md"
REPETITIONS = 9
CASES = (("paper", 32), ("p808", 16))
"""Network and clips per step."""


def _pytorch_pool(x, size):
    return x if size == (1, 1) else F.max_pool2d(x, size)


def _pytorch_step(ctx, z, bias, beta):
    ctx.save_for_backward(z, bias)
    ctx.beta = beta
    return (z > -bias.to(z.dtype)[0, :, None, None]).to(z.dtype)


def _norm_apart(stage, x, weight):
    return surrogate.binary_step(stage.norm(stage.convolve(x, weight)), stage.beta)


@contextlib.contextmanager
def _pytorchs():
    """Training with PyTorch's own operations."""
    with mock.patch.object(networks, "max_pool", _pytorch_pool), \
            mock.patch.object(surrogate._ThresholdStep, "forward", staticmethod(_pytorch_step)):
        yield


def _apart():
    """Training with frozen batch norm as an operation of its own."""
    return mock.patch.object(ConvStage, "_frozen", _norm_apart)


def _step(network, x):
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = network.maps(x)[-1]
    last.float().mean().backward()


def measure(name, clips, repetitions=REPETITIONS):
    """Least milliseconds per clip: ``(ours, PyTorch's operations, batch norm apart)``.

    The first two have the same gradients; the third rounds other values to bfloat16.

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
    best, gradients = [float("inf")] * 3, [None] * 3
    for _ in range(repetitions):
        for i, operations in enumerate((contextlib.nullcontext, _pytorchs, _apart)):
            with operations():
                start = time.perf_counter()
                _step(network, x)
                best[i] = min(best[i], 1000 * (time.perf_counter() - start) / clips)
            gradients[i] = [p.grad.clone() for p in network.convs.parameters()]
    if not all(torch.equal(a, b) for a, b in zip(*gradients[:2], strict=True)):
        raise ValueError(f"Gradients of {name} must be those of PyTorch's own operations")
    return tuple(best)


def report(found):
    """The report's text, of ``{network: (clips, ours, PyTorch's, batch norm apart)}``."""
    lines = ["# What a training step costs", "",
             f"Made by `python -m benchmarks.training_step` on {date.today()}, one thread of "
             f"{machine()}, torch {torch.__version__}; least of {REPETITIONS}. Forward "
             "and backward through all convolutions, pools, batch norms and steps, channels-last "
             "bfloat16, batch norm frozen. *PyTorch's operations*: `max_pool2d` and "
             "`(z > limit).to()` in place of `bamac.pooling` and `bamac.surrogate`; their "
             "gradients are equal to ours, bit for bit. *Batch norm apart*: not taken into the "
             "weights and thresholds, which rounds other values.", "",
             "| network | clips per step | ours, ms per clip | PyTorch's operations | as fast "
             "| batch norm apart | as fast |", "|---|--:|--:|--:|--:|--:|--:|"]
    lines += [f"| {name} | {clips} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} "
              f"| {apart:.1f} | {apart / ours:.2f} |"
              for name, (clips, ours, theirs, apart) in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    text = report({name: (clips, *measure(name, clips)) for name, clips in CASES})
    write_text(REPORT, text)
    print(text, end="")
