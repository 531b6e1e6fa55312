"""Read a QONNX file as an integer network: the compiler's front end.

The file's graph must be one chain. Walking along it, the importer keeps what the current tensor
holds as an exact affine form of integers, in rational arithmetic: ``scale * n + offset`` for
activations that are integers already, and ``gain[c] * acc[c] + offset[c]`` after a convolution or
a dense layer. Weight scales, biases, batch norms, and per-channel ``Mul``, ``Add``, ``Sub`` and
``Div`` change gain and offset only. When the ``Quant`` of the activation is reached, the form
becomes one integer threshold per channel, for which no rounding is needed: floats never decide.

A negative gain flips the comparison and is folded into the weights. Max pooling commutes with
every map that does not decrease, so a pool may stand before or after the step; what follows it
must then have a positive gain.

Anything else is refused with a :class:`bamac.ir.network.GraphError` that names the node and says
what to change.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bamac.ir.network import Conv2d, Dense, FrontEnd, GraphError, InputSpec, IntegerNetwork

from .exporter import METADATA_KEY, METADATA_SCHEMA
from .graph import QUANT_OPS, Graph, check_quant, refuse

__all__ = ["from_model", "load"]

_SQRT_BITS = 256  # of the fraction of an irrational square root: far beyond any float32 input


def _sqrt(value):
    """Square root of a non-negative fraction: exact if rational, else to 2^-256."""
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    shifted = (value.numerator << (2 * _SQRT_BITS)) // value.denominator
    return Fraction(math.isqrt(shifted), 1 << _SQRT_BITS)


def _floor(value):
    return value.numerator // value.denominator


def _ceil(value):
    return -(-value.numerator // value.denominator)


def _text(number):
    """A fraction as a person would write it."""
    return str(number) if number.denominator == 1 else f"{float(number):.9g}"


@dataclass(eq=False)
class _Integers:
    """The current tensor is ``scale * n + offset`` for integers n of ``bits`` bits."""

    shape: tuple
    scale: Fraction
    offset: Fraction
    bits: int
    is_input: bool = False
    padding: tuple = (0, 0, 0, 0)  # of a Pad node that the next convolution takes over


@dataclass(eq=False)
class _Accumulators:
    """The current tensor is ``gain[c] * acc[c] + offset[c]`` of a layer not yet finished."""

    shape: tuple
    layer: dict
    gain: list
    offset: list
    pooled: bool = False


@dataclass(eq=False)
class _Real:
    """The graph's input before its ``Quant``."""

    shape: tuple


