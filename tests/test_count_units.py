"""Count units: a popcount as steps that saturate, the same in float, in integers and in a file."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bamac.cli.commands.distil import command
from bamac.evaluation.tables import memory_bytes
from bamac.ir import reference
from bamac.nn.checkpoint import load_network, save_network
from bamac.nn.config import ConvSpec, NetConfig
from bamac.nn.count_units import add_count_units, fit_head, unit_weights
from bamac.nn.lowering import integerise
from bamac.nn.network import Network
from bamac.training.config import DistilConfig

SMALL = NetConfig("small", 40, 24, (ConvSpec(4), ConvSpec(6, pool=(1, 1))), dense=(8, 8),
                  start_bias=0.0)


@pytest.fixture
def plain():
    """A network of 6 last channels, 20 x 12 places each, with float weights."""
    torch.manual_seed(3)
    network = Network(SMALL)
    network.measure_norm([_features(32)])
    network.freeze_norm()
    return network.eval()


def _features(count):
    generator = np.random.default_rng(5)
    return torch.from_numpy(generator.integers(-90, 91, (count, 1, 40, 24)).astype(np.float32))


def _int8(plain):
    x = _features(16)
    with torch.no_grad():
        network = add_count_units(plain, plain.pooled(x).mean(0), (0.25, 3.0))
    network.freeze_norm()
    network.start_int8([x])
    return network.eval()


def test_units_stop_at_multiples_of_the_mean():
    weights = unit_weights(torch.tensor([4.0, 100.0, 1000.0, 0.0]), (0.25, 3.0))
    # 510 / 1, 510 / 25, 510 / 250, 510 / 0; then 510 / 12, 510 / 300, 510 / 3000, 510 / 0
    wanted = [127, 20, 2, 127, 42, 2, 1, 127]
    assert weights.shape == (8, 4)
    for unit, weight in enumerate(wanted):
        assert weights[unit].tolist() == [weight if i == unit % 4 else 0 for i in range(4)]


def test_units_of_the_integer_network_saturate(plain):
    network = _int8(plain)
    x = _features(8)
    with torch.no_grad():
        counts = network.pooled(x)
        given = network.head[0](counts).numpy().astype(int)
    q = network.head[0].integers()[0].detach().numpy().astype(int)
    wanted = np.minimum(255, (counts.numpy().astype(int) @ q.T + 1) >> 1)
    np.testing.assert_array_equal(given, wanted)
    assert (given == 255).mean() > 0.2 and (given < 255).mean() > 0.2


def test_float_units_are_the_integer_ones_in_real_units(plain):
    network = _int8(plain)
    with torch.no_grad():
        counts = network.pooled(_features(8))
        integer = network.head[0](counts) / 255
        network.head[0].int8 = False
        real = network.head[0](counts * network.pool_scale)
    assert float((real - integer).abs().max()) <= 0.5 / 255 + 1e-6


def test_the_integer_reference_equals_the_network(plain, tmp_path):
    save_network(tmp_path / "units.pt", _int8(plain), {})
    network = load_network(tmp_path / "units.pt")[0]
    integer = integerise(network)
    assert [d.weights.shape for d in integer.denses] == [(12, 6), (8, 12), (8, 8), (1, 8)]
    x = _features(6)
    with torch.no_grad():
        expected = network(x)[:, 0].tolist()
    given = [reference.run(integer, clip[0].numpy().astype(np.int64)).scores[0] for clip in x]
    assert given == expected and len(set(given)) > 1


def test_a_head_learns_a_square_root_and_nothing_else_changes(plain):
    torch.manual_seed(0)
    counts = torch.distributions.Exponential(1 / 30).sample((1500, 6)).round().clamp(max=240)
    target = (counts[:, 0].sqrt() - counts[:, 1].sqrt()) / 3
    network = add_count_units(plain, counts.mean(0), (0.25, 3.0))
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def loss(layers, rows):
        return (layers[-1][:, 0] - target[rows]).square().mean()

    fit_head(network, counts, loss)
    with torch.no_grad():
        scores = network._head(counts * network.pool_scale)[:, 0]
    assert np.corrcoef(scores, target)[0, 1] > 0.97
    changed = {name for name, value in network.state_dict().items()
               if not torch.equal(value, before[name])}
    assert changed == {f"head.{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")}


def test_units_are_not_trained(plain):
    network = _int8(plain).train()
    network(_features(4)).sum().backward()
    assert network.head[0].weight.grad is None and network.head[0].bias.grad is None
    assert network.convs[-1].weight.grad.abs().max() > 0


def test_units_count_as_memory(plain):
    network = _int8(plain)
    with_units, without = (memory_bytes({"variant": "bam-w8"}, config)
                           for config in (network.config, SMALL))
    # 6 x 12 and 12 biases in front, 12 inputs of the next layer in place of 6
    assert with_units["weights"] - without["weights"] == 6 * 12 + 12 + 6 * 8


@pytest.mark.parametrize("changes", [{"variant": "fp32"}, {"global_pool": "max"}])
def test_units_need_counts(changes):
    with pytest.raises(ValueError, match="must be bam or bam-w8 and global pool sum for count"):
        NetConfig("small", 40, 24, SMALL.convs, count_units=2, **changes)


def test_caps_must_be_positive():
    with pytest.raises(ValueError, match="count_caps must be positive numbers, not 0.25,-1"):
        DistilConfig(count_caps=(0.25, -1))


@pytest.mark.parametrize("value", ["", "a,b", "0,1", "1,-2"])
def test_the_command_says_how_caps_are_given(value):
    done = CliRunner().invoke(command, ["--count-caps", value])
    assert done.exit_code == 2
    assert "must be positive numbers, as 0.25,3" in done.output
