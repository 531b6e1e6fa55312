"""The parts of an ONNX graph that the importer walks over: constants, and the chain of nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bamac.ir.network import GraphError

from .affine import exact_fractions

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

__all__ = ["Constant", "Graph", "check_quant", "refuse"]

_QUANT_OPS = ("Quant", "IntQuant")
_PASS_THROUGH = ("Identity", "Dropout")


def refuse(node: NodeProto, message: str) -> NoReturn:
    """Raise a :class:`GraphError` whose text begins with the node's operator and name."""
    raise GraphError(f"{node.op_type} node {node.name or repr(node.output[0])}: {message}")


@dataclass(eq=False)
class Constant:
    """A constant tensor: ``ints * scale`` where it came through a ``Quant``, else ``real`` only.

    Attributes
    ----------
    real : array
        As stored, in float64. Constants that are no numbers keep their own dtype.
    ints : int64 array or None
    scale : object array of Fraction, or None
        Of a shape that fits ``ints`` by broadcasting.
    """

    real: np.ndarray
    ints: np.ndarray | None = None
    scale: np.ndarray | None = None

    def fractions(self) -> np.ndarray:
        """The exact values: an object array of Fraction, of the constant's shape."""
        if self.ints is None:
            return exact_fractions(self.real)
        out = np.empty(self.ints.shape, object)
        out[...] = self.ints
        return out * self.scale if out.ndim else exact_fractions(self.real)

    def moved(self, change: Callable[[np.ndarray], np.ndarray]) -> Constant:
        """The constant after ``change``, which moves elements or axes and computes nothing."""
        if self.ints is None:
            return Constant(change(self.real))
        scale = np.broadcast_to(self.scale, self.ints.shape)
        return Constant(change(self.real), change(self.ints), change(scale))


