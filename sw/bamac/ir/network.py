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
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Conv2d", "Dense", "FrontEnd", "GraphError", "InputSpec", "IntegerNetwork"]

MAX_KERNEL = 7
WEIGHT_MAX = 127  # symmetric int8, so that a negative scale can be folded into the weights
VALUE_MAX = 255  # of the maps of the int8 baseline
SHIFT_MAX = 15  # of its layers


class GraphError(ValueError):
    """A network, or one layer of it, is outside what BAMAC computes exactly."""


def _require(condition, message):
    if not condition:
        raise GraphError(message)


def _int_array(value, what, ndim):
    array = np.asarray(value)
    _require(array.ndim == ndim, f"{what} must have {ndim} dimensions, not shape {array.shape}")
    _require(np.issubdtype(array.dtype, np.integer), f"{what} must be integers, not {array.dtype}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def _weights(value, what, ndim):
    array = _int_array(value, what, ndim)
    _require(array.size > 0, f"{what} must not be empty, not shape {array.shape}")
    low, high = int(array.min()), int(array.max())
    _require(
        -WEIGHT_MAX <= low and high <= WEIGHT_MAX,
        f"{what} must be in -{WEIGHT_MAX}..{WEIGHT_MAX}, not {low}..{high}",
    )
    return array


@dataclass(frozen=True)
class InputSpec:
    """The integer frames that the network reads: ``(rows, cols)`` values of ``bits`` bits.

    ``signed`` values are two's complement with zero point 0, so padding is the integer 0.
    """

    rows: int
    cols: int
    bits: int = 8
    signed: bool = True

    def __post_init__(self):
        _require(self.rows >= 1 and self.cols >= 1,
                 f"Input must have at least one row and column, not {self.rows} x {self.cols}")
        low = 2 if self.signed else 1
        _require(low <= self.bits <= 8, f"Input bits must be in {low}..8, not {self.bits}")

    @property
    def min(self):
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self):
        return (1 << (self.bits - self.signed)) - 1


