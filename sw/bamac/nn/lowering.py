"""Lowering of a network with binary maps to the integer network that hardware computes.

Nothing is estimated or rounded here that training did not already compute with: the int8 weights,
the thresholds and the head's integers are those of the PyTorch network in evaluation mode, so
both give the same scores, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bamac.frontends.metadata import front_end_of
from bamac.ir.network import Conv2d, Dense, GraphError, InputSpec, IntegerNetwork

from .config import ACC_BITS, HEAD_MAX
from .layers import ConvStage, DenseStage, thresholds
from .network import Network
from .quantise import channel_scales, quantise_weights

__all__ = ["accumulator_ranges", "check_accumulators", "integerise"]


def _ints(tensor: Tensor) -> np.ndarray:
    array = tensor.detach().cpu().double().numpy()
    rounded = np.rint(array).astype(np.int64)
    if not (rounded == array).all():
        raise AssertionError("quantised values are not integers")
    return rounded


def _conv(stage: ConvStage, name: str, global_pool: str | None, low: int, high: int) -> Conv2d:
    """One convolution; a threshold that no sum reaches moves to the nearest that does the same."""
    q = _ints(quantise_weights(stage.weight, channel_scales(stage.weight, stage.bits), stage.bits))
    limit = thresholds(stage).numpy()
    positive = np.clip(q, 0, None).sum((1, 2, 3))
    negative = np.clip(q, None, 0).sum((1, 2, 3))
    # A threshold at or below every sum always gives 1, one above every sum never does
    smallest = positive * low + negative * high
    largest = positive * high + negative * low
    limit = np.clip(limit.reshape(-1, len(q)), smallest, largest + 1).reshape(-1)
    q = np.tile(q, (stage.spec.levels, 1, 1, 1))
    return Conv2d(name, q, limit, stride=stage.spec.stride,
                  padding=stage.spec.pads(), pool=stage.spec.pool, global_pool=global_pool)


def _dense(stage: DenseStage, name: str) -> Dense:
    with torch.no_grad():
        q, b = stage.integers()
    return Dense(name, _ints(q), _ints(b), emit="raw" if stage.last else "unsigned",
                 bits=HEAD_MAX.bit_length(), shift=0 if stage.last else int(stage.shift))


def accumulator_ranges(network: IntegerNetwork) -> list[tuple[str, int, int]]:
    """``(layer name, smallest, largest)`` partial sum of every layer, over all legal inputs.

    The start value is the bias, or minus the threshold; weights may be added in any order. Signed
    inputs count in offset form: ``v + 2^(bits-1)``, an unsigned number, with the threshold moved
    by the sum of the weights times the offset. The exact formula of a layer in hardware may start
    nearer to zero, never farther from it.
    """
    ranges = []
    spec = network.input
    high = (1 << spec.bits) - 1
    offset = -spec.min
    for conv in network.convs:
        flat = conv.weights.reshape(conv.out_channels, -1)
        start = -(conv.thresholds + offset * flat.sum(1))
        ranges.append((conv.name, int((start + np.clip(flat, None, 0).sum(1) * high).min()),
                       int((start + np.clip(flat, 0, None).sum(1) * high).max())))
        high, offset = 1, 0
    if network.convs[-1].global_pool == "sum":
        _, rows, cols = network.map_shapes()[-1]
        high = rows * cols
    for dense in network.denses:
        low = dense.bias + np.clip(dense.weights, None, 0).sum(1) * high
        top = dense.bias + np.clip(dense.weights, 0, None).sum(1) * high
        ranges.append((dense.name, int(low.min()), int(top.max())))
        high = (1 << dense.bits) - 1 if dense.emit == "unsigned" else 1
    return ranges


def check_accumulators(network: IntegerNetwork, bits: int = ACC_BITS) -> None:
    """Refuse a network of which some partial sum can leave ``bits`` signed bits."""
    limit = 1 << (bits - 1)
    for name, low, high in accumulator_ranges(network):
        if low < -limit or high >= limit:
            raise GraphError(f"{name}: partial sums must fit {bits} bits "
                             f"({-limit}..{limit - 1}), not reach {low}..{high}")


def integerise(module: Network, metadata: Mapping[str, Any] | None = None,
               name: str | None = None) -> IntegerNetwork:
    """The :class:`bamac.ir.network.IntegerNetwork` of a trained ``bam-w8`` network.

    Parameters
    ----------
    module : :class:`bamac.nn.network.Network` after int8 training
    metadata : what :func:`bamac.nn.checkpoint.load_network` returned; names the front end
    name : of the result; the configuration's name by default

    Raises
    ------
    GraphError
        If the network has no int8 weights yet, or a layer does not fit the accumulators.
    """
    config = module.config
    if not module.int8 or not config.binary:
        raise GraphError(f"{config.name}: network must have int8 weights (variant bam-w8, trained "
                         f"to its int8 phase), not variant {config.variant!r} in float")
    layers = []
    spec = InputSpec(config.rows, config.cols, config.input_bits)
    low, high = spec.min, spec.max
    for i, stage in enumerate(module.convs):
        last = i == len(module.convs) - 1
        layers.append(_conv(stage, f"conv{i + 1}", config.global_pool if last else None,
                            low, high))
        low, high = 0, 1
    layers += [_dense(stage, f"dense{i + 1}") for i, stage in enumerate(module.head)]
    network = IntegerNetwork(
        name or config.name, spec, tuple(layers),
        score_scale=module.score_scale, score_offset=float(module.score_offset),
        front_end=front_end_of(metadata or {}))
    check_accumulators(network)
    return network
