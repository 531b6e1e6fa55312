"""Strides of 4 and more behind the first layer: several strides of 2, one behind the other."""

from __future__ import annotations

from dataclasses import replace

from bamac.ir.conv import Conv2d
from bamac.ir.network import IntegerNetwork

from .replacing import identity, replaced

__all__ = ["split_strides"]


def split_strides(network: IntegerNetwork) -> IntegerNetwork:
    """The network with no stride of 4, 8 or 16, the same along both axes.

    The convolution has stride 2, and identities of stride 2 drop what the larger stride passes
    over. The last one keeps the convolution's name, for it has its map.
    """
    return replaced(network, {
        layer.name: _parts(layer) for layer in network.layers
        if isinstance(layer, Conv2d) and not layer.emits_int8
        and layer.strides in ((4, 4), (8, 8), (16, 16))})


def _parts(conv: Conv2d) -> list[Conv2d]:
    times = conv.strides[0].bit_length() - 1
    parts = [replace(conv, name=f"{conv.name}.stride1", stride=(2, 2), pool=(1, 1),
                     global_pool=None)]
    parts += [identity(f"{conv.name}.stride{number}", conv, stride=2)
              for number in range(2, times + 1)]
    parts[-1] = replace(parts[-1], name=conv.name, pool=conv.pool, global_pool=conv.global_pool)
    return parts
