"""Binary maps fitted to a ReLU network: every layer's sums follow the twin's."""

import numpy as np
import torch
from torch.nn import functional as F

from bamac.nn.config import make_config
from bamac.nn.network import Network
from bamac.training.warm_start import warm_start


def test_the_sums_of_every_layer_follow_those_of_the_twin():
    """Of a random twin on noise, less from layer to layer; without the fit, 0.00 to 0.02."""
    torch.manual_seed(3)
    clips = torch.randint(-100, 100, (16, 1, 249, 120)).float()
    twin = Network(make_config("paper", "fp32"))
    twin.measure_norm([clips])
    twin.eval()
    network = Network(make_config("paper", "bam"))
    warm_start(network, twin, [clips])
    network.eval()
    with torch.no_grad():
        bits, values = clips, clips
        least = (0.99, 0.7, 0.35, 0.15)
        for mine, its, limit in zip(network.convs, twin.convs, least, strict=True):
            given = F.conv2d(bits, mine.weight, padding=1).transpose(0, 1).flatten(1)
            wanted = F.conv2d(values, its.weight, padding=1).transpose(0, 1).flatten(1)
            found = [np.corrcoef(a, b)[0, 1] for a, b in zip(given, wanted, strict=True)]
            assert np.mean(found) > limit
            bits, values = mine(bits), its(values)