class Graph:
    """The parts of an ONNX graph that the walk needs: constants, and the chain of nodes.

    Parameters
    ----------
    graph : GraphProto
        With one input that is no initializer, and one output.

    Attributes
    ----------
    input : ValueInfoProto
    output : str
        Name of the output's tensor.

    Raises
    ------
    GraphError
        If the graph has more inputs or outputs, or an initializer that cannot be read.
    """

    def __init__(self, graph: GraphProto) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy_helper = helper, numpy_helper
        self.graph = graph
        self.initializers = {}
        for tensor in graph.initializer:
            self.initializers[tensor.name] = self._array(tensor, tensor.name)
        self.producers = {out: node for node in graph.node for out in node.output if out}
        self._constants: dict[str, Constant | None] = {}
        inputs = [i for i in graph.input if i.name not in self.initializers]
        if len(inputs) != 1:
            raise GraphError(f"Graph must have one input, not {len(inputs)}: "
                             f"{[i.name for i in inputs]}")
        if len(graph.output) != 1:
            raise GraphError(f"Graph must have one output, not {len(graph.output)}: "
                             f"{[o.name for o in graph.output]}")
        self.input, self.output = inputs[0], graph.output[0].name

    def _array(self, tensor: TensorProto, name: str) -> np.ndarray:
        try:
            return np.asarray(self._numpy_helper.to_array(tensor))
        except (ValueError, TypeError, OSError, KeyError) as error:
            raise GraphError(f"Constant {name!r} cannot be read: {error}") from error

    def attributes(self, node: NodeProto) -> dict[str, Any]:
        """The node's attributes by name; bytes are decoded."""
        values = {}
        for attribute in node.attribute:
            value = self._helper.get_attribute_value(attribute)
            if isinstance(value, bytes):
                value = value.decode(errors="replace")
            values[attribute.name] = value
        return values

    def constant(self, name: str) -> Constant | None:
        """The value of a tensor, or None if it depends on the input.

        Constants may be quantised, transposed and reshaped in the graph; what else is computed of
        them counts as not constant.
        """
        if name not in self._constants:
            self._constants[name] = None  # a cycle ends here
            self._constants[name] = self._evaluate(name)
        return self._constants[name]

    def _evaluate(self, name: str) -> Constant | None:
        if name in self.initializers:
            return self._plain(self.initializers[name])
        node = self.producers.get(name)
        if node is None:
            return None
        attributes = self.attributes(node)
        if node.op_type == "Constant":
            return self._stored(node, attributes)
        if not node.input:
            return None
        source = self.constant(node.input[0])
        if source is None:
            return None
        if node.op_type in _QUANT_OPS:
            return self._quant(node, attributes, source)
        if node.op_type == "BipolarQuant":
            scale = self.parameter(node, 1, "scale")
            ints = np.where(source.real >= 0, 1, -1).astype(np.int64)
            return Constant(ints * scale.real, ints, exact_fractions(scale.real))
        if node.op_type in _PASS_THROUGH:
            return source
        return self._moved(node, attributes, source)

    def _stored(self, node: NodeProto, attributes: dict[str, Any]) -> Constant:
        """The value of a ``Constant`` node."""
        for key in ("value_float", "value_int", "value_floats", "value_ints"):
            if key in attributes:
                return self._plain(np.asarray(attributes[key]))
        if "value" in attributes:
            return self._plain(self._array(attributes["value"], node.output[0]))
        refuse(node, "constant must be numbers")

    def _moved(self, node: NodeProto, attributes: dict[str, Any],
               source: Constant) -> Constant | None:
        """``source`` transposed or reshaped by ``node``; None if the node does something else."""
        try:
            if node.op_type == "Transpose":
                order = attributes.get("perm", list(range(source.real.ndim))[::-1])
                return source.moved(lambda a: np.transpose(a, order))
            if node.op_type == "Reshape":
                target = [int(size) for size in self.parameter(node, 1, "shape").real]
                target = [source.real.shape[i] if size == 0 else size
                          for i, size in enumerate(target)]
                return source.moved(lambda a: np.reshape(a, target))
        except (ValueError, IndexError) as error:
            if isinstance(error, GraphError):
                raise
            refuse(node, f"shapes do not fit: {error}")
        return None

    @staticmethod
    def _plain(array: np.ndarray) -> Constant:
        if array.dtype.kind not in "fiub":
            return Constant(np.asarray(array))
        return Constant(array.astype(np.float64))

    def _quant(self, node: NodeProto, attributes: dict[str, Any], source: Constant) -> Constant:
        """``source`` quantised by ``node``: integers and their exact scale."""
        from qonnx.custom_op.general.intquant import int_quant, resolve_rounding_mode

        scale, zero, bits = (self.parameter(node, i, what).real
                             for i, what in ((1, "scale"), (2, "zero point"), (3, "bit width")))
        check_quant(node, scale, zero, bits)
        mode = attributes.get("rounding_mode", "ROUND")
        try:
            resolve_rounding_mode(mode)
        except ValueError:
            refuse(node, f"rounding mode must be one that qonnx defines, not {mode!r}")
        if source.real.dtype.kind != "f" or not np.isfinite(source.real).all():
            refuse(node, "weights must be finite numbers")
        try:
            fits = np.broadcast_shapes(scale.shape, source.real.shape) == source.real.shape
        except ValueError:
            fits = False
        if not fits:
            refuse(node, f"scale must fit the weights' shape {source.real.shape}, "
                          f"not be of shape {scale.shape}")
        # In float32, as the executor divides: a weight that lies between two steps must fall on
        # the same side
        ratio = source.real.astype(np.float32) / scale.astype(np.float32)
        one = np.float32(1)
        ints = int_quant(ratio, one, np.float32(0), np.float32(bits.item()),
                         attributes.get("signed", 1), attributes.get("narrow", 1), mode)
        ints = np.asarray(ints).astype(np.int64)
        return Constant(ints * scale, ints, exact_fractions(scale))

    def parameter(self, node: NodeProto, index: int, what: str) -> Constant:
        """Input ``index`` of ``node``, which must be a constant of finite numbers.

        ``what`` is its name in the error's sentence.
        """
        if index >= len(node.input) or not node.input[index]:
            refuse(node, f"{what} is missing")
        constant = self.constant(node.input[index])
        if constant is None:
            refuse(node, f"{what} must be a constant, not computed from the input")
        if constant.real.dtype.kind != "f":
            refuse(node, f"{what} must be numbers, not {constant.real.dtype}")
        if not np.isfinite(constant.real).all():
            refuse(node, f"{what} must be finite numbers")
        return constant

    def chain(self) -> list[tuple[NodeProto, str]]:
        """The nodes from the input to the output, each the only reader of the one before.

        Returns (node, name of the tensor that it reads) in the order of execution.

        Raises
        ------
        GraphError
            If there is a branch, a cycle or a loose end.
        """
        tensor, nodes = self.input.name, []
        while tensor != self.output:
            readers = [node for node in self.graph.node if tensor in node.input]
            if not readers:
                raise GraphError(f"Tensor {tensor!r} leads to no output: graph must be one chain")
            if len(readers) > 1 or list(readers[0].input).count(tensor) > 1:
                names = " and ".join(node.name or node.output[0] for node in readers)
                names += " twice" if len(readers) == 1 else ""
                raise GraphError(f"Tensor {tensor!r} is read by {names}: graph must be one chain, "
                                 f"without branches")
            node = readers[0]
            for name in node.input:
                if name and name != tensor and self.constant(name) is None:
                    refuse(node, f"inputs {tensor!r} and {name!r} both depend on the frames: "
                                  f"graph must be one chain, without branches")
            if len(nodes) > len(self.graph.node):
                raise GraphError("Graph must not have a cycle")
            nodes.append((node, tensor))
            tensor = node.output[0]
        if any(self.output in node.input for node in self.graph.node):
            raise GraphError(f"Output {self.output!r} must not be read inside the graph")
        return nodes


def check_quant(node: NodeProto, scale: np.ndarray, zero: np.ndarray, bits: np.ndarray) -> None:
    """Refuse a quantiser with a zero point, a scale of 0, or a width outside 1..32."""
    if np.any(zero != 0):
        refuse(node, f"zero point must be 0, not {zero.reshape(-1)[zero.reshape(-1) != 0][0]:g}: "
                      f"quantise symmetrically")
    if np.any(scale == 0):
        refuse(node, "scale must not be 0")
    if bits.size != 1 or bits.item() != int(bits.item()) or not 1 <= bits.item() <= 32:
        refuse(node, f"bit width must be one integer in 1..32, not {bits.tolist()}")
