"""The layers of a network: convolution stages and the dense layers of its head.

Training order within a stage is convolution, max pool, batch norm, activation. For a positive gain
of batch norm this equals pooling the activations (a 2x2 max pool of bits is their OR), takes a
quarter of the elementwise work, and gives one gradient per pooled value. The gain is therefore kept
positive (:meth:`bamac.nn.network.Network.constrain`).

:mod:`bamac.nn.network` states the integers that both compute in evaluation mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ACC_BITS, HEAD_MAX, UNIT_SHIFT, ConvSpec, NetConfig
from .fused import pool_and_step
from .pooling import max_pool
from .quantise import channel_scales, floor_ste, quantise_weights, round_ste
from .surrogate import binary_step, threshold_bits

__all__ = ["ConvStage", "DenseStage", "thresholds"]


def thresholds(stage: ConvStage) -> Tensor:
    """Integer thresholds, int64 (channels,), of a convolution stage: ``bit = acc >= T``."""
    norm = stage.norm
    std = (norm.running_var.double() + norm.eps).sqrt()
    z_zero = norm.running_mean.double() - stage.biases().double() * std / norm.weight.double()
    scale = channel_scales(stage.weight, stage.bits).double() * stage.in_scale
    return (torch.floor(z_zero / scale) + 1).to(torch.int64).flatten().detach()


class ConvStage(nn.Module):
    """Convolution, max pool, batch norm, activation.

    Batch norm is per kernel; each threshold after the first is a bias of its own in place of batch
    norm's.

    Parameters
    ----------
    spec : of the convolution
    in_channels : channels of the map that it reads
    config : of the network
    in_scale : real value of one input step. Batch norm makes it immaterial to the result; it keeps
        the weights' gradients in a usual range.
    bits : of its weights on their integer grid
    """

    def __init__(self, spec: ConvSpec, in_channels: int, config: NetConfig, in_scale: float,
                 bits: int) -> None:
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

    def biases(self) -> Tensor:
        """Batch norm's bias for each threshold: (levels, kernels)."""
        return torch.stack([self.norm.bias, *self.further])

    def convolve(self, x: Tensor, weight: Tensor, pool: bool = True) -> Tensor:
        """Sums (n, kernels, rows, cols) of ``x`` with some weights, pooled unless told not to."""
        top, bottom, left, right = self.spec.pads()
        padding = (top, left)
        if (top, left) != (bottom, right):
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        y = F.conv2d(x, weight, stride=self.spec.stride, padding=padding)
        return max_pool(y, self.spec.pool) if pool else y

    def forward(self, x: Tensor) -> Tensor:
        """The activation map (n, channels, rows, cols)."""
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

    def _frozen(self, x: Tensor, weight: Tensor) -> Tensor:
        """The bits, with frozen batch norm folded into the weights and thresholds: faster."""
        norm = self.norm
        gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = weight * gain[:, None, None, None], self.biases() - norm.running_mean * gain
        if self.fused:
            return pool_and_step(self.convolve(x, weight, pool=False), bias, self.spec.pool,
                                 self.beta)
        return binary_step(self.convolve(x, weight), self.beta, bias)


class DenseStage(nn.Module):
    """Fully connected layer of the head; :mod:`bamac.nn.network` states its integer form.

    Parameters
    ----------
    in_features, out_features : sizes
    input_max : largest integer of its input
    last : whether its outputs are the scores, without an activation
    saturating : whether it is a layer of count units: its weights are fixed, and an output stops
        at 1, the largest real value
    """

    def __init__(self, in_features: int, out_features: int, input_max: int, last: bool,
                 saturating: bool = False) -> None:
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
    def out_scale(self) -> Tensor:
        """Real value of one step of the output."""
        return self.in_scale * self.weight_scale * 2.0 ** int(self.shift)

    def integers(self) -> tuple[Tensor, Tensor]:
        """Integer-valued weights and bias (with the rounding constant), differentiable."""
        q = quantise_weights(self.weight, self.weight_scale.to(self.weight.dtype))
        step = float(self.in_scale * self.weight_scale)
        b = round_ste(self.bias / step)
        if not self.last and int(self.shift) > 0:
            b = b + 2.0 ** (int(self.shift) - 1)
        return q, b

    def accumulate(self, x: Tensor) -> Tensor:
        """Integer accumulators of an integer-valued input."""
        q, b = self.integers()
        return F.linear(x, q, b)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, out_features): integers with an integer head, else real values."""
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

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest accumulator that any legal input can cause, per row."""
        q, b = self.integers()
        q, b = q.detach().double(), b.detach().double()
        return (b + q.clamp(max=0).sum(1) * self.input_max,
                b + q.clamp(min=0).sum(1) * self.input_max)

    @torch.no_grad()
    def fix_scale(self, in_scale: float | Tensor) -> None:
        """Choose the weight scale: as fine as int8 and the accumulator allow.

        The scale of a ``saturating`` layer makes 1 the largest output; its shift is fixed too.
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
    def constrain(self) -> None:
        """Scale down the rows whose largest possible sum leaves the accumulator."""
        if not self.int8:
            return
        low, high = self.bounds()
        worst = torch.maximum(-low, high) / (0.97 * 2 ** (ACC_BITS - 1))
        factor = worst.clamp(min=1.0).to(self.weight.dtype)
        self.weight.div_(factor[:, None])
        self.bias.div_(factor)
