"""Networks with binary activation maps in PyTorch, and their fp32 ReLU twin.

A network is a chain of convolutions, a global pool and a dense head, described by a
:class:`NetConfig`; :data:`PAPER` is the speech quality network of arXiv:2407.04578 and
:data:`P808` the shape of DNSMOS P.808. Input: ``(N, 1, rows, cols)`` float tensors that hold the
int8 features as they are (rows = frames, cols = mel bands).

Four variants: ``fp32`` (ReLU), ``w8`` (ReLU, int8 weights, the rest in float: a row of the
accuracy table), ``bam`` (binary maps, float weights) and ``bam-w8`` (binary maps, int8 weights and
an integer head).

Training order within a stage is convolution, max pool, batch norm, activation: for a positive
batch norm gain this equals pooling the activations (a 2x2 max pool of bits is their OR), costs a
quarter of the elementwise work, and gives one gradient per pooled value. The gain is therefore
kept positive (:meth:`Network.constrain`).

The integer grid
----------------
In evaluation mode, ``bam-w8`` computes what hardware computes, integer for integer, in float32
tensors that hold integers below 2^24:

* convolution: ``acc = sum(q * x)`` with int8 weights q (scale per output channel) and x the int8
  input or bits; ``bit = acc >= T``. T comes from batch norm in float64 (:func:`thresholds`):
  ``gain * (acc * scale - mean) / std + bias > 0`` holds exactly from
  ``T = floor((mean - bias * std / gain) / scale) + 1`` on.
* global pool: the number of ones per channel (``"sum"``), or their OR (``"max"``).
* hidden dense layer: ``h = clamp((q @ x + b) >> shift, 0, 255)``, ``b`` an integer that includes
  the rounding constant 2^(shift-1). One weight scale per layer; the scale of h follows from
  it, so no multiplication is needed. Scales and shifts are fixed when int8 training begins
  (:meth:`Network.start_int8`), and the weights learn around them.
* with ``count_units``, a dense layer of fixed weights before these: units that rise with one
  channel's count and stop at 255 (:mod:`bamac.nn.count_units`).
* last dense layer: ``raw = q @ x + b``; ``score = raw * score_scale + score_offset``.

Accumulators in hardware have :data:`ACC_BITS` bits. Rows of the head whose largest possible sum
would not fit are scaled down after every training step (:meth:`Network.constrain`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from .density import layer_slots, union_density
from .fused import pool_and_step, require_compiler
from .pooling import max_pool
from .quantise import channel_scales, floor_ste, quantise_weights, round_ste
from .surrogate import binary_step, threshold_bits

__all__ = ["ACC_BITS", "ConvSpec", "NetConfig", "Network", "P808", "PAPER", "VARIANTS",
           "config_from_dict", "make_config", "thresholds"]

ACC_BITS = 20
VARIANTS = ("fp32", "w8", "bam", "bam-w8")
INPUT_BITS = (3, 4, 5, 6, 7, 8)
HEAD_MAX = 255  # the head's activations are unsigned bytes
UNIT_SHIFT = 1  # of the count units: a weight w saturates at a count of 255 * 2 / w


@dataclass(frozen=True)
class ConvSpec:
    """One convolution with its pool. ``padding`` None keeps the size (at stride 1).

    With ``levels`` thresholds per kernel, ``out_channels / levels`` kernels make a map's channels:
    those of the first level, then those of the next. To the integer network they are channels with
    equal weights.
    """

    out_channels: int
    kernel: tuple = (3, 3)
    stride: int = 1
    pool: tuple = (2, 2)
    padding: tuple | None = None  # top, bottom, left, right
    levels: int = 1

    def __post_init__(self):
        if self.levels < 1 or self.out_channels % self.levels:
            raise ValueError(f"Output channels must be a multiple of the levels, "
                             f"not {self.out_channels} for {self.levels}")

    @property
    def kernels(self):
        """Kernels of the convolution."""
        return self.out_channels // self.levels

    def pads(self):
        if self.padding is not None:
            return tuple(self.padding)
        kh, kw = self.kernel
        return ((kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2)

    def out_shape(self, rows, cols):
        top, bottom, left, right = self.pads()
        rows = (rows + top + bottom - self.kernel[0]) // self.stride + 1
        cols = (cols + left + right - self.kernel[1]) // self.stride + 1
        return rows // self.pool[0], cols // self.pool[1]


@dataclass(frozen=True)
class NetConfig:
    """What a network is made of.

    Parameters
    ----------
    rows, cols : size of the input, frames x mel bands
    convs : :class:`ConvSpec` per stage
    dense : sizes of the hidden dense layers
    outputs : scores
    global_pool : ``"sum"`` (ones per channel) or ``"max"``
    variant : ``"fp32"``, ``"w8"``, ``"bam"`` or ``"bam-w8"``
    input_bits : bits of the input's integers; below 8 the int8 features are rounded
    weight_bits : bits of each convolution's weights, in order; empty for 8 everywhere
    count_units : saturating units per channel of the last map, which the head reads in place of
        the counts (:mod:`bamac.nn.count_units`); 0 for the counts themselves
    dropout : after every convolution stage, in training
    start_bias : start of batch norm's bias; it sets the density of ones, Phi(start_bias)
    beta : width parameter of the surrogate gradient
    """

    name: str = "paper"
    rows: int = 249
    cols: int = 120
    convs: tuple = ()
    dense: tuple = (64, 64)
    outputs: int = 1
    global_pool: str = "sum"
    variant: str = "bam-w8"
    dropout: float = 0.0
    start_bias: float = -1.0
    beta: float = 2.0
    input_bits: int = 8
    weight_bits: tuple = ()
    count_units: int = 0

    def __post_init__(self):
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

    def map_shape(self, rows=None):
        """Rows and columns of the last map, before the global pool, of an input of ``rows``."""
        rows, cols = rows or self.rows, self.cols
        for conv in self.convs:
            rows, cols = conv.out_shape(rows, cols)
        return rows, cols

    @property
    def binary(self):
        """Whether the activation maps are bits."""
        return self.variant.startswith("bam")

    @property
    def hidden(self):
        """Sizes of all layers between the global pool and the scores, in order."""
        units = self.count_units * self.convs[-1].out_channels
        return (units, *self.dense) if units else tuple(self.dense)

    @property
    def conv_bits(self):
        """Weight bits of every convolution."""
        return tuple(self.weight_bits) or (8,) * len(self.convs)

    def as_dict(self):
        return asdict(self)


PAPER = NetConfig("paper", 249, 120, (ConvSpec(32), ConvSpec(32), ConvSpec(32),
                                      ConvSpec(64, pool=(1, 1))))
P808 = NetConfig("p808", 900, 120, (ConvSpec(32), ConvSpec(32), ConvSpec(32, pool=(1, 1)),
                                    ConvSpec(32), ConvSpec(64, pool=(1, 1))))


def make_config(name="paper", variant="bam-w8", **changes):
    """A named network in one of its variants; ReLU maps start with half of their values above 0."""
    base = {"paper": PAPER, "p808": P808}.get(name)
    if base is None:
        raise ValueError(f"Network must be paper or p808, not {name!r}")
    if variant in ("fp32", "w8"):
        changes = {"start_bias": 0.0, **changes}
    return replace(base, variant=variant, **changes)


def config_from_dict(values):
    """The inverse of :meth:`NetConfig.as_dict`, from plain lists and numbers."""
    convs = tuple(ConvSpec(c["out_channels"], tuple(c["kernel"]), c["stride"], tuple(c["pool"]),
                           None if c["padding"] is None else tuple(c["padding"]),
                           c.get("levels", 1))
                  for c in values["convs"])
    return NetConfig(**{**values, "convs": convs, "dense": tuple(values["dense"]),
                        "weight_bits": tuple(values.get("weight_bits", ()))})


def thresholds(stage):
    """Integer thresholds (int64) of a convolution stage: ``bit = acc >= T[channel]``."""
    norm = stage.norm
    std = (norm.running_var.double() + norm.eps).sqrt()
    z_zero = norm.running_mean.double() - stage.biases().double() * std / norm.weight.double()
    scale = channel_scales(stage.weight, stage.bits).double() * stage.in_scale
    return (torch.floor(z_zero / scale) + 1).to(torch.int64).flatten().detach()


class ConvStage(nn.Module):
    """Convolution, max pool, batch norm, activation.

    ``in_scale`` is the real value of one input step; batch norm makes it immaterial to the
    result, and it keeps the weights' gradients in a usual range. Batch norm is per kernel; each
    threshold after the first is a bias of its own in place of batch norm's.
    """

    def __init__(self, spec, in_channels, config, in_scale, bits):
        super().__init__()
        self.spec = spec
        self.bits = bits
        self.binary = config.binary
        self.beta = config.beta
        self.in_scale = in_scale
        self.weight = nn.Parameter(torch.empty(spec.kernels, in_channels, *spec.kernel))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.norm = nn.BatchNorm2d(spec.kernels)
        nn.init.constant_(self.norm.bias, config.start_bias)
        self.further = nn.ParameterList(
            torch.full((spec.kernels,), config.start_bias - 0.5 * i) for i in range(1, spec.levels))
        self.drop = nn.Dropout2d(config.dropout) if config.dropout else nn.Identity()
        self.int8 = False
        self.fused = False  # gradients of pool and step by bamac.nn.fused

    def biases(self):
        """Batch norm's bias for each threshold: (levels, kernels)."""
        return torch.stack([self.norm.bias, *self.further])

    def convolve(self, x, weight, pool=True):
        top, bottom, left, right = self.spec.pads()
        padding = (top, left)
        if (top, left) != (bottom, right):
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        y = F.conv2d(x, weight, stride=self.spec.stride, padding=padding)
        return max_pool(y, self.spec.pool) if pool else y

    def forward(self, x):
        if self.int8:
            scales = channel_scales(self.weight, self.bits)
            q = quantise_weights(self.weight, scales, self.bits)
            if self.binary and not self.training:
                acc = self.convolve(x, q)
                limits = thresholds(self).to(acc.dtype).reshape(self.spec.levels, -1)
                # Of integers: acc >= T where acc + 1 - T > 0
                return threshold_bits(acc, 1 - limits)
            weight = q * (scales * self.in_scale).reshape(-1, 1, 1, 1)
        else:
            weight = self.weight * self.in_scale
        if self.binary and self.training and not self.norm.training:
            return self.drop(self._frozen(x, weight))
        z = self.norm(self.convolve(x, weight))
        if self.spec.levels > 1:
            return self.drop(binary_step(z, self.beta, self.biases() - self.norm.bias))
        return self.drop(binary_step(z, self.beta) if self.binary else F.relu(z))

    def _frozen(self, x, weight):
        """The bits, with frozen batch norm taken into the weights and thresholds: faster."""
        norm = self.norm
        gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = weight * gain[:, None, None, None], self.biases() - norm.running_mean * gain
        if self.fused:
            return pool_and_step(self.convolve(x, weight, pool=False), bias, self.spec.pool,
                                 self.beta)
        return binary_step(self.convolve(x, weight), self.beta, bias)