class _Importer:
    """Walks the chain and collects layers; one method per operation."""

    def __init__(self, graph):
        self.graph = graph
        self.layers = []  # dicts, finished
        self.spec = None
        self.state = _Real(self._input_shape())

    def _input_shape(self):
        tensor = self.graph.input.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        shown = " x ".join("?" if size is None else str(size) for size in sizes)
        if len(sizes) != 4 or sizes[1] != 1 or sizes[0] not in (None, 0, 1) \
                or not all(sizes[2:]):
            raise GraphError(f"Input {self.graph.input.name!r} must be 1 x 1 x rows x cols of "
                             f"fixed size, not {shown or 'a scalar'}")
        return (1, 1, *sizes[2:])

    def run(self):
        for node, tensor in self.graph.chain():
            self.node, self.tensor = node, tensor
            self.attributes = self.graph.attributes(node)
            handler = getattr(self, f"_{node.op_type.lower()}", None)
            custom = node.domain not in ("", "ai.onnx")
            if handler is None or custom != (node.op_type in (*QUANT_OPS, "BipolarQuant")):
                self.refuse(f"operation is not supported; use {', '.join(SUPPORTED)}")
            if isinstance(self.state, _Integers) and any(self.state.padding) \
                    and node.op_type != "Conv":
                self.refuse("a convolution must directly follow the padding")
            handler()
        return self._finish()

    def refuse(self, message):
        refuse(self.node, message)

    def need(self, kind, message):
        if not isinstance(self.state, kind):
            self.refuse(message)
        return self.state

    def first_input(self):
        if self.node.input[0] != self.tensor:
            self.refuse("the first input must be the activations")

    # --- quantisers

    def _quant(self):
        self.first_input()
        scale, zero, bits = (self.graph.parameter(self.node, i, what).real
                             for i, what in ((1, "scale"), (2, "zero point"), (3, "bit width")))
        check_quant(self.node, scale, zero, bits)
        if np.unique(scale).size != 1:
            self.refuse("scale of activations must be one number, not one per channel")
        scale = Fraction(float(scale.reshape(-1)[0]))
        if scale < 0:
            self.refuse(f"scale of activations must be positive, not {_text(scale)}")
        bits = int(bits.item())
        signed = bool(self.attributes.get("signed", 1))
        narrow = bool(self.attributes.get("narrow", 1))
        mode = self.attributes.get("rounding_mode", "ROUND").upper()
        if isinstance(self.state, _Real):
            return self._quant_input(scale, bits, signed, narrow)
        summed = self._sum_of_values()
        if not summed:
            self.need(_Accumulators, "activations are quantised twice")
        if signed:
            self.refuse("activations must be unsigned: 1 or 8 bits after a convolution, 1 to 16 "
                        "bits after a dense layer")
        if narrow:
            self.refuse("narrow range must be off for unsigned activations")
        if summed:
            return self._quant_sum(scale, bits, mode)
        state = self.state
        if state.layer["kind"] == "conv" and bits not in (1, 8):
            self.refuse(f"activations of a convolution must be 1 bit, or 8, not {bits}")
        # "unsigned" of one bit and "bit" are one thing; the rounding mode tells which was meant
        if bits == 1 and not (state.layer["kind"] == "dense" and mode in ("FLOOR", "DOWN")):
            return self._step(*self._step_of(mode, scale), scale)
        return self._unsigned(scale, bits, mode)

    _intquant = _quant

    def _quant_input(self, scale, bits, signed, narrow):
        if signed and narrow:
            self.refuse("narrow range must be off for the input, whose lowest value hardware takes")
        if not narrow:
            rows, cols = self.state.shape[2:]
            self.spec = InputSpec(rows, cols, bits, signed)
            self.state = _Integers(self.state.shape, scale, Fraction(0), bits, is_input=True)
            return
        self.refuse("narrow range must be off for unsigned activations")

    def _step_of(self, mode, scale):
        """Where a one-bit quantiser steps: the bit is ``x > level``, or ``>=`` if inclusive."""
        if mode in ("CEIL", "UP"):
            return Fraction(0), False
        if mode in ("FLOOR", "DOWN"):
            return scale, True
        if mode in ("ROUND", "HALF_EVEN", "HALF_DOWN"):
            return scale / 2, False
        if mode == "HALF_UP":
            return scale / 2, True
        return self.refuse(f"rounding mode must be one that qonnx defines, not {mode!r}")

    def _bipolarquant(self):
        self.first_input()
        state = self.need(_Accumulators, "a bipolar quantiser must follow a convolution or a dense "
                                         "layer")
        if "relu" in state.layer:
            self.refuse("after ReLU a bipolar quantiser is constant: remove the ReLU")
        scale = self.graph.parameter(self.node, 1, "scale").real
        if scale.size != 1 or scale.item() <= 0:
            self.refuse("scale of activations must be one positive number")
        scale = Fraction(float(scale.item()))
        shape = state.shape
        self._step(Fraction(0), True, 2 * scale)
        self.state = _Integers(shape, 2 * scale, -scale, 1)

    def _step(self, level, inclusive, scale):
        """Close the layer: its bit is ``gain * acc + offset > level`` (``>=`` if inclusive)."""
        state, layer = self.state, self.state.layer
        weights = layer["weights"].copy()
        thresholds = []
        for channel, (gain, offset) in enumerate(zip(state.gain, state.offset, strict=True)):
            if gain == 0:
                # A constant: no weight can be right, the threshold alone decides
                weights[channel] = 0
                on = offset >= level if inclusive else offset > level
                thresholds.append(0 if on else 1)
                continue
            if gain < 0:
                weights[channel] = -weights[channel]
                gain = -gain
            edge = (level - offset) / gain
            thresholds.append(_ceil(edge) if inclusive else _floor(edge) + 1)
        layer["weights"] = weights
        thresholds = np.array([self._int64(t) for t in thresholds], np.int64)
        if layer["kind"] == "conv":
            layer["thresholds"] = thresholds
        else:
            layer.update(bias=-thresholds, emit="bit")
        self.layers.append(layer)
        self.state = _Integers(state.shape, scale, Fraction(0), 1)

    def _int64(self, value):
        if abs(value) >= 1 << 62:
            self.refuse(f"threshold or bias must fit 62 bits, not {value}")
        return int(value)

    def _unsigned(self, scale, bits, mode):
        """Close a layer that emits ``clamp((acc + bias) >> shift)``."""
        state, layer = self.state, self.state.layer
        if bits > 16:
            self.refuse(f"activations of a dense layer must be 1 to 16 bits, not {bits}")
        weights, bias, shifts = layer["weights"].copy(), [], set()
        for channel, (gain, offset) in enumerate(zip(state.gain, state.offset, strict=True)):
            if gain < 0:
                weights[channel] = -weights[channel]
                gain = -gain
            ratio = scale / gain if gain else Fraction(0)
            shift = ratio.numerator.bit_length() - 1
            if ratio.denominator != 1 or ratio.numerator != 1 << max(shift, 0) or shift > 31:
                self.refuse("scale must be the accumulator's scale times a power of two "
                            f"(1 to 2^31), not times {_text(ratio)}: restrict the scales of this "
                            "layer's weights and activations to powers of two")
            shifts.add(shift)
            bias.append((offset / gain, shift))
        if len(shifts) > 1:
            self.refuse("scale of the weights must be the same for all outputs of a layer that "
                        "does not emit bits")
        shift = shifts.pop()
        unit = 1 << shift
        rounded = []
        for value, _ in bias:
            # clamp(round((acc + value) / unit)) as clamp(floor((acc + b) / unit)), b an integer
            if mode in ("FLOOR", "DOWN") or unit == 1 and value.denominator == 1:
                rounded.append(_floor(value))
            elif mode == "HALF_UP":
                rounded.append(_floor(value + Fraction(unit, 2)))
            elif mode in ("CEIL", "UP"):
                rounded.append(_ceil(value) + unit - 1)
            elif mode == "HALF_DOWN":
                rounded.append(_ceil(value - Fraction(unit, 2)) + unit - 1)
            else:
                self.refuse("rounding mode must be FLOOR or HALF_UP, which a shift computes, "
                            f"not {mode!r}")
        layer.update(weights=weights, emit="unsigned", bits=bits, shift=shift,
                     bias=np.array([self._int64(b) for b in rounded], np.int64))
        self.layers.append(layer)
        self.state = _Integers(state.shape, scale, Fraction(0), bits)

    def _sum_of_values(self):
        """Whether the current tensor is a global sum of 8-bit values, not quantised yet."""
        return isinstance(self.state, _Integers) and self.state.bits > 8 \
            and bool(self.layers) and self.layers[-1].get("emit") == "unsigned" \
            and self.layers[-1].get("global") == "sum"

    def _quant_sum(self, scale, bits, mode):
        """Bring a global sum of 8-bit values back to 8 bits: ``min(sum >> pool_shift, 255)``."""
        ratio = scale / self.state.scale
        shift = ratio.numerator.bit_length() - 1
        if bits != 8 or mode not in ("FLOOR", "DOWN") or ratio != 1 << shift:
            self.refuse("a global sum of 8-bit values must be quantised to 8 bits, with rounding "
                        "mode FLOOR and a scale that is a power of two times the sum's")
        self.layers[-1]["pool_shift"] = shift
        self.state = _Integers(self.state.shape, scale, Fraction(0), 8)

    # --- layers

    def _weights(self, index, out_axis, ndim):
        """Integer weights with the output axis first, and a scale per output."""
        constant = self.graph.parameter(self.node, index, "weight")
        if constant.real.ndim != ndim:
            self.refuse(f"weight must have {ndim} dimensions, not {constant.real.ndim}")
        if constant.ints is None:
            if not np.array_equal(constant.real, np.rint(constant.real)):
                self.refuse("weight must come from a Quant node or be integers")
            ints = constant.real.astype(np.int64)
            scale = np.full(ints.shape, Fraction(1), object)
        else:
            ints = constant.ints
            scale = np.broadcast_to(constant.scale, ints.shape)
        ints = np.moveaxis(ints, out_axis, 0)
        scale = np.moveaxis(scale, out_axis, 0).reshape(len(ints), -1)
        if ints.size == 0:
            self.refuse(f"weight must not be empty, not of shape {constant.real.shape}")
        if any(any(s != row[0] for s in row) for row in scale):
            self.refuse("scale of the weights must be one number, or one per output channel")
        if np.abs(ints).max() > 127:
            self.refuse(f"weight must be in -127..127, not {ints.min()}..{ints.max()}: use the "
                        "narrow range")
        return ints, [row[0] for row in scale]

    def _open(self, layer, shape, scales, state):
        gain = [scale * state.scale for scale in scales]
        sums = layer["weights"].reshape(len(scales), -1).sum(axis=1)
        offset = [scale * state.offset * int(total)
                  for scale, total in zip(scales, sums, strict=True)]
        layer["name"] = self.node.name
        self.state = _Accumulators(shape, layer, gain, offset)

    def _conv(self):
        self.first_input()
        state = self.need(_Integers, "the input must be quantised first: integers of a Quant node "
                                     "at the graph's start, bits after another convolution")
        if len(state.shape) != 4 or any("global" in layer for layer in self.layers):
            self.refuse("convolutions must come before the global pool")
        weights, scales = self._weights(1, 0, 4)
        a, kernel = self.attributes, weights.shape[2:]
        if a.get("group", 1) != 1:
            self.refuse(f"group must be 1, not {a['group']}")
        if any(d != 1 for d in a.get("dilations", [])):
            self.refuse(f"dilation must be 1, not {a['dilations']}")
        strides = list(a.get("strides", [1, 1]))
        if len(strides) != 2 or strides[0] != strides[1] or strides[0] not in (1, 2):
            self.refuse(f"stride must be 1 or 2, the same in both directions, not {strides}")
        if max(kernel) > 7:
            self.refuse(f"kernel must be at most 7 x 7, not {kernel[0]} x {kernel[1]}")
        if list(a.get("kernel_shape", kernel)) != list(kernel):
            self.refuse(f"kernel_shape must be the weights' {kernel[0]} x {kernel[1]}")
        if weights.shape[1] != state.shape[1]:
            self.refuse(f"weight must be for {state.shape[1]} input channels, "
                        f"not {weights.shape[1]}")
        padding = self._padding(kernel, strides[0], state.shape[2:])
        padding = tuple(p + q for p, q in zip(padding, state.padding, strict=True))
        if any(p < 0 for p in padding) or max(padding[:2]) >= kernel[0] \
                or max(padding[2:]) >= kernel[1]:
            self.refuse(f"padding must be smaller than the kernel {kernel[0]} x {kernel[1]}, "
                        f"not {padding} (top, bottom, left, right)")
        if state.offset and any(padding):
            self.refuse("activations must be 0 and 1 (or an input with zero point 0) where zeros "
                        f"are padded, not offset by {_text(state.offset)}")
        rows = (state.shape[2] + padding[0] + padding[1] - kernel[0]) // strides[0] + 1
        cols = (state.shape[3] + padding[2] + padding[3] - kernel[1]) // strides[1] + 1
        if rows < 1 or cols < 1:
            self.refuse(f"kernel {kernel[0]} x {kernel[1]} must fit the map of "
                        f"{state.shape[2]} x {state.shape[3]}")
        layer = {"kind": "conv", "weights": weights, "stride": strides[0], "padding": padding,
                 "pool": (1, 1)}
        self._open(layer, (1, len(weights), rows, cols), scales, state)
        self._bias(2)

    def _padding(self, kernel, stride, size):
        auto = self.attributes.get("auto_pad", "NOTSET")
        if auto == "VALID":
            return (0, 0, 0, 0)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pads = []
            for k, n in zip(kernel, size, strict=True):
                total = max((-(-n // stride) - 1) * stride + k - n, 0)
                small, large = total // 2, total - total // 2
                pads += [small, large] if auto == "SAME_UPPER" else [large, small]
            return tuple(pads)
        if auto != "NOTSET":
            self.refuse(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto!r}")
        pads = [int(p) for p in self.attributes.get("pads", [0, 0, 0, 0])]
        if len(pads) != 4:
            self.refuse(f"pads must be four sizes, not {pads}")
        top, left, bottom, right = pads
        return (top, bottom, left, right)

    def _pad(self):
        self.first_input()
        state = self.need(_Integers, "a convolution must directly follow the padding")
        if len(state.shape) != 4:
            self.refuse("padding must be of a map")
        mode = self.attributes.get("mode", "constant")
        if mode != "constant":
            self.refuse(f"mode must be 'constant', not {mode!r}")
        if "pads" in self.attributes:
            pads, value = self.attributes["pads"], self.attributes.get("value", 0)
        else:
            pads = self.graph.parameter(self.node, 1, "pads").real
            value = 0
            if len(self.node.input) > 2 and self.node.input[2]:
                value = self.graph.parameter(self.node, 2, "value").real.reshape(-1)[0]
        pads = [int(p) for p in pads]
        if len(pads) != 8 or pads[0] or pads[1] or pads[4] or pads[5] or min(pads) < 0 or value:
            self.refuse("padding must be of rows and columns, with zeros")
        state.padding = (pads[2], pads[6], pads[3], pads[7])

    def _gemm(self):
        self.first_input()
        a = self.attributes
        if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
            self.refuse("transA must be 0, alpha and beta 1")
        self._dense(0 if a.get("transB", 0) else 1)
        self._bias(2)

    def _matmul(self):
        self.first_input()
        self._dense(1)

    def _dense(self, out_axis):
        state = self.need(_Integers, "a dense layer's inputs must be integers: quantise the layer "
                                     "before it")
        if len(state.shape) != 2 or not any("global" in layer for layer in self.layers):
            self.refuse("a dense layer must follow a global pool (max, sum or average) and a "
                        "Flatten: maps of a fixed size cannot be streamed")
        if self._sum_of_values():
            self.refuse("a global sum of 8-bit values must be quantised to 8 bits (unsigned, "
                        "rounding mode FLOOR, a power of two times its scale)")
        weights, scales = self._weights(1, out_axis, 2)
        if weights.shape[1] != state.shape[1]:
            self.refuse(f"weight must be for {state.shape[1]} inputs, not {weights.shape[1]}")
        self._open({"kind": "dense", "weights": weights}, (1, len(weights)), scales, state)

    # --- per-channel arithmetic

    def _bias(self, index):
        if len(self.node.input) > index and self.node.input[index]:
            bias = self.graph.parameter(self.node, index, "bias")
            channels = self.state.shape[1]
            if bias.real.size not in (1, channels):
                self.refuse(f"bias must be one per output channel ({channels}), "
                            f"not {bias.real.size}")
            values = list(bias.fractions().reshape(-1))
            values = values * channels if len(values) == 1 else values
            self.state.offset = [o + b for o, b in zip(self.state.offset, values, strict=True)]

    def _affine(self, gains, offsets):
        """Apply ``gain * x + offset`` per channel to the current tensor."""
        state = self.state
        if isinstance(state, _Real):
            self.refuse("the input must be quantised first; scaling of features belongs to the "
                        "front end")
        if isinstance(state, _Integers):
            if len(set(gains)) > 1 or len(set(offsets)) > 1 or gains[0] == 0:
                self.refuse("activations that are quantised already can only be changed by one "
                            "number for all channels")
            state.scale, state.offset = state.scale * gains[0], state.offset * gains[0] + offsets[0]
            return
        if "relu" in state.layer and (min(gains) <= 0 or any(offsets)):
            self.refuse("only a positive factor may stand between ReLU and the quantiser")
        if state.pooled and min(gains) <= 0:
            channel = next(i for i, gain in enumerate(gains) if gain <= 0)
            self.refuse(f"gain after a max pool must be positive, not {_text(gains[channel])} in "
                        f"channel {channel}: pool after the step, or clamp the gain")
        state.gain = [g * s for g, s in zip(gains, state.gain, strict=True)]
        state.offset = [g * o + s for g, o, s in zip(gains, state.offset, offsets, strict=True)]

    def _operand(self):
        """Values per channel of an element-wise node's constant, and whether it stands first."""
        index = 1 if self.node.input[0] == self.tensor else 0
        constant = self.graph.parameter(self.node, index, "operand")
        shape, channels = constant.real.shape, self.state.shape[1]
        full = (1,) * (len(self.state.shape) - len(shape)) + shape
        if len(full) != len(self.state.shape) or full[1] not in (1, channels) \
                or any(size != 1 for i, size in enumerate(full) if i != 1):
            self.refuse(f"operand must be one number, or one per channel ({channels}), "
                        f"not of shape {shape}")
        values = list(constant.fractions().reshape(-1))
        return (values * channels if len(values) == 1 else values), index == 0

    def _mul(self):
        values, _ = self._operand()
        self._affine(values, [Fraction(0)] * len(values))

    def _div(self):
        values, first = self._operand()
        if first:
            self.refuse("the activations must be the dividend")
        if 0 in values:
            self.refuse("divisor must not be 0")
        self._affine([1 / value for value in values], [Fraction(0)] * len(values))

    def _add(self):
        values, _ = self._operand()
        self._affine([Fraction(1)] * len(values), values)

    def _sub(self):
        values, first = self._operand()
        sign = Fraction(-1) if first else Fraction(1)
        self._affine([sign] * len(values), [-sign * value for value in values])

    def _batchnormalization(self):
        self.first_input()
        self.need(_Accumulators, "batch norm must stand between a layer and its quantiser")
        if self.attributes.get("training_mode", 0):
            self.refuse("training_mode must be 0")
        channels = self.state.shape[1]
        parts = []
        for index, what in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")):
            part = self.graph.parameter(self.node, index, what).fractions().reshape(-1)
            if len(part) != channels:
                self.refuse(f"{what} must be one per channel ({channels}), not {len(part)}")
            parts.append(part)
        epsilon = Fraction(float(self.attributes.get("epsilon", 1e-5)))
        if min(parts[3]) + epsilon <= 0:
            self.refuse("variance + epsilon must be positive")
        gains, offsets = [], []
        for gamma, beta, mean, variance in zip(*parts, strict=True):
            gain = gamma / _sqrt(variance + epsilon)
            gains.append(gain)
            offsets.append(beta - gain * mean)
        self._affine(gains, offsets)

    # --- pools and shapes

    def _maxpool(self):
        if len(self.node.output) > 1 and self.node.output[1]:
            self.refuse("indices cannot be given out")
        state = self.state
        self._need_map()
        a = self.attributes
        kernel = [int(k) for k in a.get("kernel_shape", [])]
        if len(kernel) != 2 or min(kernel) < 1:
            self.refuse(f"kernel_shape must be two sizes, not {kernel}")
        strides = list(a.get("strides", [1, 1]))
        if strides != kernel:
            self.refuse(f"stride must equal the pool's size {kernel}, not {strides}: windows must "
                        "not overlap or leave gaps")
        if any(a.get("pads", [])) or any(d != 1 for d in a.get("dilations", [])) \
                or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            self.refuse("padding and dilation of a pool are not supported")
        if a.get("ceil_mode", 0) and any(n % k for n, k in
                                         zip(state.shape[2:], kernel, strict=True)):
            self.refuse("ceil_mode must be 0 where the pool does not divide the map")
        rows, cols = (n // k for n, k in zip(state.shape[2:], kernel, strict=True))
        if min(rows, cols) < 1:
            self.refuse(f"pool {kernel[0]} x {kernel[1]} must fit the map of {state.shape[2]} x "
                        f"{state.shape[3]}")
        layer = self._pooled_layer()
        # Two pools one after the other are one, because both drop what does not fill a window
        layer["pool"] = (layer["pool"][0] * kernel[0], layer["pool"][1] * kernel[1])
        state.shape = (*state.shape[:2], rows, cols)

    def _need_map(self):
        state = self.state
        if isinstance(state, _Real) or len(state.shape) != 4 or not self._open_layer():
            self.refuse("a pool must follow a convolution")
        if "global" in self._open_layer():
            self.refuse("the map is pooled globally already")

    def _open_layer(self):
        if isinstance(self.state, _Accumulators):
            return self.state.layer if self.state.layer["kind"] == "conv" else None
        return self.layers[-1] if self.layers and self.layers[-1]["kind"] == "conv" else None

    def _pooled_layer(self):
        """The convolution that a max pool at this place belongs to, or a refusal."""
        state = self.state
        if isinstance(state, _Accumulators):
            state.pooled = True
            return state.layer
        if state.scale < 0:
            self.refuse("activations must have a positive scale before a max pool, "
                        f"not {_text(state.scale)}")
        return self.layers[-1]

    def _global(self, how, keepdims=True):
        self._need_map()
        state = self.state
        if how == "max":
            layer = self._pooled_layer()
            layer["global"] = "max"
        else:
            if not isinstance(state, _Integers):
                self.refuse("a global sum or average must follow the Quant of the map")
            size = state.shape[2] * state.shape[3]
            self.layers[-1]["global"] = "sum"
            state.bits = (size * ((1 << state.bits) - 1)).bit_length()
            if state.bits <= 8 and self.layers[-1].get("emit") == "unsigned":
                state.bits = 9  # of a sum that is still to be quantised, whatever it reaches
            if how == "average":
                state.scale = state.scale / size
            else:
                state.offset = state.offset * size
        state.shape = (*state.shape[:2], 1, 1) if keepdims else state.shape[:2]

    def _globalmaxpool(self):
        self._global("max")

    def _globalaveragepool(self):
        self._global("average")

    def _reduce(self, how):
        self.first_input()
        axes = self.attributes.get("axes")
        if axes is None and len(self.node.input) > 1 and self.node.input[1]:
            axes = [int(axis) for axis in self.graph.parameter(self.node, 1, "axes").real]
        rank = len(self.state.shape)
        if axes is None or sorted(axis % rank for axis in axes) != [2, 3]:
            shown = "all" if axes is None else list(axes)
            self.refuse(f"axes must be rows and columns, [2, 3], not {shown}")
        self._global(how, bool(self.attributes.get("keepdims", 1)))

    def _reducemax(self):
        self._reduce("max")

    def _reducesum(self):
        self._reduce("sum")

    def _reducemean(self):
        self._reduce("average")

    def _averagepool(self):
        rows, cols = self.state.shape[2:] if len(self.state.shape) == 4 else (0, 0)
        a = self.attributes
        if list(a.get("kernel_shape", [])) != [rows, cols] or any(a.get("pads", [])):
            self.refuse("average pool must be over the whole map")
        self._global("average")

    def _relu(self):
        state = self.state
        if isinstance(state, _Real):
            self.refuse("the input must be quantised first")
        if isinstance(state, _Integers):
            if state.scale < 0 or state.offset:
                self.refuse("must stand before the quantiser")
            if state.is_input and self.spec.signed:
                self.refuse("must not follow the signed input")
            return
        # Before an unsigned quantiser, which clamps at 0 itself, ReLU changes nothing; before
        # anything that moves the zero it would
        state.layer["relu"] = self.node

    def _flatten(self):
        self._reshape_to([1, -1] if self.attributes.get("axis", 1) in (1, -3) else None)

    def _reshape(self):
        self.first_input()
        shape = [int(size) for size in self.graph.parameter(self.node, 1, "shape").real]
        self._reshape_to(shape)

    def _squeeze(self):
        axes = self.attributes.get("axes")
        if axes is None and len(self.node.input) > 1 and self.node.input[1]:
            axes = [int(axis) for axis in self.graph.parameter(self.node, 1, "axes").real]
        shape = self.state.shape
        ok = axes is not None and sorted(axis % len(shape) for axis in axes) == [2, 3] \
            and shape[2:] == (1, 1)
        self._reshape_to(list(shape[:2]) if ok else None)

    def _reshape_to(self, target):
        shape = self.state.shape
        channels = shape[1]
        if target is not None:
            # A size of 0 copies, -1 takes the rest
            target = [shape[i] if size == 0 and i < len(shape) else size
                      for i, size in enumerate(target)]
        pooled = any("global" in layer for layer in self._all_layers())
        if not pooled or math.prod(shape) != channels:
            self.refuse("a map must be pooled globally (max, sum or average) before it is "
                        "flattened")
        if target not in ([1, channels], [1, -1], [-1, channels]):
            self.refuse(f"shape must become 1 x {channels}, not {target}")
        self.state.shape = (1, channels)

    def _all_layers(self):
        layers = list(self.layers)
        if isinstance(self.state, _Accumulators):
            layers.append(self.state.layer)
        return layers

    def _identity(self):
        pass

    _dropout = _identity

    # --- the end

    def _finish(self):
        state = self.state
        if not isinstance(state, _Accumulators) or state.layer["kind"] != "dense":
            raise GraphError(f"Output {self.graph.output!r} must be the unquantised result of a "
                             "dense layer")
        if "relu" in state.layer:
            refuse(state.layer["relu"], "scores must be the last dense layer's plain result")
        if not any(layer["kind"] == "conv" for layer in self.layers):
            raise GraphError("Network must have at least one convolution before its dense layers")
        self.layers.append(state.layer)
        return state


SUPPORTED = sorted([
    "Add", "AveragePool", "BatchNormalization", "BipolarQuant", "Conv", "Div", "Dropout",
    "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "IntQuant", "MatMul",
    "MaxPool", "Mul", "Pad", "Quant", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape",
    "Squeeze", "Sub"])


def _metadata(model):
    """Our own export's metadata, or an empty dict if the file is not ours."""
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            try:
                values = json.loads(prop.value)
                if values["schema"] != METADATA_SCHEMA:
                    raise GraphError(f"Metadata schema must be {METADATA_SCHEMA}, "
                                     f"not {values['schema']!r}")
                layers = [{"name": str(entry["name"])} | ({"bits": int(entry["bits"]),
                                                           "shift": int(entry["shift"])}
                                                          if len(entry) > 1 else {})
                          for entry in values["layers"]]
                return {"name": str(values["name"]), "layers": layers,
                        "score_scale": float(values["score_scale"]),
                        "score_offset": float(values["score_offset"]),
                        "front_end": FrontEnd(**values["front_end"])}
            except (ValueError, TypeError, KeyError) as error:
                if isinstance(error, GraphError):
                    raise
                raise GraphError(f"Metadata {METADATA_KEY!r} is damaged: {error}") from error
    return {}


def _raw_bias(offsets, scale, offset):
    """Integer biases with ``scale * bias + offset == offsets``, or None."""
    bias = [(value - offset) / scale for value in offsets]
    return [b.numerator for b in bias] if all(b.denominator == 1 for b in bias) else None


def _scores(state, metadata):
    """The last layer's weights and bias, and the scale and offset of the score."""
    layer = state.layer
    weights, gain, offset = layer["weights"].copy(), list(state.gain), list(state.offset)
    name = layer["name"] or "last dense layer"
    if len({abs(g) for g in gain}) > 1 or gain[0] == 0:
        raise GraphError(f"{name}: scale of the scores must be one number other than 0, "
                         f"the same for all outputs")
    if len(set(gain)) > 1:
        for channel, g in enumerate(gain):
            if g < 0:
                weights[channel] = -weights[channel]
        gain = [abs(g) for g in gain]
    scale = gain[0]
    if metadata:
        # The file holds float32, the network a float: take the network's own numbers back if they
        # are what the file's are rounded from
        own = metadata["score_scale"], metadata["score_offset"]
        rounded = [Fraction(float(np.float32(value))) for value in own]
        if rounded[0] == scale:
            bias = _raw_bias(offset, scale, rounded[1])
            if bias is not None:
                return weights, bias, *own
    bias = [_floor(value / scale + Fraction(1, 2)) for value in offset]
    rest = [value - scale * b for value, b in zip(offset, bias, strict=True)]
    # float32 biases that were meant as multiples of the scale miss it by a rounding
    slack = abs(scale) * Fraction(1, 1 << 10)
    if max(rest) - min(rest) > slack:
        raise GraphError(f"{name}: biases must differ by whole steps of the scale "
                         f"{_text(abs(scale))}: quantise the bias to the accumulator's scale")
    return weights, bias, float(scale), float(rest[0])


def _names(layers, metadata):
    if [layer["kind"] for layer in layers] == \
            ["dense" if "bits" in entry else "conv" for entry in metadata.get("layers", ())]:
        return [entry["name"] for entry in metadata["layers"]]
    names = [layer["name"] for layer in layers]
    if all(names) and len(set(names)) == len(names):
        return names
    count = Counter()
    canonical = []
    for layer in layers:
        count[layer["kind"]] += 1
        canonical.append(f"{layer['kind']}{count[layer['kind']]}")
    return canonical


def from_model(model, name="network"):
    """The :class:`IntegerNetwork` of an ``onnx.ModelProto``; see :func:`load`."""
    importer = _Importer(Graph(model.graph))
    state = importer.run()
    metadata = _metadata(model)
    weights, bias, scale, offset = _scores(state, metadata)
    last = importer.layers[-1]
    if max(abs(b) for b in bias) >= 1 << 62:
        raise GraphError(f"{last['name'] or 'last dense layer'}: bias must fit 62 bits")
    last.update(weights=weights, bias=np.array(bias, np.int64), emit="raw")
    layers = []
    names = _names(importer.layers, metadata)
    carried = metadata.get("layers") if names == [
        entry.get("name") for entry in metadata.get("layers", ())] else None
    for index, (layer, title) in enumerate(zip(importer.layers, names, strict=True)):
        if layer["kind"] == "conv":
            values = {name: layer[name] for name in ("bias", "shift", "pool_shift")
                      if name in layer}
            layers.append(Conv2d(title, layer["weights"], layer.get("thresholds"),
                                 layer["stride"], layer["padding"], layer["pool"],
                                 layer.get("global"), **values))
            continue
        bits, shift = layer.get("bits", 8), layer.get("shift", 0)
        if layer["emit"] != "unsigned" and carried:
            bits, shift = carried[index]["bits"], carried[index]["shift"]
        layers.append(Dense(title, layer["weights"], layer["bias"], layer["emit"], bits, shift))
    return IntegerNetwork(metadata.get("name", name), importer.spec, layers, scale, offset,
                          metadata.get("front_end", FrontEnd()))


def load(path):
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
