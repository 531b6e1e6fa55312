"""The released DNSMOS P.808 network, as a teacher and as the start of networks of its shape.

The released network is a chain of 3x3 convolutions with bias, ReLU and max pools, a global
maximum and three dense layers; its input is the float feature ``v = int8 / 127``
(:mod:`bamac.frontends.dnsmos`). :func:`released_network` is that network, exactly, as a
:class:`bamac.nn.network.Network` on integer-valued features: it labels augmented features during
training.
"""

from __future__ import annotations

import numpy as np
import torch

from bamac.data.dnsmos import released_weights
from bamac.frontends.dnsmos import STEPS
from bamac.nn.config import make_config
from bamac.nn.network import Network

__all__ = ["released_network"]


@torch.no_grad()
def released_network() -> Network:
    """The released network in evaluation mode, as the fp32 variant of the ``p808`` shape.

    It maps ``(n, 1, rows, 120)`` features in int8 steps (integers, or floats before rounding) to
    scores ``(n, 1)`` equal to the ONNX file's to 1e-4. Any number of rows from 8 on will do.
    """
    network = Network(make_config("p808", "fp32", global_pool="max", dropout=0.0))
    weights = released_weights()
    for stage, (weight, bias) in zip(network.convs, weights["convs"], strict=True):
        # The first reads int8 steps, times its in_scale, where the file reads v
        step = STEPS * stage.in_scale if stage is network.convs[0] else 1.0
        stage.weight.copy_(torch.from_numpy(weight / np.float32(step)))
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