@dataclass(frozen=True, eq=False)
class Conv2d:
    """Convolution whose outputs are bits: ``bit = acc >= threshold[channel]``, then pooling.

    With ``bias`` in the place of thresholds its outputs are *values* of 8 bits, ``clamp((acc +
    bias[channel]) >> shift, 0, 255)``, as in the int8 twin that binary networks are measured
    against.

    Parameters
    ----------
    weights : int array (out_channels, in_channels, kernel_rows, kernel_cols), in -127..127
    thresholds : int array (out_channels,), or None
    stride : 1 or 2, the same in both directions
    padding : (top, bottom, left, right) of zeros
    pool : (rows, cols) of a max pool with stride = size and floor semantics; (1, 1) is none
    global_pool : None, ``"max"`` (OR over the map) or ``"sum"`` (popcount over the map; of values
        ``min(sum >> pool_shift, 255)``)
    bias : int array (out_channels,), or None; the rounding constant is part of it
    shift, pool_shift : 0..15, of values
    """

    name: str
    weights: np.ndarray
    thresholds: np.ndarray | None = None
    stride: int = 1
    padding: tuple = (0, 0, 0, 0)
    pool: tuple = (1, 1)
    global_pool: str | None = None
    bias: np.ndarray | None = None
    shift: int = 0
    pool_shift: int = 0

    def __post_init__(self):
        w = _weights(self.weights, f"{self.name}: weights", 4)
        object.__setattr__(self, "weights", w)
        _require((self.thresholds is None) != (self.bias is None),
                 f"{self.name}: must have either thresholds (bits) or a bias (values)")
        kind = "thresholds" if self.bias is None else "bias"
        t = _int_array(getattr(self, kind), f"{self.name}: {kind}", 1)
        object.__setattr__(self, kind, t)
        _require(t.shape[0] == w.shape[0],
                 f"{self.name}: {kind} must be one per output channel ({w.shape[0]}), "
                 f"not {t.shape[0]}")
        for what, used in (("shift", self.values),
                           ("pool_shift", self.values and self.global_pool == "sum")):
            most = SHIFT_MAX if used else 0
            _require(0 <= getattr(self, what) <= most,
                     f"{self.name}: {what} must be in 0..{most}, not {getattr(self, what)}")
        _require(max(w.shape[2:]) <= MAX_KERNEL,
                 f"{self.name}: kernel must be at most {MAX_KERNEL} x {MAX_KERNEL}, "
                 f"not {w.shape[2]} x {w.shape[3]}")
        _require(self.stride in (1, 2), f"{self.name}: stride must be 1 or 2, not {self.stride!r}")
        object.__setattr__(self, "padding", tuple(int(p) for p in self.padding))
        object.__setattr__(self, "pool", tuple(int(p) for p in self.pool))
        _require(len(self.padding) == 4 and min(self.padding) >= 0,
                 f"{self.name}: padding must be four non-negative sizes, not {self.padding}")
        kh, kw = w.shape[2:]
        top, bottom, left, right = self.padding
        _require(max(top, bottom) < kh and max(left, right) < kw,
                 f"{self.name}: padding must be smaller than the kernel {kh} x {kw}, "
                 f"not {self.padding}")
        _require(len(self.pool) == 2 and min(self.pool) >= 1,
                 f"{self.name}: pool must be two positive sizes, not {self.pool}")
        _require(self.global_pool in (None, "max", "sum"),
                 f"{self.name}: global pool must be None, 'max' or 'sum', not {self.global_pool!r}")

    @property
    def in_channels(self):
        return self.weights.shape[1]

    @property
    def out_channels(self):
        return self.weights.shape[0]

    @property
    def values(self):
        """Whether the outputs are 8-bit values, not bits."""
        return self.bias is not None

    @property
    def kernel(self):
        return self.weights.shape[2:]

    def conv_shape(self, rows, cols):
        """Rows and columns of the map before pooling."""
        (kh, kw), (top, bottom, left, right) = self.kernel, self.padding
        return ((rows + top + bottom - kh) // self.stride + 1,
                (cols + left + right - kw) // self.stride + 1)

    def pooled_shape(self, rows, cols):
        """Rows and columns of the map after ``pool`` (before any global pool)."""
        conv_rows, conv_cols = self.conv_shape(rows, cols)
        return conv_rows // self.pool[0], conv_cols // self.pool[1]


@dataclass(frozen=True, eq=False)
class Dense:
    """Fully connected layer on a vector of unsigned integers.

    ``emit`` is ``"raw"`` (``acc + bias``, int32: scores), ``"unsigned"``
    (``clamp((acc + bias) >> shift, 0, 2**bits - 1)``; the rounding constant is part of the bias)
    or ``"bit"`` (``acc + bias >= 0``).

    Parameters
    ----------
    weights : int array (out_features, in_features), in -127..127
    bias : int array (out_features,)
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    emit: str = "raw"
    bits: int = 8
    shift: int = 0

    def __post_init__(self):
        w = _weights(self.weights, f"{self.name}: weights", 2)
        object.__setattr__(self, "weights", w)
        b = _int_array(self.bias, f"{self.name}: bias", 1)
        object.__setattr__(self, "bias", b)
        _require(b.shape[0] == w.shape[0],
                 f"{self.name}: bias must be one per output ({w.shape[0]}), not {b.shape[0]}")
        _require(self.emit in ("raw", "unsigned", "bit"),
                 f"{self.name}: emit must be 'raw', 'unsigned' or 'bit', not {self.emit!r}")
        _require(1 <= self.bits <= 16, f"{self.name}: bits must be in 1..16, not {self.bits}")
        _require(0 <= self.shift <= 31, f"{self.name}: shift must be in 0..31, not {self.shift}")

    @property
    def in_channels(self):
        return self.weights.shape[1]

    @property
    def out_channels(self):
        return self.weights.shape[0]


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
    """

    name: str
    input: InputSpec
    layers: tuple
    score_scale: float = 1.0
    score_offset: float = 0.0
    front_end: FrontEnd = field(default_factory=FrontEnd)

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        _require(self.convs and self.denses,
                 f"{self.name}: network must have at least one convolution and one dense layer")
        names = [layer.name for layer in self.layers]
        _require(len(set(names)) == len(names), f"{self.name}: layer names must differ: {names}")
        _require(self.layers == self.convs + self.denses,
                 f"{self.name}: every convolution must come before the first dense layer")
        rows, cols, channels = self.input.rows, self.input.cols, 1
        for conv in self.convs:
            _require(conv.in_channels == channels,
                     f"{conv.name}: expects {conv.in_channels} input channels, gets {channels}")
            rows, cols = conv.pooled_shape(rows, cols)
            _require(rows >= 1 and cols >= 1,
                     f"{conv.name}: the map before it is too small for its kernel and pool")
            channels = conv.out_channels
            last = conv is self.convs[-1]
            _require(last == (conv.global_pool is not None),
                     f"{conv.name}: the last convolution, and no other, must end in a global pool")
            _require(conv.values == self.values,
                     f"{conv.name}: the maps of all convolutions must be alike, bits or values")
        for dense in self.denses:
            _require(dense.in_channels == channels,
                     f"{dense.name}: expects {dense.in_channels} inputs, gets {channels}")
            channels = dense.out_channels
            last = dense is self.denses[-1]
            _require(last == (dense.emit == "raw"),
                     f"{dense.name}: the last dense layer, and no other, must emit raw scores")

    @property
    def convs(self):
        return tuple(layer for layer in self.layers if isinstance(layer, Conv2d))

    @property
    def denses(self):
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def values(self):
        """Whether the maps hold 8-bit values, not bits."""
        return self.convs[0].values

    def map_shapes(self):
        """``(channels, rows, cols)`` at the input of each convolution, and after the last one."""
        shapes = [(1, self.input.rows, self.input.cols)]
        for conv in self.convs:
            shapes.append((conv.out_channels, *conv.pooled_shape(*shapes[-1][1:])))
        return shapes

    def vector_bits(self):
        """Bits of the unsigned vector at the input of each dense layer."""
        _, rows, cols = self.map_shapes()[-1]
        bits = [8 if self.values else
                (rows * cols).bit_length() if self.convs[-1].global_pool == "sum" else 1]
        bits += [1 if dense.emit == "bit" else dense.bits for dense in self.denses[:-1]]
        return bits

    def digest(self):
        """SHA-256 over everything that decides the network's integers and its score."""
        h = hashlib.sha256()

        def put(*items):
            h.update(repr(items).encode())

        put("bamac-network-1", self.input, self.score_scale, self.score_offset, self.front_end)
        for layer in self.layers:
            if isinstance(layer, Conv2d):
                put("conv2d", layer.name, layer.weights.shape, layer.stride, layer.padding,
                    layer.pool, layer.global_pool)
                if layer.values:
                    put("values", layer.shift, layer.pool_shift)
                h.update((layer.bias if layer.values else layer.thresholds).astype("<i8").tobytes())
            else:
                put("dense", layer.name, layer.weights.shape, layer.emit, layer.bits, layer.shift)
                h.update(layer.bias.astype("<i8").tobytes())
            h.update(layer.weights.astype("<i1").tobytes())
        return h.hexdigest()
