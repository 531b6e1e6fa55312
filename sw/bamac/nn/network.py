"""Networks with binary activation maps in PyTorch, and their fp32 ReLU twin.

A network is a chain of convolutions, a global pool and a dense head, described by a
:class:`bamac.nn.config.NetConfig`. Input: ``(N, 1, rows, cols)`` float tensors that hold the int8
features as they are (rows = frames, cols = mel bands).

Four variants: ``fp32`` (ReLU), ``w8`` (ReLU, int8 weights, the rest in float), ``bam`` (binary
maps, float weights) and ``bam-w8`` (binary maps, int8 weights and an integer head).

The integer grid
----------------
In evaluation mode, ``bam-w8`` computes what hardware computes, integer for integer, in float32
tensors that hold integers below 2^24:

* convolution: ``acc = sum(q * x)`` with int8 weights q (scale per output channel) and x the int8
  input or bits; ``bit = acc >= T``. T comes from batch norm in float64
  (:func:`bamac.nn.layers.thresholds`): ``gain * (acc * scale - mean) / std + bias > 0`` holds
  exactly from ``T = floor((mean - bias * std / gain) / scale) + 1`` on.
* global pool: the popcount of each channel (``"sum"``), or the OR of its bits (``"max"``).
* hidden dense layer: ``h = clamp((q @ x + b) >> shift, 0, 255)``, ``b`` an integer that includes
  the rounding constant 2^(shift-1). One weight scale per layer; the scale of h follows from
  it, so no multiplication is needed. Scales and shifts are fixed when int8 training begins
  (:meth:`Network.start_int8`), and the weights learn around them.
* with ``count_units``, a dense layer of fixed weights before these: units that rise with one
  channel's popcount and stop at 255 (:mod:`bamac.nn.count_units`).
* last dense layer: ``raw = q @ x + b``; ``score = raw * score_scale + score_offset``.

Accumulators in hardware have :data:`bamac.nn.config.ACC_BITS` bits. Rows of the head whose largest
possible sum would not fit are scaled down after every training step (:meth:`Network.constrain`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .config import HEAD_MAX, NetConfig
from .fused import require_compiler
from .layers import ConvStage, DenseStage

__all__ = ["Network"]


class Network(nn.Module):
    """A chain of :class:`ConvStage`, a global pool, and :class:`DenseStage` layers.

    ``forward`` maps ``(N, 1, rows, cols)`` integer-valued features of ``config.input_bits`` bits
    to scores ``(N, outputs)``. Before int8 training, clips of any number of rows are accepted.
    """

    INPUT_SCALE = 1 / 64

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        channels, scale = 1, self.INPUT_SCALE * 2 ** (8 - config.input_bits)
        stages = []
        for spec, bits in zip(config.convs, config.conv_bits, strict=True):
            stages.append(ConvStage(spec, channels, config, scale, bits))
            channels, scale = spec.out_channels, 1.0
        self.convs = nn.ModuleList(stages)
        rows, cols = config.map_shape()
        area = rows * cols if config.global_pool == "sum" and config.binary else 1
        # Popcounts are a few percent of the map; the first dense layer reads values of about 1
        self.pool_scale = 8.0 / area if area > 1 else 1.0
        sizes = [channels, *config.hidden, config.outputs]
        maxima = [area] + [HEAD_MAX] * len(config.hidden)
        self.head = nn.ModuleList(
            DenseStage(n_in, n_out, top, last=i == len(config.hidden),
                       saturating=i == 0 and config.count_units > 0)
            for i, (n_in, n_out, top) in enumerate(zip(sizes[:-1], sizes[1:], maxima,
                                                       strict=True)))
        self.register_buffer("score_offset", torch.tensor(2.5, dtype=torch.float64))
        self.norm_frozen = False
        self.int8 = False

    @property
    def score_scale(self) -> float:
        """Real value of one step of the raw score."""
        last = self.head[-1]
        return float(last.in_scale * last.weight_scale)

    def train(self, mode: bool = True) -> Network:
        """Switch to training, or to evaluation; frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.norm_frozen:
            for stage in self.convs:
                stage.norm.eval()
        return self

    def maps(self, x: Tensor) -> list[Tensor]:
        """The activation maps after every convolution stage."""
        maps = []
        for stage in self.convs:
            x = stage(x)
            maps.append(x)
        return maps

    def pool(self, last: Tensor) -> Tensor:
        """The global pool (N, channels) of the last map."""
        if self.config.global_pool == "max":
            return last.amax((2, 3))
        return last.sum((2, 3)) if self.config.binary else last.mean((2, 3))

    def _head(self, x: Tensor) -> Tensor:
        for stage in self.head:
            x = stage(x)
        return x

    def pooled(self, x: Tensor) -> Tensor:
        """The vector that the head reads: integers for binary maps."""
        return self.pool(self.maps(x)[-1])

    def raw(self, x: Tensor) -> Tensor:
        """The head's last accumulators; only of a network with an integer head."""
        return self._head(self.pooled(x))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, outputs)."""
        return self.score(self.maps(x)[-1], x.shape[2])

    def score(self, last: Tensor, rows: int) -> Tensor:
        """Scores from the last activation map of an input of ``rows`` rows."""
        pooled = self.pool(last)
        if self.int8 and self.config.binary:
            raw = self._head(pooled)
            if self.training:
                return raw * self.score_scale + float(self.score_offset)
            return raw.double() * self.score_scale + self.score_offset
        # Popcounts of a clip that is shorter than the network's window are scaled up to it
        window = self.config.rows / rows if self.pool_scale != 1.0 else 1.0
        return self._head(pooled.float() * (self.pool_scale * window)) + float(self.score_offset)

    @torch.no_grad()
    def constrain(self) -> None:
        """Keep what the integer form needs; call it after every optimiser step."""
        for stage in self.convs:
            stage.norm.weight.clamp_(min=1e-3)
        for stage in self.head:
            stage.constrain()

    @torch.no_grad()
    def measure_norm(self, batches: Iterable[Tensor]) -> None:
        """Batch norm's statistics over ``batches`` of features, as a mean over the batches."""
        self.train()
        momenta = [stage.norm.momentum for stage in self.convs]
        for stage in self.convs:
            stage.norm.train()
            stage.norm.reset_running_stats()
            stage.norm.momentum = None  # cumulative average
            stage.drop.eval()
        for batch in batches:
            self.maps(batch)
        for stage, momentum in zip(self.convs, momenta, strict=True):
            stage.norm.momentum = momentum
        self.train()

    def fuse(self) -> None:
        """From here on, with frozen batch norm, pool and step are one operation in training.

        Raises :class:`bamac.nn.fused.FusedError` without a C++ compiler.
        """
        require_compiler()
        for stage in self.convs:
            stage.fused = True

    def freeze_norm(self) -> None:
        """Use the batch norm statistics as they are from here on, in training too."""
        self.norm_frozen = True
        self.train(self.training)

    def set_int8(self) -> None:
        """Switch to int8 weights and the integer head, whose scales must be set already."""
        self.set_int8_convs()
        self.int8 = True
        for stage in self.head:
            stage.int8, stage.rounded = self.config.binary, not self.config.binary

    def set_int8_convs(self) -> None:
        """Put the convolutions' weights on their grid; batch norm and the head stay as they are."""
        self._require_w8()
        for stage in self.convs:
            stage.int8 = True

    def _require_w8(self) -> None:
        if not self.config.variant.endswith("w8"):
            raise ValueError(f"Variant must be w8 or bam-w8 for int8 weights, "
                             f"not {self.config.variant!r}")

    @torch.no_grad()
    def start_int8(self, batches: Iterable[Tensor]) -> None:
        """Fix the head's scales and shifts from ``batches`` of features and switch to int8.

        Batch norm statistics must have been measured before. The shift of each layer but count
        units is the smallest with which no batch saturates.
        """
        if not self.config.binary:
            self.set_int8()
            return
        self.set_int8_convs()
        self.eval()
        x = torch.cat([self.pooled(batch) for batch in batches])
        scale = self.pool_scale
        for stage in self.head:
            stage.int8 = True
            stage.fix_scale(scale)
            stage.constrain()
            if not stage.last and not stage.saturating:
                peak = float(stage.accumulate(x).amax())
                shift = 0
                while peak / 2.0**shift > HEAD_MAX:
                    shift += 1
                stage.shift.fill_(shift)
            x = stage(x)
            scale = stage.out_scale
        self.int8 = True
