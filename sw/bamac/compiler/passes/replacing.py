"""Put several layers, one behind the other, in the place of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bamac.ir.conv import Conv2d
from bamac.ir.layer import Layer
from bamac.ir.network import IntegerNetwork

__all__ = ["identity", "replaced"]


def replaced(network: IntegerNetwork, parts: Mapping[str, Sequence[Layer]]) -> IntegerNetwork:
    """``network`` with the layers ``parts[name]`` in the place of layer ``name``.

    The first of them reads what the layer read, each other one the one before it, and whoever read
    the layer reads the last one.
    """
    if not parts:
        return network
    last = {name: layers[-1].name for name, layers in parts.items()}
    layers: list[Layer] = []
    inputs: dict[str, tuple[str, ...]] = {}
    for layer in network.layers:
        sources = tuple(last.get(source, source) for source in network.inputs_of(layer.name))
        for part in parts.get(layer.name, (layer,)):
            layers.append(part)
            inputs[part.name] = sources
            sources = (part.name,)
    return replace(network, layers=tuple(layers), inputs=inputs)


def identity(name: str, conv: Conv2d, *, pool: tuple[int, ...] = (1, 1),
             stride: int = 1) -> Conv2d:
    """A layer that hands on the map of ``conv``, of bits or levels: pooled, or with a stride."""
    channels = conv.out_channels
    levels = conv.low + conv.step * np.arange(1, conv.levels + 1)
    return Conv2d(name, np.ones((channels, 1, 1, 1), np.int64), np.tile(levels, (channels, 1)),
                  stride, pool=pool, groups=channels, low=conv.low, step=conv.step)