class DenseStage(nn.Module):
    """Fully connected layer of the head; see the module's text for its integer form.

    A ``saturating`` one has fixed weights and stops at 1, its largest real value.
    """

    def __init__(self, in_features, out_features, input_max, last, saturating=False):
        super().__init__()
        self.last = last
        self.saturating = saturating
        self.input_max = input_max
        self.rounded = False  # float arithmetic on int8 weights: the variant w8
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.requires_grad_(not saturating)
        self.int8 = False
        self.register_buffer("in_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("weight_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros((), dtype=torch.int64))

    @property
    def out_scale(self):
        """Real value of one step of the output."""
        return self.in_scale * self.weight_scale * 2.0 ** int(self.shift)

    def integers(self):
        """Integer-valued weights and bias (with the rounding constant), differentiable."""
        q = quantise_weights(self.weight, self.weight_scale.to(self.weight.dtype))
        step = float(self.in_scale * self.weight_scale)
        b = round_ste(self.bias / step)
        if not self.last and int(self.shift) > 0:
            b = b + 2.0 ** (int(self.shift) - 1)
        return q, b

    def accumulate(self, x):
        q, b = self.integers()
        return F.linear(x, q, b)

    def forward(self, x):
        if not self.int8:
            weight = self.weight
            if self.rounded:
                scale = channel_scales(weight)
                weight = quantise_weights(weight, scale) * scale[:, None]
            y = F.linear(x, weight, self.bias)
            if self.saturating:
                return y.clamp(0, 1)
            return y if self.last else F.relu(y)
        acc = self.accumulate(x)
        if self.last:
            return acc
        return floor_ste((acc / 2.0 ** int(self.shift)).clamp(0, HEAD_MAX))

    def bounds(self):
        """Smallest and largest accumulator that any legal input can cause, per row."""
        q, b = self.integers()
        q, b = q.detach().double(), b.detach().double()
        return (b + q.clamp(max=0).sum(1) * self.input_max,
                b + q.clamp(min=0).sum(1) * self.input_max)

    @torch.no_grad()
    def fix_scale(self, in_scale):
        """Choose the weight scale: as fine as int8 and the accumulator allow.

        That of a ``saturating`` layer makes 1 the largest output, and its shift is fixed too.
        """
        self.in_scale.fill_(float(in_scale))
        if self.saturating:
            self.shift.fill_(UNIT_SHIFT)
            self.weight_scale.fill_(1 / (HEAD_MAX * float(in_scale) * 2**UNIT_SHIFT))
            return
        room = 0.8 * 2 ** (ACC_BITS - 1)
        w = self.weight.double()
        rows = torch.maximum(w.clamp(min=0).sum(1), -w.clamp(max=0).sum(1)).max()
        finest = max(float(w.abs().max()) / 127, float(rows) * self.input_max / room, 1e-9)
        self.weight_scale.fill_(finest)

    @torch.no_grad()
    def constrain(self):
        """Scale down the rows whose largest possible sum leaves the accumulator."""
        if not self.int8:
            return
        low, high = self.bounds()
        worst = torch.maximum(-low, high) / (0.97 * 2 ** (ACC_BITS - 1))
        factor = worst.clamp(min=1.0).to(self.weight.dtype)
        self.weight.div_(factor[:, None])
        self.bias.div_(factor)


