"""From a network to the one that an array runs: a chain of native layers, with all passes.

The two compute the same. :class:`Lowered` says where each layer of the first one stands in the
second, so that the hardware is compared with the network as its author wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bamac.ir.checks import Array
from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer, TensorSpec
from bamac.ir.network import IntegerNetwork
from bamac_hw.abi.frames import Arrangement
from bamac_hw.geometry import Geometry

from .lower import lower_network
from .passes.arrangement import arrange_input
from .passes.chain import to_chain
from .passes.counterpart import Counterpart
from .passes.heads import reads_out_maps, split_heads
from .passes.pools import split_pools
from .passes.strides import split_strides
from .walks import runs_depthwise

__all__ = ["Counterpart", "Lowered", "lower_for"]


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as an array runs it.

    Parameters
    ----------
    network : IntegerNetwork
        A chain of native layers, on frames as they are sent.
    arrangement : how frames are arranged before they are sent, None if they stay as they are
    counterparts : by name of the original network's layers; a layer that was lowered to several
        has none
    """

    network: IntegerNetwork
    arrangement: Arrangement | None
    counterparts: Mapping[str, Counterpart]

    def arrange(self, frames: npt.ArrayLike) -> Array:
        """One clip of the original network's frames as the native network reads it."""
        values = np.asarray(frames, np.int64)
        if self.arrangement is not None:
            values = self.arrangement.apply(values[np.newaxis])[0]
        return values.reshape(self.network.input.shape)


@lru_cache(maxsize=8)
def lower_for(network: IntegerNetwork, geometry: Geometry) -> Lowered:
    """``network`` as an array of ``geometry`` runs it.

    Its network is ``network`` itself where nothing had to be changed.

    Raises
    ------
    CompileError
        If a layer has no lowering, branches cannot become a chain, or a weight, a tensor or a shape
        has no exact form.
    """
    native = lower_network(network)
    native, arrangement = arrange_input(native, geometry)
    native = split_pools(split_strides(native), geometry)
    native = split_heads(native, geometry)
    if _is_native(native, geometry):
        counterparts = {layer.name: Counterpart(layer.name, "") for layer in native.layers}
    else:
        native, counterparts = to_chain(native, geometry)
    names = [layer.name for layer in network.layers]
    return Lowered(native, arrangement,
                   {name: counterparts[name] for name in names if name in counterparts})


def _is_native(network: IntegerNetwork, geometry: Geometry) -> bool:
    return network.is_chain and all(
        _is_native_layer(layer, reads, index, geometry)
        for index, (layer, reads) in enumerate(network.steps()))


def _is_native_layer(layer: Layer, reads: TensorSpec, index: int, geometry: Geometry) -> bool:
    if isinstance(layer, Conv2d):
        return ((layer.emits_bits or layer.emits_int8) and layer.dilations == (1, 1)
                and (layer.groups == 1 or runs_depthwise(layer, index, geometry)))
    if isinstance(layer, Dense):
        if reads.is_map and layer.emit == "bit" and not reads_out_maps(geometry):
            return False
        return layer.emit != "levels" and (reads.is_map or reads.low >= 0)
    return True  # of a type from outside, with a walk of its own
