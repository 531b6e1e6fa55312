"""Densities against a count by hand, tile by tile."""

import numpy as np
import pytest
import torch

from bamac.nn.config import PAPER, ConvSpec, make_config
from bamac.nn.density import input_planes, layer_slots, mean_tile_density, tile_density
from bamac.nn.network import Network


@pytest.mark.parametrize("rows, cols, kernel", [(6, 8, (3, 3)), (7, 5, (3, 3)), (9, 9, (5, 3)),
                                                (4, 4, (1, 1))])
def test_union_is_the_or_of_a_tile_of_outputs(rows, cols, kernel):
    spec = ConvSpec(4, kernel)
    rng = np.random.default_rng(rows * cols)
    bits = rng.random((2, 3, rows, cols)) < 0.2
    top, _, left, _ = spec.pads()

    def bit(clip, channel, row, col):
        inside = 0 <= row < rows and 0 <= col < cols
        return bool(inside and bits[clip, channel, row, col])

    expected = np.zeros(2)
    tiles = [(r, c) for r in range(0, rows, 2) for c in range(0, cols, 2)]
    for clip in range(2):
        columns = 0
        for r, c in tiles:
            pixels = [(r + a, c + b) for a in range(2) for b in range(2)
                      if r + a < rows and c + b < cols]
            for dy in range(kernel[0]):
                for dx in range(kernel[1]):
                    for channel in range(3):
                        columns += any(bit(clip, channel, y + dy - top, x + dx - left)
                                       for y, x in pixels)
        expected[clip] = columns / (len(tiles) * kernel[0] * kernel[1] * 3)
    if rows % 2 or cols % 2:  # pixels beyond an odd edge count as 0 in the tensor form as well
        padded = tile_density(torch.from_numpy(bits.astype(np.float32)), spec)
        assert (padded.numpy() >= expected - 1e-6).all()
        return
    actual = tile_density(torch.from_numpy(bits.astype(np.float32)), spec)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6)


def test_dense_cycles_of_the_papers_network():
    # conv1: 125 x 60 tiles x 9 taps x 8 planes; conv2: 62 x 30 x 9 x 32; conv3: 31 x 15 x 9 x 32;
    # conv4: 16 x 8 tiles, two passes of 32 channels.
    assert layer_slots(PAPER) == [125 * 60 * 72, 62 * 30 * 288, 31 * 15 * 288, 16 * 8 * 2 * 288]


def test_planes_are_those_of_the_offset_form():
    x = torch.tensor([[[[-16.0, -1.0, 0.0, 15.0]]]])
    planes = input_planes(x, 5)
    assert planes.shape == (1, 5, 1, 4)
    weights = 2.0 ** torch.arange(5).reshape(1, 5, 1, 1)
    assert torch.equal((planes * weights).sum(1, keepdim=True), x + 16)


def test_the_penalty_reaches_the_weights():
    network = Network(make_config("paper", "bam"))
    x = torch.randint(-60, 60, (2, 1, 64, 120)).float()
    union = mean_tile_density(network, network.maps(x))
    assert 0 < float(union.detach()) < 1
    union.backward()
    assert all(stage.weight.grad.abs().sum() > 0 for stage in network.convs[:3])
