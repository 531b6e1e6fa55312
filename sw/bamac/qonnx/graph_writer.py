"""Collects the nodes and constants of an ONNX graph, in the forms that our export uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bamac.ir.network import GraphError

__all__ = ["HALVES", "INTEGERS", "OUTPUT_NAMES", "QONNX_DOMAIN", "GraphWriter", "Tensor",
           "check_magnitude"]

QONNX_DOMAIN = "qonnx.custom_op.general"
OUTPUT_NAMES = {"bits": "{}/bits", "outputs": "{}/outputs", "vector": "vector", "raw": "raw",
                "scores": "scores"}
"""Names of the tensors that hold what the reference calls by these names; {} is the layer's."""

INTEGERS = 1 << 24
"""float32 holds every integer below this magnitude."""
HALVES = 1 << 23
"""float32 holds every integer and a half below this magnitude."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph, and what a layer that reads it must know.

    Attributes
    ----------
    name : str
    shape : tuple of int
        With the batch axis, which is 1.
    magnitude : int
        The largest magnitude that an element can have, as far as the widths of integers tell.
    """

    name: str
    shape: tuple[int, ...]
    magnitude: int


def check_magnitude(name: str, magnitude: int, limit: int, what: str) -> None:
    """Raise :class:`GraphError` if ``what`` of layer ``name`` is not below ``limit``."""
    if magnitude >= limit:
        raise GraphError(f"{name}: {what} must stay below 2^{limit.bit_length() - 1} for float32 "
                         f"to be exact, not reach {magnitude}")


class GraphWriter:
    """Collects nodes and constants; constants of one name are shared.

    Attributes
    ----------
    nodes : list of NodeProto
    constants : dict of name to array
    shapes : list of (name of a node's output, its shape)
    """

    def __init__(self) -> None:
        from onnx import helper

        self._make_node = helper.make_node
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: list[tuple[str, tuple[int, ...]]] = []

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant, unless one of this name exists; return ``name``."""
        self.constants.setdefault(name, np.asarray(value, dtype))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, shape: Sequence[int],
             name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output of ``shape``; return ``output``.

        The node is called ``name``, or like its output.
        """
        domain = QONNX_DOMAIN if op in ("Quant", "MultiThreshold") else ""
        self.nodes.append(self._make_node(op, inputs, [output], name=name or output,
                                          domain=domain, **attributes))
        self.shapes.append((output, tuple(int(size) for size in shape)))
        return output

    def quant(self, tensor: str, output: str, shape: Sequence[int], bits: int, signed: bool,
              scale: int = 1, rounding: str = "ROUND", narrow: int = 0) -> str:
        """Add a ``Quant`` with zero point 0; return ``output``."""
        inputs = [tensor, self.constant(f"const/{scale}", scale), self.constant("const/0", 0),
                  self.constant(f"const/{bits}", bits)]
        return self.node("Quant", inputs, output, shape, signed=int(signed), narrow=narrow,
                         rounding_mode=rounding)

    def weights(self, name: str, array: np.ndarray) -> str:
        """Add int8 weights of layer ``name`` behind a narrow ``Quant``; return their tensor."""
        raw = self.constant(f"{name}/weights", array)
        return self.quant(raw, f"{name}/weights_q", array.shape, 8, True, narrow=1)

    def unsigned(self, tensor: str, output: str, shape: Sequence[int], bits: int, shift: int,
                 floor: str) -> str:
        """Add ``clamp(tensor >> shift)`` to unsigned integers of ``bits``; return ``output``.

        ``floor`` names the tensor in between, if there is one.
        """
        if shift == 0:
            return self.quant(tensor, output, shape, bits, False, rounding="FLOOR")
        # Quant keeps the magnitude of what it rounds; a power of two takes it back to integers
        scaled = self.quant(tensor, floor, shape, bits, False, 1 << shift, "FLOOR")
        return self.node("Mul", [scaled, self.constant(f"const/2^-{shift}", 2.0 ** -shift)],
                         output, shape)

    def step(self, tensor: str, output: str, shape: Sequence[int]) -> str:
        """Add the bit ``tensor > 0``; return ``output``."""
        return self.quant(tensor, output, shape, 1, False, rounding="CEIL")

    def levels(self, tensor: str, output: str, shape: Sequence[int], layer: Any) -> str:
        """Add ``low + step * count`` of the layer's thresholds that are reached; return ``output``.
        """
        thresholds = layer.thresholds.reshape(layer.out_channels, -1)
        limits = self.constant(f"{layer.name}/thresholds", thresholds)
        # qonnx takes attributes for floats only where they are written as such
        return self.node("MultiThreshold", [tensor, limits], output, shape,
                         out_scale=float(layer.step), out_bias=float(layer.low))

    def joined(self, name: str, parts: Sequence[Tensor]) -> Tensor:
        """What layer ``name`` reads of ``parts``: their channels one behind the other."""
        if len(parts) == 1:
            return parts[0]
        shape = (1, sum(part.shape[1] for part in parts), *parts[0].shape[2:])
        joined = self.node("Concat", [part.name for part in parts], f"{name}/joined", shape, axis=1)
        return Tensor(joined, shape, max(part.magnitude for part in parts))
