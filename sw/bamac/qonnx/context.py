"""What a handler of an operator sees of the import, and changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from bamac.ir.network import GraphError, InputSpec

from .graph import Constant, Graph, refuse
from .state import Accumulators, ConvDraft, Integers, LayerDraft, Real

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["ImportContext"]

_State = TypeVar("_State", Real, Integers, Accumulators)


class ImportContext:
    """One walk along the chain: where it is, what it has found, and how to refuse.

    A handler reads the node's ``attributes`` and parameters, and changes ``state``. A handler of a
    layer opens a draft, a handler of a quantiser closes it and appends it to ``layers``.

    Parameters
    ----------
    graph : Graph
        Whose input must be 1 x 1 x rows x cols, of fixed size.

    Attributes
    ----------
    state : Real, Integers or Accumulators
        What the current tensor holds.
    layers : list of LayerDraft
        Closed layers, in the order of the chain.
    input : InputSpec or None
        The network's frames, known once the input's quantiser has been passed.
    node : NodeProto
        The current node.
    tensor : str
        Name of the current tensor: that input of ``node`` which depends on the frames.
    attributes : dict
        Of ``node``, by name; strings are decoded.

    Raises
    ------
    GraphError
        If the graph's input has another shape.
    """

    node: NodeProto
    tensor: str
    attributes: dict[str, Any]

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[LayerDraft] = []
        self.input: InputSpec | None = None
        self.state: Real | Integers | Accumulators = Real(_input_shape(graph))

    def enter(self, node: NodeProto, tensor: str) -> None:
        """Make ``node``, which reads ``tensor``, the current one."""
        self.node, self.tensor = node, tensor
        self.attributes = self.graph.attributes(node)

    def refuse(self, message: str) -> NoReturn:
        """Raise a :class:`GraphError` that names the current node."""
        refuse(self.node, message)

    def need(self, kind: type[_State], message: str) -> _State:
        """The current state, which must be of ``kind``."""
        if not isinstance(self.state, kind):
            self.refuse(message)
        return self.state

    def need_first_input(self) -> None:
        """Refuse a node that reads the current tensor as another input than its first."""
        if self.node.input[0] != self.tensor:
            self.refuse("the first input must be the activations")

    def has_input(self, index: int) -> bool:
        """Whether the optional input ``index`` of the current node is given."""
        return len(self.node.input) > index and bool(self.node.input[index])

    def parameter(self, index: int, what: str) -> Constant:
        """Input ``index`` of the current node, which must be a constant of finite numbers.

        ``what`` is its name in the error's sentence.
        """
        return self.graph.parameter(self.node, index, what)

    def axes(self) -> Sequence[int] | None:
        """Axes of the current node: an attribute in older opsets, an input in newer ones."""
        axes = self.attributes.get("axes")
        if axes is None and self.has_input(1):
            axes = [int(axis) for axis in self.parameter(1, "axes").real]
        return axes

    @property
    def open_conv(self) -> ConvDraft | None:
        """The convolution whose map the current tensor is, still open or just closed."""
        if isinstance(self.state, Accumulators):
            layer = self.state.layer
        else:
            layer = self.layers[-1] if self.layers else None
        return layer if isinstance(layer, ConvDraft) else None

    @property
    def pooled_globally(self) -> bool:
        """Whether a global pool has been passed."""
        layers = list(self.layers)
        if isinstance(self.state, Accumulators):
            layers.append(self.state.layer)
        return any(isinstance(layer, ConvDraft) and layer.global_pool is not None
                   for layer in layers)

    @property
    def holds_wide_sum(self) -> bool:
        """Whether the current tensor is a global sum of 8-bit maps without its quantiser yet."""
        last = self.layers[-1] if self.layers else None
        return isinstance(self.state, Integers) and self.state.bits > 8 \
            and isinstance(last, ConvDraft) and last.bias is not None and last.global_pool == "sum"

    def open_layer(self, layer: LayerDraft, shape: tuple[int, ...],
                   scales: Sequence[Any]) -> None:
        """Let the current tensor be the sums of ``layer`` over the current integers.

        Parameters
        ----------
        layer : LayerDraft
            With its integer weights, output channel first.
        shape : tuple of int
            Of the layer's output.
        scales : sequence of Fraction
            Of the weights, one per output channel.
        """
        state = self.state
        assert isinstance(state, Integers)
        gain = [scale * state.scale for scale in scales]
        sums = layer.weights.reshape(len(scales), -1).sum(axis=1)
        offset = [scale * state.offset * int(total)
                  for scale, total in zip(scales, sums, strict=True)]
        self.state = Accumulators(shape, layer, gain, offset)

    def int64(self, values: Sequence[int]) -> np.ndarray:
        """``values`` as an int64 array, refused unless all of them fit 62 bits."""
        for value in values:
            if abs(value) >= 1 << 62:
                self.refuse(f"threshold or bias must fit 62 bits, not {value}")
        return np.array([int(value) for value in values], np.int64)


def _input_shape(graph: Graph) -> tuple[int, ...]:
    tensor = graph.input.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    shown = " x ".join("?" if size is None else str(size) for size in sizes)
    if len(sizes) != 4 or sizes[1] != 1 or sizes[0] not in (None, 0, 1) \
            or not all(sizes[2:]):
        raise GraphError(f"Input {graph.input.name!r} must be 1 x 1 x rows x cols of "
                         f"fixed size, not {shown or 'a scalar'}")
    return (1, 1, *sizes[2:])
