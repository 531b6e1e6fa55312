"""Read a QONNX file as an integer network: the compiler's front end.

The file's graph must be one chain. Walking along it, the importer keeps what the current tensor
holds as an exact affine form of integers, in rational arithmetic (:mod:`bamac.qonnx.state`):
``scale * n + offset`` for activations that are integers already, and ``gain[c] * acc[c] +
offset[c]`` after a convolution or a dense layer. Weight scales, biases, batch norms, and
per-channel ``Mul``, ``Add``, ``Sub`` and ``Div`` change gain and offset only. When the ``Quant`` of
the activation is reached, the form becomes one integer threshold per channel. No rounding is
needed for that, and no float decides (:mod:`bamac.qonnx.affine`).

A negative gain flips the comparison and is folded into the weights. Max pooling commutes with
every map that does not decrease, so a pool may stand before or after the step; what follows it
must then have a positive gain.

What a node means is said by the handler of its operator (:mod:`bamac.qonnx.operators`). This module
walks the chain, calls the handlers, and makes the network of the layers that they have left.
Anything that no handler takes is refused with a :class:`bamac.ir.network.GraphError` that names the
node and says what to change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bamac.ir.network import FrontEnd, GraphError, IntegerNetwork

from . import affine, operators
from . import metadata as file_metadata
from .context import ImportContext
from .graph import Graph, refuse
from .metadata import Metadata
from .state import Accumulators, ConvDraft, DenseDraft, Integers, LayerDraft

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["from_model", "load"]


def load(path: str | Path) -> IntegerNetwork:
    """Read the QONNX file at ``path`` as an :class:`IntegerNetwork`.

    Accepted is one chain: ``Quant`` on the input, convolutions with 1-bit unsigned ``Quant``
    (any rounding mode; bias, batch norm, per-channel arithmetic and max pool before it, max pool
    after it), a global max, sum or average pool, dense layers (``Gemm`` or ``MatMul``) whose hidden
    activations are 1-bit, or unsigned with a scale that is a power of two times the accumulator's,
    and the plain result of the last. All convolutions may have 8-bit activations instead, quantised
    as a dense layer's are, and so is the global sum of such maps. Weights go through ``Quant`` with
    any scale per output channel, or are integers. The computation is the exact real arithmetic of
    the file's numbers; a float32 executor can differ from it only where a sum comes within its own
    rounding of a step.

    Raises
    ------
    GraphError
        If the file is no ONNX model or is damaged, or holds something that cannot be mapped
        exactly; the message names the node and says what to change.
    OSError
        If the file cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise GraphError(f"{path}: not an ONNX model, or damaged ({error})") from error
    if not model.graph.node:
        raise GraphError(f"{path}: not an ONNX model, or damaged (it holds no graph)")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GraphError(f"{path}: not an ONNX model, or damaged ({reason})") from error
    try:
        return from_model(model, path.stem)
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error


def from_model(model: ModelProto, name: str = "network") -> IntegerNetwork:
    """The :class:`IntegerNetwork` of a model in memory; see :func:`load`.

    ``name`` is the network's unless the model's metadata holds one.
    """
    context = _walk(Graph(model.graph))
    last = _last_sums(context)
    metadata = file_metadata.read(model)
    scale, offset = _close_scores(last, metadata)
    drafts = [*context.layers, last.layer]
    layers = [draft.build(title, shifted)
              for draft, (title, shifted) in zip(drafts, _titles(drafts, metadata), strict=True)]
    front_end = FrontEnd()
    if metadata is not None:
        name, front_end = metadata.name, metadata.front_end
    return IntegerNetwork(name, context.input, layers, scale, offset, front_end)


def _walk(graph: Graph) -> ImportContext:
    """Call the handler of every node from the input to the output."""
    context = ImportContext(graph)
    for node, tensor in graph.chain():
        context.enter(node, tensor)
        operator = operators.find(node.domain, node.op_type)
        if operator is None:
            context.refuse("operation is not supported; use " + ", ".join(operators.supported()))
        padded = isinstance(context.state, Integers) and any(context.state.padding)
        if padded and not operator.takes_padding:
            context.refuse("a convolution must directly follow the padding")
        operator.handle(context, node)
    return context


