"""Scores of many clips, a batch at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bamac.frontends.log_mel import fewer_bits

from .network import Network

__all__ = ["predict", "tensor_of"]


def tensor_of(features: np.ndarray, bits: int = 8, device: str | torch.device = "cpu") -> Tensor:
    """Features (n, rows, cols) as the float32 tensor (n, 1, rows, cols) that a network reads.

    With ``bits`` below 8 they are int8 and are rounded to so many bits. Channels last.
    """
    values = np.asarray(features)
    if bits < 8:
        values = fewer_bits(np.asarray(values, np.int8), bits)
    x = torch.from_numpy(values.astype(np.float32))[:, None]
    return x.to(device).to(memory_format=torch.channels_last)


@torch.no_grad()
def predict(network: Network, features: np.ndarray, batch: int = 32) -> np.ndarray:
    """Scores, float64 (n,), of int8 features (n, rows, cols), in exact float32 arithmetic.

    The features have 8 bits; a network that reads fewer gets them rounded. The network, on any
    device, is left in evaluation mode. ``batch`` limits the memory: so many clips at a time.
    """
    network.eval()
    device = next(network.parameters()).device
    bits = network.config.input_bits
    return np.concatenate([
        network(tensor_of(features[i:i + batch], bits, device))[:, 0].double().cpu().numpy()
        for i in range(0, len(features), batch)])