class Network(nn.Module):
    """A chain of :class:`ConvStage`, a global pool, and :class:`DenseStage` layers.

    ``forward`` maps ``(N, 1, rows, cols)`` integer-valued features of ``config.input_bits`` bits
    to scores ``(N, outputs)``. Before int8 training, clips of any number of rows are accepted.
    """

    INPUT_SCALE = 1 / 64

    def __init__(self, config):
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
        # Popcounts are a few percent of the map: bring them to about 1 for the first dense layer.
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
    def score_scale(self):
        """Real value of one step of the raw score."""
        last = self.head[-1]
        return float(last.in_scale * last.weight_scale)

    def train(self, mode=True):
        super().train(mode)
        if self.norm_frozen:
            for stage in self.convs:
                stage.norm.eval()
        return self

    def maps(self, x):
        """The activation maps after every convolution stage."""
        maps = []
        for stage in self.convs:
            x = stage(x)
            maps.append(x)
        return maps

    def _pool(self, last):
        if self.config.global_pool == "max":
            return last.amax((2, 3))
        return last.sum((2, 3)) if self.config.binary else last.mean((2, 3))

    def _head(self, x):
        for stage in self.head:
            x = stage(x)
        return x

    def pooled(self, x):
        """The vector that the head reads: integers for binary maps."""
        return self._pool(self.maps(x)[-1])

    def raw(self, x):
        """The head's last accumulators; only of a network with an integer head."""
        return self._head(self.pooled(x))

    def union(self, maps):
        """The mean 2x2 union density of the binary ``maps``, weighted as an array pays for it.

        The weights are the dense cycles of the layers that read the maps: the result is the share
        of those cycles that an array which skips zeros still spends (:mod:`bamac.nn.density`).
        Gradients reach the maps through the surrogate.
        """
        slots = layer_slots(self.config)[1:]
        spent = sum(n * union_density(bits.float(), stage.spec).mean()
                    for n, bits, stage in zip(slots, maps, self.convs[1:], strict=False))
        return spent / sum(slots)

    def forward(self, x):
        return self.score(self.maps(x)[-1], x.shape[2])

    def score(self, last, rows):
        """Scores from the last activation map of an input of ``rows`` rows."""
        pooled = self._pool(last)
        if self.int8 and self.config.binary:
            raw = self._head(pooled)
            if self.training:
                return raw * self.score_scale + float(self.score_offset)
            return raw.double() * self.score_scale + self.score_offset
        # Counts of a clip that is shorter than the network's window are scaled up to it.
        window = self.config.rows / rows if self.pool_scale != 1.0 else 1.0
        return self._head(pooled.float() * (self.pool_scale * window)) + float(self.score_offset)

    @torch.no_grad()
    def constrain(self):
        """Keep what the integer form needs; call it after every optimiser step."""
        for stage in self.convs:
            stage.norm.weight.clamp_(min=1e-3)
        for stage in self.head:
            stage.constrain()

    @torch.no_grad()
    def measure_norm(self, batches):
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

    def fuse(self):
        """From here on, with frozen batch norm, pool and step are one operation in training.

        Raises :class:`bamac.nn.fused.FusedError` without a C++ compiler.
        """
        require_compiler()
        for stage in self.convs:
            stage.fused = True

    def freeze_norm(self):
        """Use the batch norm statistics as they are from here on, in training too."""
        self.norm_frozen = True
        self.train(self.training)

    def set_int8(self):
        """Switch to int8 weights and the integer head, whose scales must be set already."""
        self.set_int8_convs()
        self.int8 = True
        for stage in self.head:
            stage.int8, stage.rounded = self.config.binary, not self.config.binary

    def set_int8_convs(self):
        """Put the convolutions' weights on their grid; batch norm and the head stay as they are."""
        self._require_w8()
        for stage in self.convs:
            stage.int8 = True

    def _require_w8(self):
        if not self.config.variant.endswith("w8"):
            raise ValueError(f"Variant must be w8 or bam-w8 for int8 weights, "
                             f"not {self.config.variant!r}")

    @torch.no_grad()
    def start_int8(self, batches):
        """Fix the head's scales and shifts from ``batches`` of features and switch to int8.

        Batch norm statistics must have been estimated before. The shift of each layer but count
        units is the smallest with which no batch saturates: percentiles would clip the loudest
        votes.
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
