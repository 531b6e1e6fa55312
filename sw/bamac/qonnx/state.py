"""What the importer knows at one place of the chain: the current tensor, and layers in the making.

The current tensor is one of three things: the input before its quantiser (:class:`Real`), integers
(:class:`Integers`), or the sums of a layer that has no quantiser yet (:class:`Accumulators`). A
draft collects the numbers of one layer until its name is known and it becomes a layer of the
integer network.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bamac.ir.network import Conv2d, Dense

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["Accumulators", "ConvDraft", "DenseDraft", "Integers", "LayerDraft", "Real"]


class LayerDraft:
    """A layer in the making: what any kind of layer must supply.

    A draft is closed once, when the quantiser of its outputs is reached, by one of the two
    ``close`` methods. The last dense layer has no quantiser and stays open until the end.

    Attributes
    ----------
    kind : str
        Names a layer without a usable name of its own: ``conv1``, ``dense2``.
    name : str
        Of the graph's node; may be empty, and need not be unique.
    weights : int64 array
        Output channel first, within -127..127.
    """

    kind: ClassVar[str]
    name: str
    weights: np.ndarray

    def close_with_step(self, thresholds: np.ndarray) -> None:
        """Let the layer emit the bits ``acc >= thresholds[channel]`` (int64, one per channel)."""
        raise NotImplementedError

    def close_with_shift(self, bias: np.ndarray, bits: int, shift: int) -> None:
        """Let the layer emit ``clamp((acc + bias[channel]) >> shift)``, unsigned, of ``bits``."""
        raise NotImplementedError

    def build(self, name: str, carried: tuple[int, int] | None):
        """The finished layer, with ``name``.

        ``carried`` are bits and shift that only the metadata holds, or None.
        """
        raise NotImplementedError


@dataclass(eq=False)
class ConvDraft(LayerDraft):
    """A :class:`bamac.ir.network.Conv2d` in the making; its fields are named alike."""

    kind: ClassVar[str] = "conv"

    name: str
    weights: np.ndarray
    stride: int
    padding: tuple[int, int, int, int]
    pool: tuple[int, int] = (1, 1)
    global_pool: str | None = None
    thresholds: np.ndarray | None = None
    bias: np.ndarray | None = None
    shift: int = 0
    pool_shift: int = 0

    def close_with_step(self, thresholds: np.ndarray) -> None:
        self.thresholds = thresholds

    def close_with_shift(self, bias: np.ndarray, bits: int, shift: int) -> None:
        # The outputs have 8 bits, always: the quantiser's handler has checked it
        self.bias, self.shift = bias, shift

    def build(self, name: str, carried: tuple[int, int] | None) -> Conv2d:
        return Conv2d(name, self.weights, self.thresholds, self.stride, self.padding, self.pool,
                      self.global_pool, self.bias, self.shift, self.pool_shift)


@dataclass(eq=False)
class DenseDraft(LayerDraft):
    """A :class:`bamac.ir.network.Dense` in the making; its fields are named alike."""

    kind: ClassVar[str] = "dense"

    name: str
    weights: np.ndarray
    bias: np.ndarray | None = None
    emit: str = "raw"
    bits: int = 8
    shift: int = 0

    def close_with_step(self, thresholds: np.ndarray) -> None:
        self.bias, self.emit = -thresholds, "bit"

    def close_with_shift(self, bias: np.ndarray, bits: int, shift: int) -> None:
        self.bias, self.emit, self.bits, self.shift = bias, "unsigned", bits, shift

    def build(self, name: str, carried: tuple[int, int] | None) -> Dense:
        bits, shift = self.bits, self.shift
        if self.emit != "unsigned" and carried is not None:
            bits, shift = carried
        return Dense(name, self.weights, self.bias, self.emit, bits, shift)


@dataclass(eq=False)
class Real:
    """The current tensor is the graph's input before its ``Quant``.

    ``shape`` is (1, 1, rows, cols).
    """

    shape: tuple[int, ...]


@dataclass(eq=False)
class Integers:
    """The current tensor is ``scale * n + offset`` for unsigned integers n, or for input frames.

    Attributes
    ----------
    shape : tuple of int
        (1, channels, rows, cols) of a map, (1, channels) of a vector.
    scale, offset : Fraction
        The same for all channels.
    bits : int
        Of n.
    is_input : bool
        Whether these are the network's frames, which may be signed.
    padding : (top, bottom, left, right)
        Of a ``Pad`` node, for the convolution that follows directly.
    """

    shape: tuple[int, ...]
    scale: Fraction
    offset: Fraction
    bits: int
    is_input: bool = False
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(eq=False)
class Accumulators:
    """The current tensor is ``gain[c] * acc[c] + offset[c]`` of a layer that is still open.

    Attributes
    ----------
    shape : tuple of int
        (1, channels, rows, cols) of a map, (1, channels) of a vector.
    layer : LayerDraft
        Whose integer sums ``acc`` are.
    gain, offset : list of Fraction
        One per output channel.
    pooled : bool
        Whether a max pool has been passed, so that from here on gains must be positive.
    relu : NodeProto or None
        The ReLU that has been passed. An unsigned quantiser clamps at 0 itself and makes it
        redundant; nothing that moves the zero may come in between.
    """

    shape: tuple[int, ...]
    layer: LayerDraft
    gain: list[Fraction]
    offset: list[Fraction]
    pooled: bool = False
    relu: NodeProto | None = None
