"""Which function handles which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..context import ImportContext

    Handler = Callable[[ImportContext, NodeProto], None]

__all__ = ["CUSTOM", "Operator", "find", "operator", "supported"]

CUSTOM = "*"
"""Stands for every domain but ONNX's own: exporters do not agree on the domain of ``Quant``."""

_ONNX_DOMAINS = ("", "ai.onnx")  # two spellings of one domain


@dataclass(frozen=True)
class Operator:
    """An operator that the importer reads.

    Attributes
    ----------
    op_type, domain : str
        As nodes name them; ``domain`` is "" for ONNX's own, or :data:`CUSTOM`.
    handle : callable (context, node)
        Changes the context's state, or refuses the node.
    takes_padding : bool
        Whether it takes over the padding of a ``Pad`` in front of it.
    """

    op_type: str
    domain: str
    handle: Handler
    takes_padding: bool = False


_OPERATORS: dict[tuple[str, str], Operator] = {}


def _key(domain: str, op_type: str) -> tuple[str, str]:
    return ("" if domain in _ONNX_DOMAINS else domain), op_type


def operator(*op_types: str, domain: str = "",
             takes_padding: bool = False) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of ``op_types``.

    The handler is called as ``handler(context, node)`` when the walk reaches a node of one of these
    types. It changes ``context.state`` (:mod:`bamac.qonnx.state`) to what the node's output holds,
    or calls ``context.refuse``.

    Parameters
    ----------
    op_types : str
        One name or more, as nodes spell them.
    domain : str
        The operators' domain: "" for ONNX's own, or :data:`CUSTOM` for every other one. A handler
        for a domain by name is preferred to one for :data:`CUSTOM`.
    takes_padding : bool
        Whether the handler adds ``context.state.padding``, which a ``Pad`` left, to its own. A
        ``Pad`` in front of any other operator is refused.

    Raises
    ------
    TypeError
        If no name is given, or one that is no string.
    ValueError
        If an operator has a handler already.
    """
    if not op_types or not all(isinstance(name, str) and name for name in op_types):
        raise TypeError(f"Operator must be named by one string or more, not {op_types!r}")

    def register(handler: Handler) -> Handler:
        for number, name in enumerate(op_types):
            other = _OPERATORS.get(_key(domain, name))
            if other is not None or name in op_types[:number]:
                by = handler if other is None else other.handle
                raise ValueError(f"Operator {name!r} of domain {domain!r} must be registered once, "
                                 f"not again: {by.__module__}.{by.__qualname__} handles it")
        for name in op_types:
            key = _key(domain, name)
            _OPERATORS[key] = Operator(name, key[0], handler, takes_padding)
        return handler

    return register


def find(domain: str, op_type: str) -> Operator | None:
    """The operator that handles nodes of ``op_type`` in ``domain``, or None."""
    found = _OPERATORS.get(_key(domain, op_type))
    if found is None and domain not in _ONNX_DOMAINS:
        found = _OPERATORS.get((CUSTOM, op_type))
    return found


def supported() -> list[str]:
    """Names of all registered operators, sorted; an error prints them."""
    return sorted({op_type for _, op_type in _OPERATORS})
