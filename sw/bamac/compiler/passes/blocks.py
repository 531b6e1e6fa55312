"""The signals that a stage makes: of its layers, of tensors that travel along, and a constant one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from bamac.ir.checks import VALUE_MAX, WEIGHT_MAX, Array
from bamac.ir.conv import Conv2d
from bamac.ir.dense import Dense
from bamac.ir.layer import Layer
from bamac.ir.network import IntegerNetwork

from ..errors import CompileError
from .signals import Encoding, on_signals, without_groups
from .stages import Stage

__all__ = ["Block", "StageBlocks", "stage_blocks"]

CARRIED_LEVELS_MOST = 15  # values of 4 bits


@dataclass(frozen=True, eq=False)
class Block:
    """Signals with what they are computed from.

    Parameters
    ----------
    index : int array (channels, signals of each), their numbers in the stage
    weights : int64 array (channels, signals in front + 1, kernel_rows, kernel_cols)
    constants : int64 array of ``index``'s shape: thresholds where the stage emits bits, else biases
    required : whether they are made even if no later stage reads them
    is_levels : whether a layer's ``low`` and ``step`` say what its signals stand for
    """

    index: Array
    weights: Array
    constants: Array
    required: bool = False
    is_levels: bool = False

    def least_copies(self) -> Array:
        """For each signal, how often it is made at least."""
        return np.full(self.index.size, int(self.required), np.int64)


@dataclass(eq=False)
class StageBlocks:
    """All signals of a stage: those of its layers, of carried tensors, and the constant one last.

    Parameters
    ----------
    encodings : of every tensor that the stage hands on
    signals : how many, without the constant one
    padding : (top, bottom, left, right) of its kernel
    """

    blocks: list[Block]
    encodings: dict[str, Encoding]
    signals: int
    padding: tuple[int, ...]

    def weights(self, chosen: Array) -> Array:
        """Weights of the signals ``chosen``: (len(chosen), signals in front + 1, rows, cols)."""
        found: Array = np.concatenate([np.repeat(block.weights, block.index.shape[1], axis=0)
                                       for block in self.blocks])[chosen]
        return found

    def constants(self, chosen: Array) -> Array:
        """Thresholds or biases of the signals ``chosen``."""
        found: Array = np.concatenate([block.constants.reshape(-1)
                                       for block in self.blocks])[chosen]
        return found


@dataclass(frozen=True)
class _Kernel:
    """The kernel that holds those of all layers of a stage.

    Parameters
    ----------
    size : (rows, cols)
    padding : (top, bottom, left, right)
    """

    size: tuple[int, int] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)

    @classmethod
    def of(cls, stage: Stage) -> _Kernel:
        convs = [layer for layer in stage.layers if isinstance(layer, Conv2d)]
        if len(convs) == 1 and not stage.carried:
            rows, cols = convs[0].span
            return cls((rows, cols), convs[0].padding)
        rows, above, below = _merged(
            [(conv.span[0], conv.padding[0]) for conv in convs], stage, 0)
        cols, left, right = _merged(
            [(conv.span[1], conv.padding[2]) for conv in convs], stage, 1)
        return cls((rows, cols), (above, below, left, right))

    def place(self, weights: Array, padding: tuple[int, ...]) -> Array:
        """``weights`` (out, in, rows, cols) of a kernel with its own ``padding``, in this one."""
        above, left = self.padding[0] - padding[0], self.padding[2] - padding[2]
        rows, cols = weights.shape[2:]
        return np.pad(weights, ((0, 0), (0, 0), (above, self.size[0] - above - rows),
                                (left, self.size[1] - left - cols)))


def _merged(kernels: list[tuple[int, int]], stage: Stage, axis: int) -> tuple[int, int, int]:
    """Size and padding before and behind, along an axis, of the kernel that holds ``kernels``."""
    before = max(padding for _, padding in kernels)
    size = max([before - padding + span for span, padding in kernels]
               + [before + 1] * bool(stage.carried))
    outputs, stride, inputs = stage.form.shape[axis], stage.form.stride[axis], stage.reads[axis + 1]
    behind = (outputs - 1) * stride + size - inputs - before
    if behind < 0:
        behind = 0
        if (inputs + before - size) // stride + 1 > outputs:
            size = inputs + before - (outputs - 1) * stride
    return size, before, behind


def stage_blocks(network: IntegerNetwork, stage: Stage, before: Mapping[str, Encoding],
                 signals: int) -> StageBlocks:
    """The blocks of a stage that reads ``signals`` signals, which hold the tensors ``before``."""
    kernel = _Kernel.of(stage) if stage.form.kind == "conv" else _Kernel(
        (stage.reads[1], stage.reads[2]) if stage.form.kind == "flat" else (1, 1))
    made = StageBlocks([], {}, 0, kernel.padding)
    for layer in stage.layers:
        sources = [before[name] for name in network.inputs_of(layer.name)]
        _add(made, layer.name, *_layer_block(layer, stage, kernel, sources, signals, made.signals))
    for name in stage.carried:
        _add(made, name, *_carried_block(name, before[name], stage, kernel, signals, made.signals))
    if stage.form.kind == "conv" and stage.form.global_pool is None:
        value = 0 if stage.form.emit == "bit" else 1 << stage.form.shifts[0]
        made.blocks.append(Block(
            np.array([[made.signals]]), np.zeros((1, signals + 1, *kernel.size), np.int64),
            np.array([[value]])))
    return made


def _add(made: StageBlocks, name: str, block: Block, encoding: Encoding) -> None:
    made.blocks.append(block)
    made.encodings[name] = encoding
    made.signals += block.index.size


def _layer_block(layer: Layer, stage: Stage, kernel: _Kernel, sources: list[Encoding],
                 signals: int, first: int) -> tuple[Block, Encoding]:
    if isinstance(layer, Conv2d):
        found = on_signals(without_groups(layer), sources, signals, padded=any(layer.padding))
        weights = kernel.place(found.weights, layer.padding)
        thresholds = layer.thresholds
        bias = layer.bias
    else:
        assert isinstance(layer, Dense)
        sizes = kernel.size
        found = on_signals(layer.weights.reshape(layer.out_channels, -1, *sizes), sources, signals,
                           padded=False)
        weights, bias, thresholds = found.weights, layer.bias, None
        if layer.emit == "bit":
            thresholds = -layer.bias
        elif layer.thresholds is not None:
            thresholds = layer.thresholds.reshape(layer.out_channels, -1) - layer.bias[:, None]
    is_levels = thresholds is not None
    if thresholds is not None:
        weights, constants = _reduced(
            weights, thresholds.reshape(len(weights), -1) - found.constant[:, np.newaxis])
    else:
        assert bias is not None
        constants = (bias + found.constant)[:, np.newaxis]
    index = first + np.arange(constants.size).reshape(constants.shape)
    return (Block(index, weights, constants, required=True, is_levels=is_levels),
            _result(layer, stage, index))


def _reduced(weights: Array, thresholds: Array) -> tuple[Array, Array]:
    """The same steps with the weights of each output divided by their common factor."""
    factor = np.gcd.reduce(weights.reshape(len(weights), -1), axis=1)
    factor = np.maximum(factor, 1)
    return (weights // factor[:, np.newaxis, np.newaxis, np.newaxis],
            -(-thresholds // factor[:, np.newaxis]))


def _result(layer: Layer, stage: Stage, index: Array) -> Encoding:
    """How a layer's result stands in its signals."""
    form = stage.form
    if isinstance(layer, Conv2d):
        if layer.emits_int8:
            return Encoding(index, most=VALUE_MAX)
        if layer.global_pool == "sum":
            pixels = prod(size // pool for size, pool in zip(form.shape, form.pool, strict=True))
            return Encoding(index, pixels * layer.low, layer.step, most=pixels)
        return Encoding(index, layer.low, layer.step)
    assert isinstance(layer, Dense)
    if layer.emit == "unsigned":
        return Encoding(index, most=(1 << layer.bits) - 1)
    return Encoding(index, layer.low, layer.step)


def _carried_block(name: str, carried: Encoding, stage: Stage, kernel: _Kernel, signals: int,
                   first: int) -> tuple[Block, Encoding]:
    """A tensor that travels through the stage: identity channels."""
    form = stage.form
    channels, each = carried.index.shape
    weights = np.zeros((channels * each, signals + 1, *kernel.size), np.int64)
    tap = kernel.padding[0], kernel.padding[2]
    weights[np.arange(channels * each), carried.index.reshape(-1), tap[0], tap[1]] = 1
    if form.emit != "bit":
        shift = form.shifts[0] if form.emit == "int8" else form.shifts[1]
        most = VALUE_MAX if form.emit == "int8" else (1 << form.shifts[0]) - 1
        if carried.least < 0 or carried.most > most or 1 << shift > WEIGHT_MAX:
            raise CompileError(
                f"{stage.layers[0].name}: {name} cannot travel beside it: its values from "
                f"{carried.least} to {carried.most} do not pass a shift by {shift} to at most "
                f"{most}; let branches begin behind it")
        index = first + np.arange(channels * each).reshape(channels, each)
        return (Block(index, weights << shift, np.zeros((channels * each, 1), np.int64)),
                Encoding(index, carried.low, carried.step, carried.most))
    levels = carried.most - carried.least
    if levels > CARRIED_LEVELS_MOST:
        raise CompileError(
            f"{stage.layers[0].name}: {name} is read again behind it, and travels as {levels} bits "
            f"for each channel, more than {CARRIED_LEVELS_MOST}; quantise the shortcut to at most "
            f"4 bits")
    steps = np.arange(carried.least + 1, carried.most + 1)
    constants = np.tile(steps, (channels * each, 1))
    signals_of = first + np.arange(constants.size)
    low = carried.low + carried.step * each * carried.least
    # Blocks have a row for each signal that travels, encodings one for each channel
    return (Block(signals_of.reshape(constants.shape), weights, constants),
            Encoding(signals_of.reshape(channels, each * levels), low, carried.step))
