"""Native layers of the stages: bits for levels, zeros for groups and dilation, carried channels.

Weights are spread over the signals of the map in front (:mod:`.signals`). Where one is beyond 127,
the signal is made several times, and the copies share the weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from bamac.ir.checks import WEIGHT_MAX, Array
from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer
from bamac.ir.network import FRAMES, IntegerNetwork
from bamac_hw.geometry import Geometry

from ..errors import CompileError
from .blocks import Block, StageBlocks, stage_blocks
from .counterpart import Counterpart
from .heads import reads_out_maps
from .signals import Encoding
from .stages import Stage, plan_stages

__all__ = ["to_chain"]


@dataclass(eq=False)
class _Built:
    """A stage with its signals.

    ``copies`` counts how often each signal is made, :data:`ONE` last; ``order`` has the signals in
    the order of the native channels.
    """

    stage: Stage
    blocks: StageBlocks
    copies: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    order: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def positions(self, index: Array) -> Array:
        """Native channel of the first copy of each signal in ``index``."""
        where = np.full(len(self.copies), -1, np.int64)
        where[self.order[::-1]] = np.arange(len(self.order))[::-1]
        found: Array = where[index]
        return found


def to_chain(network: IntegerNetwork,
             geometry: Geometry) -> tuple[IntegerNetwork, dict[str, Counterpart]]:
    """The network as a chain of native layers, and where each of its layers stands in it.

    Raises
    ------
    CompileError
        If branches cannot become a chain, or a tensor cannot travel.
    """
    source = network.input
    encodings = {FRAMES: Encoding(np.arange(source.channels)[:, np.newaxis],
                                  most=source.max - source.zero_point,
                                  least=source.min - source.zero_point)}
    signals = source.channels
    built: list[_Built] = []
    for stage in plan_stages(network):
        blocks = stage_blocks(network, stage, encodings, signals)
        built.append(_Built(stage, blocks))
        encodings, signals = blocks.encodings, blocks.signals
    _count_copies(built, source.channels)
    layers: list[Layer] = []
    counterparts: dict[str, Counterpart] = {}
    before: _Built | None = None
    for each in built:
        layer = _native(each, before, geometry, first=before is None)
        layers.append(layer)
        for member, block in zip(each.stage.layers, each.blocks.blocks, strict=False):
            counterparts[member.name] = _counterpart(member, layer, block, each)
        before = each
    return replace(network, layers=tuple(layers), inputs={}), counterparts


def _count_copies(built: list[_Built], channels: int) -> None:
    """From the last stage up: as many copies as the weights behind need, of all that is read."""
    needed = np.zeros(built[-1].blocks.signals + 1, np.int64)
    for each in reversed(built):
        least = np.concatenate([block.least_copies() for block in each.blocks.blocks])
        each.copies = np.maximum(needed[:len(least)], least)
        each.order = np.repeat(np.arange(len(each.copies)), each.copies)
        weights = each.blocks.weights(np.flatnonzero(each.copies))
        most = np.abs(weights).max(axis=(0, 2, 3))
        needed = -(-most // WEIGHT_MAX)
    if needed[:channels].max(initial=0) > 1:
        name = built[0].stage.layers[0].name
        raise CompileError(f"{name}: its weights on the frames, added up, reach {int(most.max())}, "
                           f"more than {WEIGHT_MAX}; let it read the frames once, with weights of "
                           f"fewer bits")


def _shared(weights: Array, before: _Built | None) -> Array:
    """``weights`` (out, signals + 1, ...) on the native channels in front."""
    if before is None:
        return weights[:, :-1]
    order = before.order
    of_channel = weights[:, order]
    taken = WEIGHT_MAX * _copy_numbers(order)[np.newaxis, :, np.newaxis, np.newaxis]
    shared: Array = np.sign(of_channel) * np.clip(np.abs(of_channel) - taken, 0, WEIGHT_MAX)
    return shared


def _copy_numbers(order: Array) -> Array:
    """Which copy of its signal each native channel is, from 0."""
    seen: dict[int, int] = {}
    numbers = []
    for signal in order.tolist():
        numbers.append(seen.get(signal, 0))
        seen[signal] = numbers[-1] + 1
    return np.array(numbers, np.int64)


def _native(each: _Built, before: _Built | None, geometry: Geometry, *, first: bool) -> Layer:
    form, blocks = each.stage.form, each.blocks
    name = "+".join(layer.name for layer in each.stage.layers)
    weights = _shared(blocks.weights(each.order), before)
    constants = blocks.constants(each.order)
    if form.kind == "conv":
        return _conv(name, each, weights, constants, geometry, first=first)
    if form.kind == "flat" and form.emit == "bit" and not reads_out_maps(geometry):
        return Conv2d(name, weights, constants, global_pool="max")
    flat = weights.reshape(len(weights), -1)
    if form.emit == "bit":
        return Dense(name, flat, -constants, "bit")
    if form.emit == "unsigned":
        return Dense(name, flat, constants, "unsigned", *form.shifts)
    return Dense(name, flat, constants)


def _conv(name: str, each: _Built, weights: Array, constants: Array, geometry: Geometry, *,
          first: bool) -> Conv2d:
    form, groups = each.stage.form, 1
    if geometry.depthwise and not first and any(
            isinstance(layer, Conv2d) and layer.groups > 1 for layer in each.stage.layers):
        turned = _own_channels(weights)
        if turned is not None:
            each.order = each.order[turned]
            weights, constants = weights[turned], constants[turned]
            groups = len(weights)
            weights = weights[np.arange(groups), np.arange(groups)][:, np.newaxis]
    return Conv2d(name, weights, constants if form.emit == "bit" else None, form.stride,
                    each.blocks.padding, form.pool, form.global_pool, groups=groups,
                    bias=None if form.emit == "bit" else constants,
                    shift=form.shifts[0], pool_shift=form.shifts[1])


def _own_channels(weights: Array) -> Array | None:
    """The order of output channels in which each reads its own input channel alone, if any is.

    An output without weights may stand anywhere.
    """
    reads = (weights != 0).any(axis=(2, 3))
    outputs, inputs = reads.shape
    if outputs != inputs or (reads.sum(axis=1) > 1).any() or (reads.sum(axis=0) > 1).any():
        return None
    order = np.full(inputs, -1, np.int64)
    for output in np.flatnonzero(reads.any(axis=1)):
        order[int(reads[output].argmax())] = output
    order[order < 0] = np.flatnonzero(~reads.any(axis=1))
    return order


def _counterpart(member: Layer, native: Layer, block: Block, each: _Built) -> Counterpart:
    assert isinstance(member, Conv2d | Dense)
    low, step = (member.low, member.step) if block.is_levels else (0, 1)
    return Counterpart(native.name, "bits" if isinstance(member, Conv2d) else "outputs",
                       each.positions(block.index), low, step)
