"""Pools larger than the array's tile: several smaller ones, one behind the other."""

from __future__ import annotations

from dataclasses import replace

from bamac.ir.conv import Conv2d
from bamac.ir.network import IntegerNetwork
from bamac_hw.geometry import Geometry

from .replacing import identity, replaced

__all__ = ["split_pools"]


def split_pools(network: IntegerNetwork, geometry: Geometry) -> IntegerNetwork:
    """The network with no pool above the tile that a chain of pools can replace.

    A pool of 4 is two pools of 2, and so on for powers of 2: what the first one drops, the larger
    one would drop too. The convolution keeps its name, the further pools get names of their own.
    """
    tile = geometry.tile_rows, geometry.tile_cols
    return replaced(network, {
        layer.name: _parts(layer, tile) for layer in network.layers
        if isinstance(layer, Conv2d) and not layer.emits_int8 and _splits(layer, tile)})


def _splits(conv: Conv2d, tile: tuple[int, int]) -> bool:
    """Whether pools up to the tile's size can replace the layer's, which is larger."""
    pools = list(zip(conv.pool, tile, strict=True))
    return (any(pool > size for pool, size in pools)
            and all(pool <= size or (size > 1 and pool & (pool - 1) == 0) for pool, size in pools))


def _parts(conv: Conv2d, tile: tuple[int, int]) -> list[Conv2d]:
    left = conv.pool
    parts: list[Conv2d] = []
    while not parts or max(left) > 1:
        pool = tuple(min(size, most) for size, most in zip(left, tile, strict=True))
        left = tuple(size // part for size, part in zip(left, pool, strict=True))
        parts.append(identity(f"{conv.name}.pool{len(parts) + 1}", conv, pool=pool) if parts else
                     replace(conv, pool=pool, global_pool=None))
    parts[-1] = replace(parts[-1], global_pool=conv.global_pool)
    return parts
