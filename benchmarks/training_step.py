"""Pool and step function of training against PyTorch's own: ``python -m benchmarks.training_step``.

Writes ``reports/training-step.md``: the time of one training step (forward and backward through all
convolutions, channels-last bfloat16, one thread) in four ways, measured in turn in one run:

- with :mod:`bamac.nn.pooling` and :mod:`bamac.nn.surrogate`;
- with ``max_pool2d`` and ``(z > limit).to(dtype)`` in their place;
- with frozen batch norm as a separate operation;
- with the compiled gradient of :mod:`bamac.nn.fused`.
"""

from __future__ import annotations

import contextlib
import time
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from torch.nn import functional as F

from bamac.files import write_text
from bamac.nn import layers, surrogate
from bamac.nn.config import make_config, with_thresholds
from bamac.nn.layers import ConvStage
from bamac.nn.network import Network
from benchmarks.report_times import machine

REPORT = Path(__file__).parents[1] / "reports" / "training-step.md"
REPETITIONS = 9
CASES = {"paper": ("paper", (1, 1, 1, 1), 32), "p808": ("p808", (1, 1, 1, 1, 1), 16),
         "p808, thresholds 3,2,2,2": ("p808", (3, 2, 2, 2, 1), 16)}
"""Network, thresholds per kernel of each map, clips per step."""


def _pytorch_pool(x, size):
    return x if size == (1, 1) else F.max_pool2d(x, size)


def _pytorch_step(ctx, z, bias, beta):
    ctx.save_for_backward(z, bias)
    ctx.beta = beta
    return torch.cat([(z > -level[:, None, None]).to(z.dtype) for level in bias.to(z.dtype)], 1)


def _norm_apart(stage, x, weight):
    return surrogate.binary_step(stage.norm(stage.convolve(x, weight)), stage.beta,
                                 stage.biases() - stage.norm.bias)


@contextlib.contextmanager
def _pytorchs():
    """Training with PyTorch's own operations."""
    with mock.patch.object(layers, "max_pool", _pytorch_pool), \
            mock.patch.object(surrogate._ThresholdStep, "forward", staticmethod(_pytorch_step)):
        yield


def _apart():
    """Training with frozen batch norm as a separate operation."""
    return mock.patch.object(ConvStage, "_frozen", _norm_apart)


@contextlib.contextmanager
def _compiled(network):
    """Training with the gradient of pool and step compiled."""
    network.fuse()
    yield
    for stage in network.convs:
        stage.fused = False


def _step(network, x):
    network.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = network.maps(x)[-1]
    last.float().mean().backward()


def measure(name, thresholds, clips, repetitions=REPETITIONS):
    """Least milliseconds per clip: ``(ours, PyTorch's operations, batch norm apart, compiled)``.

    The first two have equal gradients. The other two round to bfloat16 at other places. The time of
    compiling is not counted.

    Raises
    ------
    ValueError
        If a gradient differs in any bit.
    """
    torch.manual_seed(1)
    config = with_thresholds(make_config(name, "bam"), thresholds)
    network = Network(config).to(memory_format=torch.channels_last).train()
    network.freeze_norm()
    shape = (clips, 1, network.config.rows, network.config.cols)
    x = torch.randint(-127, 128, shape).float().to(memory_format=torch.channels_last)
    ways = (contextlib.nullcontext, _pytorchs, _apart, lambda: _compiled(network))
    best, gradients = [float("inf")] * len(ways), [None] * len(ways)
    with _compiled(network):
        _step(network, x)
    for _ in range(repetitions):
        for i, operations in enumerate(ways):
            with operations():
                start = time.perf_counter()
                _step(network, x)
                best[i] = min(best[i], 1000 * (time.perf_counter() - start) / clips)
            gradients[i] = [p.grad.clone() for p in network.convs.parameters()]
    if not all(torch.equal(a, b) for a, b in zip(*gradients[:2], strict=True)):
        raise ValueError(f"Gradients of {name} must be those of PyTorch's own operations")
    return tuple(best)


def report(found):
    """The report's text, of ``{title: (clips, ours, PyTorch's, batch norm apart, compiled)}``."""
    lines = ["# What a training step costs", "",
             f"Made by `python -m benchmarks.training_step` on {date.today()}, one thread of "
             f"{machine()}, torch {torch.__version__}; least of {REPETITIONS}. Forward "
             "and backward through all convolutions, pools, batch norms and steps, channels-last "
             "bfloat16, batch norm frozen. *PyTorch's operations*: `max_pool2d` and "
             "`(z > limit).to()` in place of `bamac.nn.pooling` and `bamac.nn.surrogate`; their "
             "gradients are equal to ours, bit for bit. *Batch norm apart*: not taken into the "
             "weights and thresholds, which rounds other values. "
             "*Compiled*: ours with the gradient of `bamac.nn.fused` (`--compile` of "
             "`bamac distil`), "
             "which rounds other values too. Ratios: by how much ours, or the compiled one, is "
             "faster.", "",
             "| network | clips per step | ours, ms per clip | PyTorch's operations | ours is "
             "| batch norm apart | ours is | compiled | it is |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    lines += [f"| {title} | {clips} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} x "
              f"| {apart:.1f} | {apart / ours:.2f} x | {compiled:.1f} | {ours / compiled:.2f} x |"
              for title, (clips, ours, theirs, apart, compiled) in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    text = report({title: (case[-1], *measure(*case)) for title, case in CASES.items()})
    write_text(REPORT, text)
    print(text, end="")
