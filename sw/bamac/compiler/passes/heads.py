"""Dense layers that read a map, on arrays whose collector reads out vectors alone."""

from __future__ import annotations

from math import prod

import numpy as np

from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import TensorSpec
from bamac.ir.network import FRAMES, IntegerNetwork
from bamac_hw.geometry import Geometry

from .replacing import replaced

__all__ = ["reads_out_maps", "split_heads"]

VALUES_MOST = 1024  # of a flattened map: its convolution has as many weights as their square


def reads_out_maps(geometry: Geometry) -> bool:
    """Whether a layer that reads a map can emit scores, values or bits as dense layers do."""
    return bool(geometry.map_head or geometry.traits.reads_out_maps)


def split_heads(network: IntegerNetwork, geometry: Geometry) -> IntegerNetwork:
    """The network with no dense layer on a map, unless the array has them or it emits bits.

    A convolution of the map's size hands on every value of the map as a channel, of one pixel; the
    dense layer reads that vector.
    """
    if reads_out_maps(geometry):
        return network
    return replaced(network, {
        layer.name: (_flatten(f"{layer.name}.flatten", reads), layer)
        for layer, reads in network.steps()
        if isinstance(layer, Dense) and reads.is_map and layer.emit in ("raw", "unsigned")
        and network.inputs_of(layer.name) != (FRAMES,)
        and max(reads.shape[1:]) <= geometry.kernel_most and prod(reads.shape) <= VALUES_MOST})


def _flatten(name: str, reads: TensorSpec) -> Conv2d:
    values = prod(reads.shape)
    weights = np.eye(values, dtype=np.int64).reshape(values, *reads.shape)
    levels = np.arange(reads.low + 1, reads.high + 1)
    return Conv2d(name, weights, np.tile(levels, (values, 1)), global_pool="max", low=reads.low)
