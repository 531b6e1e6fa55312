"""Activation density: the share of ones in a map, and the density of its 2 x 2 tiles.

An array of Q = 2 x 2 pixels that skips zeros spends a cycle on a (tap, channel) of a tile if *any*
of its four pixels has a 1 there: the OR, or union, of the four bits. Its cycles therefore follow
the tile density, not the density of single bits. With independent bits of density d the tile
density would be 1 - (1 - d)^4; neighbouring bits of real maps are alike, and it is less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .config import ConvSpec, NetConfig
from .network import Network
from .predict import tensor_of

__all__ = ["activation_density", "input_densities", "input_planes", "layer_slots",
           "mean_tile_density", "tile_density"]


def tile_density(bits: Tensor, spec: ConvSpec) -> Tensor:
    """Mean over taps, channels and tiles of the OR over a tile's 2 x 2 output pixels, per clip.

    Parameters
    ----------
    bits : float tensor (N, C, rows, cols) of 0 and 1, the input of a convolution
    spec : :class:`bamac.nn.config.ConvSpec` of that convolution; stride 1

    Returns
    -------
    Tensor (N,). Tiles that stick out over an odd edge count their missing pixels as 0.
    """
    top, bottom, left, right = spec.pads()
    height, width = spec.kernel
    rows = bits.shape[2] + top + bottom - height + 1
    cols = bits.shape[3] + left + right - width + 1
    padded = F.pad(bits, (left, right + cols % 2, top, bottom + rows % 2))
    pairs = F.max_pool2d(padded, 2, stride=1)
    total = 0.0
    for dy in range(height):
        for dx in range(width):
            taken = pairs[:, :, dy:dy + rows:2, dx:dx + cols:2]
            total = total + taken.mean((1, 2, 3))
    return total / (height * width)


def layer_slots(config: NetConfig, lanes_wide: int = 32) -> list[int]:
    """Dense cycles of each convolution on an array of 2 x 2 pixels by ``lanes_wide`` channels.

    A plain count of (tile, pass, tap, channel, input bit) without any overhead.
    """
    slots, channels = [], config.input_bits
    rows, cols = config.rows, config.cols
    for spec in config.convs:
        top, bottom, left, right = spec.pads()
        out_rows = rows + top + bottom - spec.kernel[0] + 1
        out_cols = cols + left + right - spec.kernel[1] + 1
        tiles = -(-out_rows // 2) * -(-out_cols // 2)
        slots.append(tiles * -(-spec.out_channels // lanes_wide) * channels
                     * spec.kernel[0] * spec.kernel[1])
        rows, cols = spec.out_shape(rows, cols)
        channels = spec.out_channels
    return slots


def mean_tile_density(network: Network, maps: Sequence[Tensor]) -> Tensor:
    """Tile density of the binary ``maps`` of all stages, weighted by the cycles that they cost.

    The weights are the dense cycles of the layers that read the maps. The result, a scalar, is the
    share of those cycles that an array which skips zeros still spends. Gradients reach the maps
    through the surrogate.
    """
    slots = layer_slots(network.config)[1:]
    spent = sum(n * tile_density(bits.float(), stage.spec).mean()
                for n, bits, stage in zip(slots, maps, network.convs[1:], strict=False))
    return spent / sum(slots)


def input_planes(x: Tensor, bits: int) -> Tensor:
    """The binary planes (N, bits, rows, cols) of integer-valued input (N, 1, rows, cols).

    The hardware stores ``v + 2^(bits-1)``, an unsigned number, one plane per bit; lowest first.
    """
    values = (x + 2 ** (bits - 1)).to(torch.int64)
    return torch.cat([(values >> k) & 1 for k in range(bits)], dim=1).to(x.dtype)


@torch.no_grad()
def input_densities(network: Network, x: Tensor) -> tuple[list[float], list[float]]:
    """Per convolution: activation density of its input, and tile density.

    ``x`` is a batch (N, 1, rows, cols) as the network reads it, whose input counts as bit planes.
    The network is left in evaluation mode.
    """
    network.eval()
    inputs = [input_planes(x, network.config.input_bits), *network.maps(x)[:-1]]
    return ([float(m.mean()) for m in inputs],
            [float(tile_density(m, stage.spec).mean())
             for m, stage in zip(inputs, network.convs, strict=True)])


@torch.no_grad()
def activation_density(network: Network, features: np.ndarray) -> list[float]:
    """Share of values above 0 in every map, to four places, of int8 features (n, rows, cols).

    The network is left in evaluation mode.
    """
    network.eval()
    device = next(network.parameters()).device
    maps = network.maps(tensor_of(features, network.config.input_bits, device))
    return [round(float((m > 0).float().mean()), 4) for m in maps]
