"""What a network is made of: its shape, its variant, and the widths of its integer form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["ACC_BITS", "HEAD_MAX", "P808", "PAPER", "UNIT_SHIFT", "VARIANTS", "ConvSpec",
           "NetConfig", "config_from_dict", "make_config", "with_thresholds"]

ACC_BITS = 20
"""Width of the accumulators of binary maps and of the head, in signed bits."""
HEAD_MAX = 255
"""Largest activation of the head, an unsigned byte."""
UNIT_SHIFT = 1
"""Shift of the count units: one of weight w saturates at a popcount of ``255 * 2 / w``."""
VARIANTS = ("fp32", "w8", "bam", "bam-w8")
INPUT_BITS = (3, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class ConvSpec:
    """One convolution with its pool.

    Parameters
    ----------
    out_channels : channels of its map
    kernel : rows, columns
    stride : in both directions
    pool : rows, columns of the max pool; (1, 1) for none
    padding : top, bottom, left, right; None keeps the size (at stride 1)
    levels : thresholds per kernel. ``out_channels / levels`` kernels make the map's channels: those
        of the first threshold, then those of the next. To the integer network they are channels
        with equal weights.

    Raises
    ------
    ValueError
        If the channels are no multiple of the levels.
    """

    out_channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    pool: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] | None = None
    levels: int = 1

    def __post_init__(self) -> None:
        if self.levels < 1 or self.out_channels % self.levels:
            raise ValueError(f"Output channels must be a multiple of the levels, "
                             f"not {self.out_channels} for {self.levels}")

    @property
    def kernels(self) -> int:
        """Kernels of the convolution."""
        return self.out_channels // self.levels

    def pads(self) -> tuple[int, int, int, int]:
        """Padding at the top, bottom, left and right."""
        if self.padding is not None:
            return tuple(self.padding)
        kh, kw = self.kernel
        return ((kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2)

    def out_shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of its map, after the pool, of an input of ``rows`` x ``cols``."""
        top, bottom, left, right = self.pads()
        rows = (rows + top + bottom - self.kernel[0]) // self.stride + 1
        cols = (cols + left + right - self.kernel[1]) // self.stride + 1
        return rows // self.pool[0], cols // self.pool[1]


