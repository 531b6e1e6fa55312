"""Branches become a chain: which layers are computed beside each other, and what travels along.

The array runs a chain. A stage of it computes all layers that read the same map and have the same
stride, pool and size; a tensor that a later stage reads travels as channels of the stage's map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer, TensorSpec
from bamac.ir.network import FRAMES, IntegerNetwork

from ..errors import CompileError

__all__ = ["Form", "Stage", "plan_stages"]


@dataclass(frozen=True)
class Form:
    """What the layers of a stage have in common.

    Parameters
    ----------
    kind : "conv", "flat" (a dense layer on a map) or "dense"
    shape : rows and columns before the pool, of "conv"
    stride, pool, global_pool : of "conv"
    emit : "bit", "raw" or "unsigned"; "int8" of a convolution that emits values
    shifts : shift and pool shift of "int8"; bits and shift of "unsigned"
    """

    kind: str
    shape: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pool: tuple[int, ...] = (1, 1)
    global_pool: str | None = None
    emit: str = "bit"
    shifts: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, layer: Layer, reads: TensorSpec) -> Form:
        """The form of a layer that reads ``reads``."""
        if isinstance(layer, Conv2d):
            shifts = (layer.shift, layer.pool_shift) if layer.emits_int8 else (0, 0)
            return cls("conv", layer.conv_shape(reads.rows, reads.cols), layer.strides, layer.pool,
                       layer.global_pool, "int8" if layer.emits_int8 else "bit", shifts)
        if not isinstance(layer, Dense):
            raise CompileError(f"{layer.name}: layers of type {type(layer).__name__} cannot stand "
                               "beside levels, groups, dilation or branches; lower it to "
                               "convolutions and dense layers")
        emit = "bit" if layer.emit == "levels" else layer.emit
        return cls("flat" if reads.is_map else "dense", emit=emit,
                   shifts=(layer.bits, layer.shift) if emit == "unsigned" else (0, 0))

    def keeps(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of ``shape`` can travel through a stage of this form."""
        if self.kind == "conv":
            return ((self.stride, self.pool, self.global_pool) == ((1, 1), (1, 1), None)
                    and self.shape == tuple(shape[1:]))
        return self.kind == "dense" and self.emit != "raw"


@dataclass(frozen=True, eq=False)
class Stage:
    """Layers that are computed at once.

    Parameters
    ----------
    form : Form
    layers : those that are computed
    carried : names of tensors that later stages read, and that travel through this one
    reads : shape of what the stage reads; channels of no meaning
    """

    form: Form
    layers: tuple[Layer, ...]
    carried: tuple[str, ...]
    reads: tuple[int, ...]


def plan_stages(network: IntegerNetwork) -> list[Stage]:
    """The stages of ``network`` in their order.

    Raises
    ------
    CompileError
        If two branches are of different sizes at the same time.
    """
    specs: dict[str, TensorSpec] = {}
    forms: dict[str, Form] = {}
    for layer, reads in network.steps():
        specs[layer.name] = reads
        forms[layer.name] = Form.of(layer, reads)
    alive, remaining = [FRAMES], list(network.layers)
    stages: list[Stage] = []
    while remaining:
        stage = _next(network, alive, remaining, specs, forms)
        stages.append(stage)
        alive = [*(layer.name for layer in stage.layers), *stage.carried]
        remaining = [layer for layer in remaining if layer not in stage.layers]
    return stages


def _next(network: IntegerNetwork, alive: list[str], remaining: list[Layer],
          specs: dict[str, TensorSpec], forms: dict[str, Form]) -> Stage:
    groups: dict[Form, list[Layer]] = {}
    for layer in remaining:
        if all(source in alive for source in network.inputs_of(layer.name)):
            groups.setdefault(forms[layer.name], []).append(layer)
    left_out: list[tuple[Any, ...]] = []
    shape = specs[next(iter(groups.values()))[0].name].shape
    for form, layers in sorted(groups.items(), key=lambda item: not item[0].keeps(shape)):
        needed = {source for layer in remaining if layer not in layers
                  for source in network.inputs_of(layer.name)}
        carried = tuple(name for name in alive if name in needed)
        if not carried or form.keeps(shape):
            return Stage(form, tuple(layers), carried, shape)
        left_out.append((layers[0], carried))
    layer, carried = left_out[0]
    readers = [other.name for other in remaining if other is not layer
               and set(network.inputs_of(other.name)) & set(carried)]
    raise CompileError(
        f"{layer.name}: it changes the size of the map, and {readers[0]} still reads "
        f"{' and '.join(carried)} as it was; the array holds maps of one size at a time: give both "
        f"branches the same stride and pool, or change the size before they part")
