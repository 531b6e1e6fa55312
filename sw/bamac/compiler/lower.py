"""Replace layers by native ones, which the array walks.

A layer type from outside the package needs two things: a class derived from
:class:`bamac.ir.layer.Layer` and a lowering::

    @dataclass(frozen=True, eq=False)
    class Pointwise(Layer):
        \"\"\"Convolution of one pixel with weights (out_channels, in_channels).\"\"\"

        name: str
        weights: np.ndarray
        thresholds: np.ndarray

        kind = "pointwise"
        reads_map = True

        @property
        def in_channels(self):
            return self.weights.shape[1]

        @property
        def out_channels(self):
            return self.weights.shape[0]

        def output(self, before):
            return TensorSpec((self.out_channels, before.rows, before.cols), 0, 1)

        def run(self, activations, before, *, keep_acc=False):
            acc = np.einsum("oi,irc->orc", self.weights, activations)
            bits = (acc >= self.thresholds[:, None, None]).astype(np.uint8)
            return ConvTrace(self.name, bits, bits, None, acc if keep_acc else None)

    @lowering(Pointwise)
    def _(layer, before):
        return Conv2d(layer.name, layer.weights[:, :, None, None], layer.thresholds)

The reference runs the layer as it is, the compiler and the cycle model run what it is lowered to,
and :mod:`bamac.verify` compares the two under the layer's name where the lowering keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bamac.ir.layer import Layer, TensorSpec
from bamac.ir.network import IntegerNetwork

from .errors import CompileError
from .walks import is_native

__all__ = ["lower_network", "lowering"]

Lowering = Callable[[Any, TensorSpec], Layer | Sequence[Layer]]

_LOWERINGS: dict[type[Layer], Lowering] = {}
_DEPTH_MOST = 16


def lowering(layer_class: type[Layer]) -> Callable[[Lowering], Lowering]:
    """Register the function that replaces a layer of ``layer_class``.

    It is called with the layer and the :class:`bamac.ir.layer.TensorSpec` of what it reads, and
    returns a layer, or several that follow each other. They may be of types that are lowered in
    turn. A single one should keep the layer's name, so that its map is compared with the RTL's.

    Raises
    ------
    ValueError
        If the class has a lowering already.
    """
    def register(function: Lowering) -> Lowering:
        if layer_class in _LOWERINGS:
            raise ValueError(f"Layers of type {layer_class.__name__} have a lowering already")
        _LOWERINGS[layer_class] = function
        return function
    return register


def lower_network(network: IntegerNetwork) -> IntegerNetwork:
    """The network with native layers only, or ``network`` itself if it has no others.

    Raises
    ------
    CompileError
        If a layer is neither native nor has a lowering, or if what it is lowered to hands on
        another shape or range than it.
    GraphError
        If the layers that replace it do not fit each other.
    """
    lowered: list[Layer] = []
    for layer, before in network.steps():
        lowered += _native(layer, before, _DEPTH_MOST)
    if all(new is old for new, old in zip(lowered, network.layers, strict=False)):
        return network
    return replace(network, layers=tuple(lowered))


def _native(layer: Layer, before: TensorSpec, depth: int) -> list[Layer]:
    function = _lowering_of(layer)
    if function is None:
        return [layer]
    if depth == 0:
        raise CompileError(f"{layer.name}: lowering layers of type {type(layer).__name__} "
                           f"does not end")
    result = function(layer, before)
    parts = [result] if isinstance(result, Layer) else list(result)
    native, reads = [], before
    for part in parts:
        native += _native(part, reads, depth - 1)
        reads = part.output(reads)
    wanted = layer.output(before)
    if reads != wanted and not layer.emits_scores:
        raise CompileError(f"{layer.name}: its lowering must hand on {wanted}, not {reads}")
    return native


def _lowering_of(layer: Layer) -> Lowering | None:
    """The lowering of the closest class that has one, or None if a native class is closer."""
    for layer_class in type(layer).__mro__:
        if layer_class in _LOWERINGS:
            return _LOWERINGS[layer_class]
        if is_native(layer_class):
            return None
    raise CompileError(f"{layer.name}: layers of type {type(layer).__name__} have no lowering; "
                       f"register one with bamac.compiler.lowering")