def _last_sums(context: ImportContext) -> Accumulators:
    """The sums at the end of the chain, which must be those of a dense layer, unquantised."""
    state = context.state
    if not isinstance(state, Accumulators) or not isinstance(state.layer, DenseDraft):
        raise GraphError(f"Output {context.graph.output!r} must be the unquantised result of a "
                         "dense layer")
    if state.relu is not None:
        refuse(state.relu, "scores must be the last dense layer's plain result")
    if not any(isinstance(layer, ConvDraft) for layer in context.layers):
        raise GraphError("Network must have at least one convolution before its dense layers")
    return state


def _close_scores(state: Accumulators, metadata: Metadata | None) -> tuple[float, float]:
    """Give the last layer its weights and biases; return the scale and offset of the score.

    ``scale * (acc + bias) + offset`` must be the file's score for one scale and one offset. Where
    gains differ in sign alone, negative ones are folded into the weights.
    """
    layer, gain = state.layer, list(state.gain)
    name = layer.name or "last dense layer"
    if len({abs(g) for g in gain}) > 1 or gain[0] == 0:
        raise GraphError(f"{name}: scale of the scores must be one number other than 0, "
                         f"the same for all outputs")
    weights = layer.weights.copy()
    if len(set(gain)) > 1:
        for channel, g in enumerate(gain):
            if g < 0:
                weights[channel] = -weights[channel]
        gain = [abs(g) for g in gain]
    bias, scale, offset = _score_biases(name, state.offset, gain[0], metadata)
    if max(abs(b) for b in bias) >= 1 << 62:
        raise GraphError(f"{name}: bias must fit 62 bits")
    layer.weights, layer.bias = weights, np.array(bias, np.int64)
    return scale, offset


def _score_biases(name: str, offsets: Sequence[Fraction], scale: Fraction,
                  metadata: Metadata | None) -> tuple[list[int], float, float]:
    """Integer biases of the last layer, and the scale and offset of the score as floats."""
    if metadata is not None:
        # The file holds float32, the network a float: take the network's own numbers back if they
        # are what the file's are rounded from
        own = metadata.score_scale, metadata.score_offset
        rounded = [Fraction(float(np.float32(value))) for value in own]
        if rounded[0] == scale:
            bias = affine.whole_biases(offsets, scale, rounded[1])
            if bias is not None:
                return bias, *own
    bias, rest = affine.split_offsets(offsets, scale)
    # float32 biases that were meant as multiples of the scale miss it by a rounding
    slack = abs(scale) * Fraction(1, 1 << 10)
    if max(rest) - min(rest) > slack:
        raise GraphError(f"{name}: biases must differ by whole steps of the scale "
                         f"{affine.as_text(abs(scale))}: quantise the bias to the accumulator's "
                         "scale")
    return bias, float(scale), float(rest[0])


def _titles(drafts: Sequence[LayerDraft], metadata: Metadata | None,
            ) -> list[tuple[str, tuple[int, int] | None]]:
    """Each layer's name, and bits and shift if the metadata speaks of these very layers.

    Names are the metadata's if its kinds of layers match, else the nodes', and ``conv1``,
    ``dense1`` and so on if a node has none or two are alike.
    """
    known = () if metadata is None else metadata.layers
    names = [draft.name for draft in drafts]
    if [entry.kind for entry in known] == [draft.kind for draft in drafts]:
        names = [entry.name for entry in known]
    elif not all(names) or len(set(names)) < len(names):
        count: Counter[str] = Counter()
        names = []
        for draft in drafts:
            count[draft.kind] += 1
            names.append(f"{draft.kind}{count[draft.kind]}")
    if names == [entry.name for entry in known]:
        return [(entry.name, entry.shifted) for entry in known]
    return [(name, None) for name in names]
