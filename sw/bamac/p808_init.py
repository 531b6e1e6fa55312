"""Networks that start from the released DNSMOS P.808 weights.

The released network is a chain of 3x3 convolutions with bias, ReLU and max pools, a global
maximum and three dense layers; its input is the float feature ``v = int8 / 127``
(:mod:`bamac.features_p808`). :func:`released_network` is that network, exactly, as a
:class:`bamac.networks.Network` on integer-valued features: it labels augmented features during
training. :func:`warm_start` puts the same weights under binary maps.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bamac.dnsmos import released_weights
from bamac.features_p808 import STEPS
from bamac.networks import Network, make_config

__all__ = ["measure_norm", "released_network", "warm_start"]


@torch.no_grad()
def _copy_convs(network):
    """Released kernels into ``network``; the first is scaled to its integer input."""
    convs = released_weights()["convs"]
    for stage, (weight, _) in zip(network.convs, convs, strict=True):
        weight = torch.from_numpy(weight.copy())
        if stage is network.convs[0]:
            weight = weight / (STEPS * stage.in_scale)
        stage.weight.copy_(weight)


@torch.no_grad()
def released_network():
    """The released network in evaluation mode, as the fp32 variant of the ``p808`` shape.

    It maps ``(n, 1, rows, 120)`` features in int8 steps (integers, or floats before rounding) to
    scores ``(n, 1)`` equal to the ONNX file's to 1e-4. Any number of rows from 8 on will do.
    """
    network = Network(make_config("p808", "fp32", dropout=0.0))
    weights = released_weights()
    _copy_convs(network)
    for stage, (_, bias) in zip(network.convs, weights["convs"], strict=True):
        # Batch norm becomes the bias alone: (z - 0) / sqrt(1 - eps + eps) + bias
        stage.norm.running_mean.zero_()
        stage.norm.running_var.fill_(1 - stage.norm.eps)
        stage.norm.weight.fill_(1)
        stage.norm.bias.copy_(torch.from_numpy(bias.copy()))
    for stage, (weight, bias) in zip(network.head, weights["dense"], strict=True):
        stage.weight.copy_(torch.from_numpy(weight.copy()))
        stage.bias.copy_(torch.from_numpy(bias.copy()))
    network.score_offset.zero_()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)


@torch.no_grad()
def measure_norm(network, batches):
    """Batch norm statistics over ``batches`` of features, as a plain mean over the batches."""
    network.train()
    momenta = [stage.norm.momentum for stage in network.convs]
    for stage in network.convs:
        stage.norm.train()
        stage.norm.reset_running_stats()
        stage.norm.momentum = None  # cumulative average
        stage.drop.eval()
    for batch in batches:
        network.maps(batch)
    for stage, momentum in zip(network.convs, momenta, strict=True):
        stage.norm.momentum = momentum
    network.train()


@torch.no_grad()
def _fit_first_dense(network, teacher, batches):
    """Regress the teacher's first dense sums on the network's numbers of ones (ridge)."""
    network.eval()
    ones = torch.cat([network.pooled(x) for x in batches]).double() * network.pool_scale
    first = teacher.head[0]
    sums = torch.cat([F.linear(teacher.pooled(x), first.weight, first.bias)
                      for x in batches]).double()
    spread = ones.std(0).clamp_min(1e-3)
    centred = (ones - ones.mean(0)) / spread
    ridge = 0.05 * len(ones) * torch.eye(ones.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(centred.T @ centred + ridge,
                                centred.T @ (sums - sums.mean(0))).T / spread
    network.head[0].weight.copy_(weight)
    network.head[0].bias.copy_(sums.mean(0) - weight @ ones.mean(0))


def warm_start(network, batches):
    """Put the released weights under the binary maps of a fresh ``p808``-shaped ``network``.

    Kernels are copied. Batch norm's statistics are measured on ``batches``, and its bias stays at
    the configuration's ``start_bias``, which decides the density of ones. The last two dense
    layers are copied too; the first reads numbers of ones where the released one reads maxima, so
    it is fitted to give the same sums on ``batches``.
    """
    _copy_convs(network)
    measure_norm(network, batches)
    _fit_first_dense(network, released_network(), batches)
    with torch.no_grad():
        for stage, (weight, bias) in list(zip(network.head, released_weights()["dense"],
                                              strict=True))[1:]:
            stage.weight.copy_(torch.from_numpy(weight.copy()))
            stage.bias.copy_(torch.from_numpy(bias.copy()))
        network.head[-1].bias -= float(network.score_offset)
    network.train()
