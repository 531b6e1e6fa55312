"""What every layer of an integer network knows about itself.

A layer type from outside the package is a class derived from :class:`Layer` and a function that
replaces it by layers that the array runs, see :mod:`bamac.compiler.lower`. Networks, reference,
compiler, comparison and reports then take it like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from .checks import Array, require

__all__ = ["Hash", "Layer", "LayerTrace", "TensorSpec"]


class Hash(Protocol):
    """What a digest is collected in, such as ``hashlib.sha256()``."""

    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True)
class TensorSpec:
    """Shape and range of the integers that one layer hands to the next.

    Parameters
    ----------
    shape : (channels, rows, cols) of a map, or (features,) of a vector
    low, high : smallest and largest value
    """

    shape: tuple[int, ...]
    low: int
    high: int

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 3

    @property
    def channels(self) -> int:
        """Channels of a map, features of a vector."""
        return self.shape[0]

    @property
    def rows(self) -> int:
        """Of a map."""
        return self.shape[1]

    @property
    def cols(self) -> int:
        """Of a map."""
        return self.shape[2]

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(-self.low, self.high)


class LayerTrace(ABC):
    """What one layer computed on one window.

    Attributes
    ----------
    name : str
        The layer's.
    acc : int64 array or None
        Accumulators, where they were kept.
    """

    name: str
    acc: Array | None

    @property
    @abstractmethod
    def result(self) -> Array:
        """What the next layer reads."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The arrays that are compared with the RTL, by the kinds of ``ir.trace.Trace``."""


class Layer(ABC):
    """One layer of an :class:`bamac.ir.network.IntegerNetwork`, a frozen dataclass.

    A derived class has the fields ``name`` and ``weights``, and implements what is abstract here.

    Attributes
    ----------
    kind : str
        What descriptions call it.
    reads_map : bool
        Whether it reads a map (channels, rows, cols), not a vector (features,).
    """

    kind: ClassVar[str]
    reads_map: ClassVar[bool]
    name: str
    weights: Array

    # --- shapes

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Channels of the map, or features of the vector, that it reads."""

    @property
    @abstractmethod
    def out_channels(self) -> int:
        """Channels or features that it hands on."""

    @property
    def ends_in_vector(self) -> bool:
        """Whether it hands on a vector."""
        return not self.reads_map

    @property
    def emits_int8(self) -> bool:
        """Whether its map holds unsigned values of 8 bits, not bits."""
        return False

    @property
    def emits_scores(self) -> bool:
        """Whether it hands on raw sums, which only the last layer does."""
        return False

    def check_input(self, before: TensorSpec) -> None:
        """Raise :class:`bamac.ir.network.GraphError` if the layer cannot read ``before``."""
        what = "input channels" if self.reads_map else "inputs"
        require(self.in_channels == before.channels,
                f"{self.name}: expects {self.in_channels} {what}, gets {before.channels}")

    @abstractmethod
    def output(self, before: TensorSpec) -> TensorSpec:
        """What it hands on when it reads ``before``."""

    def map_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(channels, rows, cols) of its map before any global pool, if it reads one of ``shape``.
        """
        return self.output(TensorSpec(shape, 0, 1)).shape

    # --- arithmetic

    @abstractmethod
    def run(self, activations: Array, before: TensorSpec, *, keep_acc: bool = False) -> LayerTrace:
        """Compute the layer, by definition.

        Parameters
        ----------
        activations : int array of ``before.shape``
        before : TensorSpec
            Range of the activations.
        keep_acc : bool
            Whether the trace must hold the accumulators.
        """

    # --- counts and descriptions

    @property
    def parameters(self) -> int:
        """Weights, and a bias or a threshold for each output channel."""
        return int(self.weights.size) + self.out_channels

    def map_values(self, before: TensorSpec) -> int:
        """Values of its whole map before any pool; 0 if it reads a vector."""
        return 0

    def products(self, before: TensorSpec) -> int:
        """Products of a weight and an activation, padding included."""
        return int(self.weights.size)

    def describe(self, before: TensorSpec) -> dict[str, Any]:
        """Its sizes as plain values."""
        return {"name": self.name, "inputs": self.in_channels, "outputs": self.out_channels,
                "kind": self.kind, **self.describe_more(before), "macs": self.products(before)}

    def describe_more(self, before: TensorSpec) -> dict[str, Any]:
        """What only this type of layer has, for :meth:`describe`."""
        return {}

    def update_digest(self, digest: Hash) -> None:
        """Add everything that decides the layer's integers to ``digest``.

        Here: the class's name and all of its fields.
        """
        assert is_dataclass(self)
        digest.update(repr(type(self).__name__).encode())
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                digest.update(repr((field.name, value.shape)).encode())
                digest.update(value.astype("<i8").tobytes())
            else:
                digest.update(repr((field.name, value)).encode())
