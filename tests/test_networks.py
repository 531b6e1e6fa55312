"""Variants of the network: every integer form equals the PyTorch network in evaluation mode."""

import numpy as np
import pytest
import torch

from bamac.frontends.log_mel import fewer_bits
from bamac.ir import reference
from bamac.nn.config import ConvSpec, make_config
from bamac.nn.lowering import integerise
from bamac.nn.network import Network
from bamac.nn.predict import tensor_of
from bamac.nn.quantise import channel_scales, quantise_weights
from bamac.nn.surrogate import binary_step


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
    torch.manual_seed(0)
    network = Network(make_config("paper", "bam")).eval()
    part = torch.randint(-128, 128, (1, 1, 64, 120)).float()
    with torch.no_grad():
        scores = [float(network(part.repeat(1, 1, n, 1))) for n in (4, 12)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_frozen_batch_norm_is_the_same_function_in_training_and_evaluation():
    network, clips = _trained()
    network.int8 = False
    for stage in network.convs:
        stage.int8 = False
    x = tensor_of(clips[:2], 8)
    gradients = []
    for frozen in (True, False):
        network.train()
        if not frozen:
            # As batch norm itself computes it, with the same statistics
            for stage in network.convs:
                stage._frozen = lambda x, weight, stage=stage: binary_step(
                    stage.norm(stage.convolve(x, weight)), stage.beta)
        network.zero_grad()
        maps = network.maps(x)
        last = maps[-1]
        (last * torch.linspace(-1, 1, last.numel()).reshape(last.shape)).sum().backward()
        gradients.append([p.grad.clone() for p in network.convs.parameters()])
    with torch.no_grad():
        for mine, its in zip(maps, network.eval().maps(x), strict=True):
            assert float((mine != its).float().mean()) < 1e-3
    for mine, its in zip(*gradients, strict=True):
        assert float((mine - its).norm() / its.norm()) < 1e-2


def test_several_levels_need_binary_maps_and_a_multiple_of_channels():
    with pytest.raises(ValueError, match="multiple of the levels, not 32 for 3"):
        ConvSpec(32, levels=3)
    convs = (ConvSpec(64, levels=2), ConvSpec(64))
    with pytest.raises(ValueError, match="bam or bam-w8 for several levels, not 'w8'"):
        make_config("paper", "w8", convs=convs)


def test_a_network_with_levels_trains_with_batch_statistics():
    """Batch norm not frozen: the levels of a kernel are its normalised sums, cut where they say."""
    torch.manual_seed(1)
    config = make_config("paper", "bam", convs=(ConvSpec(8, levels=2), ConvSpec(8)), rows=16,
                         cols=16, start_bias=0.0)
    stage = Network(config).train().convs[0]
    x = torch.randn(4, 1, 16, 16) * 64
    z = torch.nn.functional.max_pool2d(
        torch.nn.functional.conv2d(x, stage.weight / 64, padding=1), 2)
    z = (z - z.mean((0, 2, 3), keepdim=True)) / (z.var((0, 2, 3), keepdim=True, correction=0)
                                                 + 1e-5).sqrt()
    bits = stage(x)
    assert (bits[:, :4] == (z > 0)).float().mean() > 0.999
    assert (bits[:, 4:] == (z > 0.5)).float().mean() > 0.999
    bits.sum().backward()
    assert stage.further[0].grad.abs().min() > 0
