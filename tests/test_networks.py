"""Variants of the network: every integer form equals the PyTorch network in evaluation mode."""

import numpy as np
import pytest
import torch

from bamac import reference
from bamac.features import fewer_bits
from bamac.integerise import integerise
from bamac.networks import Network, make_config
from bamac.quantise import channel_scales, quantise_weights
from bamac.train import tensor_of


def _trained(**changes):
    """A network with random weights, batch norm statistics from data, and int8 weights."""
    torch.manual_seed(3)
    network = Network(make_config("paper", "bam-w8", **changes))
    bits = network.config.input_bits
    rng = np.random.default_rng(2)
    clips = rng.integers(-128, 128, (6, 249, 120)).astype(np.int8)
    for stage in network.convs:
        torch.nn.init.normal_(stage.norm.bias, -0.8, 0.3)
    network.train()
    for _ in range(12):
        network.maps(tensor_of(clips, bits))
    network.freeze_norm()
    network.start_int8([tensor_of(clips, bits)])
    return network.eval(), clips


@pytest.mark.parametrize("changes", [
    {}, {"input_bits": 6}, {"input_bits": 5}, {"input_bits": 4}, {"global_pool": "max"},
    {"weight_bits": (4, 4, 4, 4)}, {"weight_bits": (8, 6, 4, 2), "input_bits": 5}],
    ids=lambda c: "-".join(f"{k}{v}" for k, v in c.items()) or "default")
def test_integer_reference_equals_the_network(changes):
    network, clips = _trained(**changes)
    integer = integerise(network)
    bits = changes.get("input_bits", 8)
    assert integer.input.bits == bits
    frames = fewer_bits(clips[0], bits)
    with torch.no_grad():
        maps = [m[0].numpy() for m in network.maps(tensor_of(clips[:1], bits))]
        raw = int(network.raw(tensor_of(clips[:1], bits))[0, 0])
    expected = reference.run(integer, frames)
    for conv, actual in zip(integer.convs, maps, strict=True):
        np.testing.assert_array_equal(actual, expected.layers[conv.name].pooled, conv.name)
        assert 0 < actual.mean() < 1
    assert raw == int(expected.outputs[0])
    for conv, width in zip(integer.convs, network.config.conv_bits, strict=True):
        assert np.abs(conv.weights).max() == 2 ** (width - 1) - 1


def test_four_bit_weights_have_fifteen_values():
    weights = torch.linspace(-1, 1, 999).reshape(3, 333)
    q = quantise_weights(weights, channel_scales(weights, 4), 4)
    assert set(q.unique().tolist()) == set(range(-7, 8))


def test_relu_with_int8_weights_stays_near_full_precision():
    torch.manual_seed(1)
    network = Network(make_config("paper", "w8")).eval()
    x = torch.randint(-128, 128, (2, 1, 249, 120)).float()
    with torch.no_grad():
        before = network(x)
        network.set_int8()
        after = network(x)
    assert not torch.equal(before, after)
    assert float((before - after).abs().max()) < 0.05 * float(before.abs().max())
    with pytest.raises(Exception, match="must have int8 weights"):
        integerise(network)


@pytest.mark.parametrize("changes, complaint", [
    ({"input_bits": 2}, "Input bits must be in 3..8, not 2"),
    ({"weight_bits": (8, 8)}, "one number in 2..8 for each of 4 convolutions"),
    ({"weight_bits": (8, 8, 8, 9)}, "one number in 2..8 for each of 4 convolutions"),
])
def test_impossible_configurations_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_config("paper", "bam-w8", **changes)


def test_a_crop_scores_on_the_same_scale_as_the_clip():
    """The popcount of a clip repeated in time grows with its length; the score must not."""
    network = Network(make_config("paper", "bam")).eval()
    part = torch.randint(-128, 128, (1, 1, 64, 120)).float()
    with torch.no_grad():
        scores = [float(network(part.repeat(1, 1, n, 1))) for n in (4, 12)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
