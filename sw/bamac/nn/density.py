"""How many ones the hardware meets: single bits, and the union of a tile of four pixels.

An array of Q = 2 x 2 pixels that skips zeros spends a cycle on a (tap, channel) of a tile if *any*
of its four pixels has a 1 there. What it pays for is therefore the density of the union, not of
single bits: with independent bits of density d it would be 1 - (1 - d)^4; neighbouring bits of
real maps are alike, and it is less.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["densities", "input_planes", "layer_slots", "union_density"]


def union_density(bits, spec):
    """Mean over taps, channels and tiles of the OR over a tile's 2 x 2 output pixels, per clip.

    Parameters
    ----------
    bits : float tensor (N, C, rows, cols) of 0 and 1, the input of a convolution
    spec : :class:`bamac.nn.network.ConvSpec` of that convolution; stride 1

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


def layer_slots(config, lanes_wide=32):
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


def input_planes(x, bits):
    """The binary planes (N, bits, rows, cols) of integer-valued input (N, 1, rows, cols).

    The hardware stores ``v + 2^(bits-1)``, an unsigned number, one plane per bit; lowest first.
    """
    values = (x + 2 ** (bits - 1)).to(torch.int64)
    return torch.cat([(values >> k) & 1 for k in range(bits)], dim=1).to(x.dtype)


def densities(network, x):
    """Per convolution: share of ones in its input, and of non-empty 2x2 unions (float lists).

    ``x`` is a batch (N, 1, rows, cols) as the network reads it.
    """
    bits = network.config.input_bits
    network.eval()
    with torch.no_grad():
        inputs = [input_planes(x, bits), *network.maps(x)[:-1]]
        return ([float(m.mean()) for m in inputs],
                [float(union_density(m, stage.spec).mean())
                 for m, stage in zip(inputs, network.convs, strict=True)])
