"""From a network to a program: the passes in their order.

====================  ==============================================================================
:mod:`.native`        layers become a chain of native ones, by :mod:`.lower` and :mod:`.passes`
:mod:`.walks`         native layers become walks: loop bounds and constants on this geometry
:mod:`.images`        weight rows and start values; proof that no sum leaves the accumulator
:mod:`.rings`         maps and vectors get addresses, with the row counts of :mod:`.schedule`
:mod:`.descriptors`   one descriptor for each layer
:mod:`.manifest`      layer table and use of the memories
====================  ==============================================================================
"""

from __future__ import annotations

import numpy as np

from bamac.ir.network import IntegerNetwork
from bamac_hw.geometry import Geometry
from bamac_hw.program import Program

from .descriptors import write_descriptors
from .errors import CompileError, DoesNotFitError
from .images import place_weights
from .manifest import write_manifest
from .native import lower_for
from .rings import place_rings, place_vectors
from .walks import walks as walks_of

__all__ = ["compile_network"]


def compile_network(network: IntegerNetwork, geometry: Geometry) -> Program:
    """Map every layer of ``network`` onto the array.

    The same network and geometry always give the same program.

    Raises
    ------
    CompileError
        If a layer cannot be mapped exactly, or the network does not fit; the message names the
        layer or the memory, the size needed, and the nearest preset that fits.
    """
    try:
        return _compile(network, geometry)
    except DoesNotFitError as error:
        fitting = []
        for preset in Geometry.presets().values():
            try:
                _compile(network, preset)
            except (CompileError, DoesNotFitError):
                continue
            fitting.append(preset.name)
        advice = (f"preset {fitting[0]} fits" if fitting else
                  "no preset fits; describe a larger array in a .toml file")
        raise CompileError(f"{error}; {advice}") from None


def _compile(network: IntegerNetwork, geometry: Geometry) -> Program:
    lowered = lower_for(network, geometry)
    walks = walks_of(lowered.network, geometry)
    if len(walks) > geometry.max_layers:
        raise DoesNotFitError(f"{network.name}: {len(walks)} layers do not fit array "
                              f"{geometry.name}, which has descriptors for {geometry.max_layers}")
    store = place_weights(network.name, walks, geometry)
    rings = place_rings(network.name, walks, geometry)
    vector_bases = place_vectors(network.name, walks, geometry)
    descriptors = write_descriptors(lowered.network.input, walks, geometry, store, rings,
                                    vector_bases)
    manifest = write_manifest(network, lowered, walks, geometry, store, rings, vector_bases[-1])
    return Program(geometry, np.concatenate(store.images), descriptors, manifest)