@dataclass(frozen=True)
class NetConfig:
    """What a network is made of.

    Parameters
    ----------
    name : of the shape
    rows, cols : size of the input, frames x mel bands
    convs : :class:`ConvSpec` per stage
    dense : sizes of the hidden dense layers
    outputs : scores
    global_pool : ``"sum"`` (popcount of each channel, or of ReLU maps the mean) or ``"max"``
    variant : ``"fp32"``, ``"w8"``, ``"bam"`` or ``"bam-w8"``
    dropout : after every convolution stage, in training
    start_bias : start of batch norm's bias; it sets the activation density, Phi(start_bias)
    beta : width parameter of the surrogate gradient
    input_bits : bits of the input's integers; below 8 the int8 features are rounded
    weight_bits : bits of each convolution's weights, in order; empty for 8 everywhere
    count_units : saturating units per channel of the last map, which the head reads in place of
        the popcounts (:mod:`bamac.nn.count_units`); 0 for the popcounts themselves

    Raises
    ------
    ValueError
        If no network has these values.
    """

    name: str = "paper"
    rows: int = 249
    cols: int = 120
    convs: tuple[ConvSpec, ...] = ()
    dense: tuple[int, ...] = (64, 64)
    outputs: int = 1
    global_pool: str = "sum"
    variant: str = "bam-w8"
    dropout: float = 0.0
    start_bias: float = -1.0
    beta: float = 2.0
    input_bits: int = 8
    weight_bits: tuple[int, ...] = ()
    count_units: int = 0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"Variant must be one of {', '.join(VARIANTS)}, not {self.variant!r}")
        if self.global_pool not in ("sum", "max"):
            raise ValueError(f"Global pool must be 'sum' or 'max', not {self.global_pool!r}")
        if self.input_bits not in INPUT_BITS:
            raise ValueError(f"Input bits must be in 3..8, not {self.input_bits!r}")
        if self.weight_bits and (len(self.weight_bits) != len(self.convs)
                                 or not all(2 <= b <= 8 for b in self.weight_bits)):
            raise ValueError(f"Weight bits must be one number in 2..8 for each of "
                             f"{len(self.convs)} convolutions, not {self.weight_bits}")
        if not self.convs:
            raise ValueError("Network must have at least one convolution, not ()")
        if not self.binary and any(conv.levels > 1 for conv in self.convs):
            raise ValueError(f"Variant must be bam or bam-w8 for several levels, "
                             f"not {self.variant!r}")
        if self.count_units and not (self.binary and self.global_pool == "sum"):
            raise ValueError(f"Variant must be bam or bam-w8 and global pool sum for count units, "
                             f"not {self.variant!r} and {self.global_pool!r}")
        rows, cols = self.map_shape()
        if rows < 1 or cols < 1:
            raise ValueError(f"Input must be large enough for every kernel and pool, "
                             f"not {self.rows} x {self.cols}")

    def map_shape(self, rows: int | None = None) -> tuple[int, int]:
        """Rows and columns of the last map, before the global pool, of an input of ``rows``."""
        rows, cols = rows or self.rows, self.cols
        for conv in self.convs:
            rows, cols = conv.out_shape(rows, cols)
        return rows, cols

    @property
    def binary(self) -> bool:
        """Whether the activation maps are bits."""
        return self.variant.startswith("bam")

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of all layers between the global pool and the scores, in order."""
        units = self.count_units * self.convs[-1].out_channels
        return (units, *self.dense) if units else tuple(self.dense)

    @property
    def conv_bits(self) -> tuple[int, ...]:
        """Weight bits of every convolution."""
        return tuple(self.weight_bits) or (8,) * len(self.convs)

    def as_dict(self) -> dict[str, Any]:
        """All values, nested; :func:`config_from_dict` reads them."""
        return asdict(self)


PAPER = NetConfig("paper", 249, 120, (ConvSpec(32), ConvSpec(32), ConvSpec(32),
                                      ConvSpec(64, pool=(1, 1))))
"""The speech quality network of arXiv:2407.04578."""
P808 = NetConfig("p808", 900, 120, (ConvSpec(32), ConvSpec(32), ConvSpec(32, pool=(1, 1)),
                                    ConvSpec(32), ConvSpec(64, pool=(1, 1))))
"""The shape of DNSMOS P.808."""


def make_config(name: str = "paper", variant: str = "bam-w8", **changes: Any) -> NetConfig:
    """A named network in one of its variants; ReLU maps start with half of their values above 0.

    Raises
    ------
    ValueError
        If there is no network of that name, or none with these ``changes``.
    """
    base = {"paper": PAPER, "p808": P808}.get(name)
    if base is None:
        raise ValueError(f"Network must be paper or p808, not {name!r}")
    if variant in ("fp32", "w8"):
        changes = {"start_bias": 0.0, **changes}
    return replace(base, variant=variant, **changes)


def config_from_dict(values: Mapping[str, Any]) -> NetConfig:
    """The inverse of :meth:`NetConfig.as_dict`, from plain lists and numbers."""
    convs = tuple(ConvSpec(c["out_channels"], tuple(c["kernel"]), c["stride"], tuple(c["pool"]),
                           None if c["padding"] is None else tuple(c["padding"]),
                           c.get("levels", 1))
                  for c in values["convs"])
    return NetConfig(**{**values, "convs": convs, "dense": tuple(values["dense"]),
                        "weight_bits": tuple(values.get("weight_bits", ()))})


def with_thresholds(config: NetConfig, counts: Sequence[int]) -> NetConfig:
    """``config`` with so many thresholds per kernel of each map, one number per convolution."""
    return replace(config, convs=tuple(
        replace(conv, out_channels=conv.kernels * count, levels=count)
        for conv, count in zip(config.convs, counts, strict=True)))
