"""The ONNX operators that the importer reads: a registry, and the handlers of the built-in ones.

A further operator is one function, registered from anywhere::

    from bamac.qonnx.operators import apply_affine, operator

    @operator("Neg")
    def negate(context, node):
        channels = context.state.shape[1]
        apply_affine(context, [Fraction(-1)] * channels, [Fraction(0)] * channels)

The handlers are grouped by what they do to the current tensor (:mod:`bamac.qonnx.state`):
``layers`` open a layer, ``arithmetic`` changes its scales, ``pools`` and ``shapes`` its shape, and
``quantisers`` close it. The functions below are what they, and others, are made of.
"""

from . import arithmetic, layers, pools, quantisers, shapes  # noqa: F401  (registers the handlers)
from .arithmetic import apply_affine, channel_operand
from .layers import add_bias, integer_weights
from .pools import global_pool
from .quantisers import close_with_shift, close_with_step
from .registry import CUSTOM, Operator, find, operator, supported

__all__ = [
    "CUSTOM", "Operator", "add_bias", "apply_affine", "channel_operand", "close_with_shift",
    "close_with_step", "find", "global_pool", "integer_weights", "operator", "supported",
]
