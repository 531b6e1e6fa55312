"""The integer network: what every level from the export down means by "the network".

An :class:`IntegerNetwork` is a chain of layers over integers. It is produced from a trained
PyTorch network (:mod:`bamac.nn.lowering`) or from a QONNX file (:mod:`bamac.qonnx.importer`), run
by the integer reference (:mod:`bamac.ir.reference`) and mapped onto the array by the compiler
(:mod:`bamac.compiler`). Nothing in it is a float, except the scale of the final score and the
quantisation of the front end, which hardware never sees.

Axes: an activation map is ``(channels, rows, cols)``; a row is one frame in time, a column one
feature (mel band). Kernels, strides, pools and paddings are ``(row, col)`` in that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .bounds import memory_count
from .checks import SHIFT_MAX, VALUE_MAX, WEIGHT_MAX, GraphError, require
from .conv import MAX_KERNEL, Conv2d
from .dense import Dense
from .layer import Layer, TensorSpec

__all__ = ["MAX_KERNEL", "SHIFT_MAX", "VALUE_MAX", "WEIGHT_MAX", "Conv2d", "Dense", "FrontEnd",
           "GraphError", "InputSpec", "IntegerNetwork", "Layer", "TensorSpec"]


@dataclass(frozen=True)
class InputSpec:
    """The integer frames that the network reads: ``(rows, cols)`` values of ``bits`` bits.

    ``signed`` values are two's complement with zero point 0, so padding is the integer 0.
    """

    rows: int
    cols: int
    bits: int = 8
    signed: bool = True

    def __post_init__(self) -> None:
        require(self.rows >= 1 and self.cols >= 1,
                f"Input must have at least one row and column, not {self.rows} x {self.cols}")
        low = 2 if self.signed else 1
        require(low <= self.bits <= 8, f"Input bits must be in {low}..8, not {self.bits}")

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        return (1 << (self.bits - self.signed)) - 1


@dataclass(frozen=True)
class FrontEnd:
    """How audio becomes the input's integers: ``clamp(round((ln_power - offset) * steps))``.

    ``kind`` names the feature extraction (see :mod:`bamac.frontends.log_mel`); None means that the
    network reads frames that are integers already.
    """

    kind: str | None = None
    offset: float = 0.0
    steps: float = 1.0


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A checked chain of layers: convolutions, the last with a global pool, then dense layers.

    ``score = raw * score_scale + score_offset`` gives the real score of each output.

    Raises
    ------
    GraphError
        If a layer cannot read what the one before hands on, or the chain is no such network.
    """

    name: str
    input: InputSpec
    layers: Sequence[Layer]
    score_scale: float = 1.0
    score_offset: float = 0.0
    front_end: FrontEnd = field(default_factory=FrontEnd)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        maps, vectors = self.map_layers, self.vector_layers
        require(maps and vectors,
                f"{self.name}: network must have at least one convolution and one dense layer")
        names = [layer.name for layer in self.layers]
        require(len(set(names)) == len(names), f"{self.name}: layer names must differ: {names}")
        require(self.layers == maps + vectors,
                f"{self.name}: every convolution must come before the first dense layer")
        for layer, before in self.steps():
            layer.check_input(before)
            if layer.reads_map:
                require((layer is maps[-1]) == layer.ends_in_vector,
                        f"{layer.name}: the last convolution, and no other, must end in a global "
                        f"pool")
                require(layer.emits_int8 == self.int8_maps,
                        f"{layer.name}: the maps of all convolutions must be alike, bits or values")
            else:
                require((layer is vectors[-1]) == layer.emits_scores,
                        f"{layer.name}: the last dense layer, and no other, must emit raw scores")

    @property
    def map_layers(self) -> tuple[Layer, ...]:
        """The layers that read a map."""
        return tuple(layer for layer in self.layers if layer.reads_map)

    @property
    def vector_layers(self) -> tuple[Layer, ...]:
        """The layers that read a vector."""
        return tuple(layer for layer in self.layers if not layer.reads_map)

    @property
    def convs(self) -> tuple[Conv2d, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Conv2d))

    @property
    def denses(self) -> tuple[Dense, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def int8_maps(self) -> bool:
        """Whether the maps hold 8-bit values, not bits."""
        return self.map_layers[0].emits_int8

    def steps(self) -> Iterator[tuple[Layer, TensorSpec]]:
        """Each layer in execution order, with what it reads."""
        reads = TensorSpec((1, self.input.rows, self.input.cols), self.input.min, self.input.max)
        for layer in self.layers:
            yield layer, reads
            reads = layer.output(reads)

    def map_shapes(self) -> list[tuple[int, ...]]:
        """``(channels, rows, cols)`` at the input of each convolution, and after the last one."""
        shapes = [before.shape for layer, before in self.steps() if layer.reads_map]
        last = self.map_layers[-1]
        return [*shapes, last.map_shape(shapes[-1])]

    def vector_bits(self) -> list[int]:
        """Bits of the unsigned vector at the input of each dense layer."""
        return [before.high.bit_length() for layer, before in self.steps() if not layer.reads_map]

    def memory_count(self) -> dict[str, int]:
        """Bytes by the paper's count, see :func:`bamac.ir.bounds.memory_count`."""
        return memory_count(sum(layer.parameters for layer in self.layers),
                            sum(layer.map_values(before) for layer, before in self.steps()),
                            int8_maps=self.int8_maps)

    def describe(self) -> dict[str, Any]:
        """Sizes as plain values, as ``bamac inspect --json`` prints them."""
        layers = [layer.describe(before) for layer, before in self.steps()]
        return {"name": self.name, "digest": self.digest(),
                "input": {"rows": self.input.rows, "cols": self.input.cols,
                          "bits": self.input.bits, "signed": self.input.signed},
                "front_end": {"kind": self.front_end.kind, "offset": self.front_end.offset,
                              "steps": self.front_end.steps},
                "parameters": sum(layer.parameters for layer in self.layers),
                "macs": sum(layer["macs"] for layer in layers),
                "memory_count": self.memory_count(), "layers": layers}

    def digest(self) -> str:
        """SHA-256 over everything that decides the network's integers and its score."""
        digest = hashlib.sha256()
        digest.update(repr(("bamac-network-1", self.input, self.score_scale, self.score_offset,
                            self.front_end)).encode())
        for layer in self.layers:
            layer.update_digest(digest)
        return digest.hexdigest()
