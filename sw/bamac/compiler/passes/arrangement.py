"""What the first layer cannot walk, by another arrangement of the input's values.

The host sends the values of a clip in any order that suits the array, see
:class:`bamac_hw.abi.frames.Arrangement`: a vector as a small map of many channels, and the pixels
that a stride passes over as channels of their own.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer
from bamac.ir.network import FRAMES, IntegerNetwork
from bamac_hw.abi.frames import Arrangement
from bamac_hw.geometry import Geometry

from ..walk import ceil_div
from .signals import without_groups

__all__ = ["arrange_input"]


def arrange_input(network: IntegerNetwork,
                  geometry: Geometry) -> tuple[IntegerNetwork, Arrangement | None]:
    """The network on rearranged frames, and the arrangement; None if the frames stay as they are.

    - A dense layer reads the frames, and they are larger than the largest kernel: the values are
      spread over a map of the tile's size, which every bank of the input buffer holds a part of.
    - A convolution's stride is beyond 2, or differs between the axes where the array cannot: every
      row and column under one step of the stride becomes a channel, the stride becomes 1, and
      padding is sent.
    """
    readers = [layer for layer in network.layers if FRAMES in network.inputs_of(layer.name)]
    if len(readers) > 1 or network.inputs_of(readers[0].name) != (FRAMES,):
        return network, None
    first, most = readers[0], geometry.kernel_most
    if isinstance(first, Dense) and max(network.input.map_shape[1:]) > most:
        layer, arrangement = _spread(first, network, geometry)
    elif isinstance(first, Conv2d) and _passes_over(first, geometry):
        layer, arrangement = _phases(first, network)
    else:
        return network, None
    channels, rows, cols = arrangement.shape
    return replace(network, layers=tuple(layer if each is first else each
                                         for each in network.layers),
                   input=replace(network.input, channels=channels, rows=rows, cols=cols),
                   ), arrangement


def _passes_over(conv: Conv2d, geometry: Geometry) -> bool:
    down, across = conv.strides
    return max(down, across) > 2 or (down != across and not geometry.axis_strides)


def _spread(dense: Dense, network: IntegerNetwork,
            geometry: Geometry) -> tuple[Layer, Arrangement]:
    values = prod(network.input.map_shape)
    channels = ceil_div(values, geometry.pixels)
    weights = np.pad(dense.weights, ((0, 0), (0, channels * geometry.pixels - values)))
    shape = channels, geometry.tile_rows, geometry.tile_cols
    return replace(dense, weights=weights), Arrangement(
        "spread", shape, network.input.map_shape, network.input.zero_point)


def _phases(conv: Conv2d, network: IntegerNetwork) -> tuple[Layer, Arrangement]:
    """Tap ``a`` of a kernel of stride ``s`` is phase ``a % s`` at tap ``a // s``."""
    weights = without_groups(conv)
    outputs, channels, *sizes = weights.shape
    down, across = conv.strides
    kernel = ceil_div(sizes[0], down), ceil_div(sizes[1], across)
    padded = np.pad(weights, ((0, 0), (0, 0), (0, kernel[0] * down - sizes[0]),
                              (0, kernel[1] * across - sizes[1])))
    # (out, channel, tap row, phase, tap col, phase) -> (out, phase, phase, channel, tap, tap)
    phased = padded.reshape(outputs, channels, kernel[0], down, kernel[1], across).transpose(
        0, 3, 5, 1, 2, 4).reshape(outputs, -1, *kernel)
    rows, cols = conv.conv_shape(*network.input.map_shape[1:])
    shape = down * across * channels, rows - 1 + kernel[0], cols - 1 + kernel[1]
    layer = replace(conv, weights=phased, stride=(1, 1), dilation=(1, 1), groups=1,
                    padding=(0, 0, 0, 0))
    return layer, Arrangement("phases", shape, network.input.map_shape, network.input.zero_point,
                              (down, across), (conv.padding[0], conv.padding[2]))
