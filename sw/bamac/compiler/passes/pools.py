"""Pools larger than the array's tile: several smaller ones, one behind the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bamac.ir.conv import Conv2d
from bamac.ir.layer import Layer
from bamac.ir.network import IntegerNetwork
from bamac_hw.geometry import Geometry

__all__ = ["identity", "renamed_inputs", "split_pools"]


def split_pools(network: IntegerNetwork, geometry: Geometry) -> IntegerNetwork:
    """The network with no pool above the tile that a chain of pools can replace.

    A pool of 4 is two pools of 2, and so on for powers of 2: what the first one drops, the larger
    one would drop too. The convolution keeps its name, the further pools get names of their own.
    """
    tile = geometry.tile_rows, geometry.tile_cols
    layers: list[Layer] = []
    renamed: dict[str, str] = {}
    for layer in network.layers:
        if not isinstance(layer, Conv2d) or layer.emits_int8 or not _splits(layer, tile):
            layers.append(layer)
            continue
        parts = _parts(layer, tile)
        layers += parts
        renamed[layer.name] = parts[-1].name
    return renamed_inputs(network, layers, renamed) if renamed else network


def renamed_inputs(network: IntegerNetwork, layers: list[Layer],
                   renamed: dict[str, str]) -> IntegerNetwork:
    """The network with ``layers``; who read a layer in ``renamed`` reads the one it names."""
    known = {layer.name for layer in network.layers}
    inputs: dict[str, tuple[str, ...]] = {}
    for before, layer in zip([None, *layers[:-1]], layers, strict=True):
        if layer.name in known:
            inputs[layer.name] = tuple(renamed.get(source, source)
                                       for source in network.inputs_of(layer.name))
        else:
            assert before is not None
            inputs[layer.name] = (before.name,)
    return replace(network, layers=tuple(layers), inputs=inputs)


def _splits(conv: Conv2d, tile: tuple[int, int]) -> bool:
    """Whether pools up to the tile's size can replace the layer's, which is larger."""
    return (any(pool > size for pool, size in zip(conv.pool, tile, strict=True))
            and all(pool <= size or (size > 1 and pool & (pool - 1) == 0)
                    for pool, size in zip(conv.pool, tile, strict=True)))


def _parts(conv: Conv2d, tile: tuple[int, int]) -> list[Conv2d]:
    left = conv.pool
    parts: list[Conv2d] = []
    while not parts or max(left) > 1:
        pool = tuple(min(size, most) for size, most in zip(left, tile, strict=True))
        left = tuple(size // part for size, part in zip(left, pool, strict=True))
        if parts:
            parts.append(identity(f"{conv.name}.pool{len(parts) + 1}", conv, pool))
        else:
            parts.append(replace(conv, pool=pool, global_pool=None))
    parts[-1] = replace(parts[-1], global_pool=conv.global_pool)
    return parts


def identity(name: str, conv: Conv2d, pool: tuple[int, ...]) -> Conv2d:
    """A layer that hands on the map of ``conv``, pooled."""
    channels = conv.out_channels
    levels = conv.low + conv.step * np.arange(1, conv.levels + 1)
    return Conv2d(name, np.ones((channels, 1, 1, 1), np.int64), np.tile(levels, (channels, 1)),
                  pool=pool, groups=channels, low=conv.low, step=conv.step)
