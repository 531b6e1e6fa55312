"""The integer network: what every level from the export down means by "the network".

An :class:`IntegerNetwork` is a graph of layers over integers. It is produced from a trained
PyTorch network (:mod:`bamac.nn.lowering`) or from a QONNX file (:mod:`bamac.qonnx.importer`), run
by the integer reference (:mod:`bamac.ir.reference`) and mapped onto the array by the compiler
(:mod:`bamac.compiler`). Nothing in it is a float, except the scale of the final score and the
quantisation of the front end, which hardware never sees.

Axes: an activation map is ``(channels, rows, cols)``; a row is one frame in time, a column one
feature (mel band). Kernels, strides, pools and paddings are ``(row, col)`` in that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .bounds import memory_count
from .checks import SHIFT_MAX, VALUE_MAX, WEIGHT_MAX, Array, GraphError, require
from .conv import MAX_KERNEL, Conv2d
from .dense import Dense
from .layer import Layer, TensorSpec

__all__ = ["FRAMES", "MAX_KERNEL", "SHIFT_MAX", "VALUE_MAX", "WEIGHT_MAX", "Conv2d", "Dense",
           "FrontEnd", "GraphError", "InputSpec", "IntegerNetwork", "Layer", "TensorSpec", "joined"]

FRAMES = "frames"  # the network's input, among the names of layers


@dataclass(frozen=True)
class InputSpec:
    """The integer frames that the network reads.

    Frames are (rows, cols), or (channels, rows, cols) where there are several channels. A frame's
    value ``q`` stands for the real number ``scale * (q - zero_point)``. Layers compute on
    ``q - zero_point``, so padding, which is the integer 0, stands for the real number 0.

    Parameters
    ----------
    bits : 1..8, of ``q``; two's complement, 2..8, where ``signed``
    narrow : whether the lowest signed value is left out, so that the range is symmetric
    bipolar : whether real numbers are quantised to -1 and +1 by their sign; ``bits`` is then 2,
        ``signed`` and ``narrow``
    """

    rows: int
    cols: int
    bits: int = 8
    signed: bool = True
    channels: int = 1
    zero_point: int = 0
    scale: float = 1.0
    narrow: bool = False
    bipolar: bool = False

    def __post_init__(self) -> None:
        require(self.rows >= 1 and self.cols >= 1,
                f"Input must have at least one row and column, not {self.rows} x {self.cols}")
        require(self.channels >= 1, f"Input must have at least one channel, not {self.channels}")
        low = 2 if self.signed else 1
        require(low <= self.bits <= 8, f"Input bits must be in {low}..8, not {self.bits}")
        require(self.signed or not self.narrow, "Only signed inputs have a narrow range")
        require(not self.bipolar or (self.bits, self.signed, self.narrow) == (2, True, True),
                "A bipolar input must be of 2 bits, signed and narrow: -1 and +1")
        require(self.min <= self.zero_point <= self.max,
                f"Input zero point must be in {self.min}..{self.max}, not {self.zero_point}")
        require(self.scale > 0, f"Input scale must be positive, not {self.scale}")

    @property
    def min(self) -> int:
        """The smallest value of a frame."""
        return -(1 << (self.bits - 1)) + self.narrow if self.signed else 0

    @property
    def max(self) -> int:
        """The largest value of a frame."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one window of frames."""
        return (self.rows, self.cols) if self.channels == 1 else self.map_shape

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(channels, rows, cols), what the first layer reads."""
        return self.channels, self.rows, self.cols

    def quantise(self, values: npt.ArrayLike) -> Array:
        """Real ``values`` as frames of the same shape, int64.

        In float32, rounded to the nearest integer and half to even, as QONNX' ``Quant`` does;
        values out of range become the nearest that is in it.
        """
        real = np.asarray(values, np.float32)
        if self.bipolar:
            return np.where(real >= 0, 1, -1).astype(np.int64)
        whole = np.rint(real / np.float32(self.scale) + np.float32(self.zero_point))
        frames: Array = np.clip(whole, self.min, self.max).astype(np.int64)
        return frames

    def further(self) -> dict[str, Any]:
        """The fields behind ``signed`` that say something, by name."""
        return {name: getattr(self, name)
                for name in ("channels", "zero_point", "scale", "narrow", "bipolar")
                if getattr(self, name) != getattr(InputSpec, name)}

    def _key(self) -> str:
        """What decides the integers of the first layer, in the form that digests have."""
        text = f"InputSpec(rows={self.rows}, cols={self.cols}, bits={self.bits}, " \
               f"signed={self.signed})"
        further = list(self.further().items())
        return text + (repr(further) if further else "")


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
    """Checked layers in the order of execution; the last one emits the raw scores.

    ``score = raw * score_scale + score_offset`` gives the real score of each output.

    Parameters
    ----------
    layers : a layer reads what the one before it hands on, unless ``inputs`` says otherwise
    score_scale, score_offset : one number, or one per output
    inputs : names of the layers that a layer reads, by its own name; ``"frames"`` are the
        network's. Where there are several, it reads their channels one behind the other: a
        concatenation, and with weights for each part a sum of branches.

    Raises
    ------
    GraphError
        If a layer cannot read what those before it hand on, or the layers are no such network.
    """

    name: str
    input: InputSpec
    layers: Sequence[Layer]
    score_scale: float | tuple[float, ...] = 1.0
    score_offset: float | tuple[float, ...] = 0.0
    front_end: FrontEnd = field(default_factory=FrontEnd)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        require(self.layers, f"{self.name}: network must have at least one layer")
        names = [layer.name for layer in self.layers]
        require(len(set(names)) == len(names) and FRAMES not in names,
                f"{self.name}: layer names must differ, and none be {FRAMES!r}: {names}")
        self._check_inputs(names)
        for layer, before in self.steps():
            layer.check_input(before)
            require((layer is self.layers[-1]) == layer.emits_scores,
                    f"{layer.name}: the last layer, and no other, must emit raw scores")
        outputs = self.layers[-1].out_channels
        for what in ("score_scale", "score_offset"):
            value = getattr(self, what)
            if isinstance(value, Sequence):
                require(len(value) == outputs, f"{self.name}: {what} must be one number, or one "
                                               f"per output ({outputs}), not {len(value)}")
                alike = len(set(value)) == 1
                object.__setattr__(self, what, float(value[0]) if alike
                                   else tuple(float(each) for each in value))

    def _check_inputs(self, names: list[str]) -> None:
        """Refuse inputs that do not exist, come later, or are read by nobody; leave out the usual.
        """
        usual = dict(zip(names, [FRAMES, *names], strict=False))
        kept: dict[str, tuple[str, ...]] = {}
        for name, sources in self.inputs.items():
            require(name in usual, f"{self.name}: no layer is called {name!r}")
            known = [FRAMES, *names[:names.index(name)]]
            missing = [source for source in sources if source not in known]
            require(sources and not missing,
                    f"{name}: must read layers that stand before it, not "
                    f"{', '.join(missing) or 'nothing'}")
            if tuple(sources) != (usual[name],):
                kept[name] = tuple(sources)
        object.__setattr__(self, "inputs", kept)
        read = {source for name in names for source in self.inputs_of(name)}
        unread = [name for name in names[:-1] if name not in read]
        require(not unread, f"{self.name}: no layer reads {', '.join(unread)}")

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Names of the layers that the layer ``name`` reads, ``"frames"`` for the network's input.
        """
        if name in self.inputs:
            return self.inputs[name]
        names = [FRAMES, *(layer.name for layer in self.layers)]
        return (names[names.index(name) - 1],)

    @property
    def is_chain(self) -> bool:
        """Whether every layer reads the one before it, and no other."""
        return not self.inputs

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
        return any(layer.emits_int8 for layer in self.layers)

    def steps(self) -> Iterator[tuple[Layer, TensorSpec]]:
        """Each layer in execution order, with what it reads."""
        made = {FRAMES: TensorSpec(self.input.map_shape, self.input.min - self.input.zero_point,
                                   self.input.max - self.input.zero_point)}
        for layer in self.layers:
            sources = self.inputs_of(layer.name)
            reads = joined(layer.name, [made[source] for source in sources])
            yield layer, reads
            made[layer.name] = layer.output(reads)

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
                          "bits": self.input.bits, "signed": self.input.signed,
                          **self.input.further()},
                "front_end": {"kind": self.front_end.kind, "offset": self.front_end.offset,
                              "steps": self.front_end.steps},
                "parameters": sum(layer.parameters for layer in self.layers),
                "macs": sum(layer["macs"] for layer in layers),
                "memory_count": self.memory_count(), "layers": layers}

    def digest(self) -> str:
        """SHA-256 over everything that decides the network's integers and its score."""
        digest = hashlib.sha256()
        # Fields that came later are part of it only where they say something, so that the digests
        # of networks without them stay as they are
        digest.update(f"('bamac-network-1', {self.input._key()}, {self.score_scale!r}, "
                      f"{self.score_offset!r}, {self.front_end!r})".encode())
        if self.inputs:
            digest.update(repr(sorted(self.inputs.items())).encode())
        for layer in self.layers:
            layer.update_digest(digest)
        return digest.hexdigest()


def joined(name: str, parts: Sequence[TensorSpec]) -> TensorSpec:
    """What layer ``name`` reads of several tensors: their channels one behind the other.

    Raises
    ------
    GraphError
        If they are not all maps of one size, or all vectors.
    """
    if len(parts) == 1:
        return parts[0]
    sizes = {part.shape[1:] for part in parts}
    require(len(sizes) == 1, f"{name}: the maps that it reads must have the same rows and columns, "
                             f"not {', '.join(str(part.shape) for part in parts)}")
    return TensorSpec((sum(part.channels for part in parts), *sizes.pop()),
                      min(part.low for part in parts), max(part.high for part in parts))
