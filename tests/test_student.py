"""From the released DNSMOS weights to the integer network: equal where equality is promised."""

import dataclasses

import numpy as np
import pytest
import torch
from p808_clips import CLIPS, METADATA, demo_features, int8_network, untrained
from torch.nn import functional as F

import bamac
from bamac.data import dnsmos
from bamac.frontends.audio import load_audio
from bamac.frontends.dnsmos import features_p808
from bamac.ir import reference
from bamac.nn.checkpoint import load_network, save_network
from bamac.nn.config import make_config
from bamac.nn.count_units import unit_weights
from bamac.nn.density import activation_density
from bamac.nn.lowering import integerise
from bamac.nn.network import Network
from bamac.nn.predict import predict, tensor_of
from bamac.training.config import DistilConfig
from bamac.training.distillation import Clips, Distillation
from bamac.training.distillation_loss import student_layers, student_map
from bamac.training.dnsmos_start import released_network
from bamac.training.loop import Trainer
from bamac.training.recipe import TrainError
from bamac.training.thermometer import add_levels, add_thresholds
from bamac.training.warm_start import warm_start

# --- The student


@pytest.fixture(scope="module")
def features():
    """int8 features (4, 900, 120) of the demonstration clips."""
    return demo_features()


@pytest.fixture(scope="module")
def network():
    """A warm-started P.808-shaped network with int8 weights, without training."""
    return int8_network()


def layers_of(network, x):
    """Dense layers of the student, computed in float32."""
    return student_layers(network, network.head, student_map(network, x, bf16=False))


def begun(config, clips, folder):
    """The recipe of a run before its first step."""
    return Trainer(Distillation(config, clips, clips), folder).recipe


def test_the_fp32_network_equals_the_released_file():
    floats = np.stack([features_p808(load_audio(path)) for path in CLIPS])
    expected = dnsmos.P808Teacher().score_features(floats)
    ours = released_network()(tensor_of(floats * 127))[:, 0].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected) > 0.3


def test_warm_start_gives_the_wanted_density_and_agrees_with_the_teacher(features):
    network = Network(make_config("p808"))
    warm_start(network, released_network(), [tensor_of(features)], density=0.2)
    np.testing.assert_allclose(activation_density(network, features), 0.2, atol=0.02)
    with torch.no_grad():
        layers = layers_of(network.eval(), tensor_of(features))
    expected = released_network()(tensor_of(features))
    assert float((layers[-1] - expected).abs().max()) < 0.3


def test_levels_add_channels_and_leave_the_scores_alone(features):
    torch.manual_seed(0)
    one = Network(make_config("p808"))
    warm_start(one, released_network(), [tensor_of(features)])
    three = add_levels(DistilConfig(levels=3).network(), one, released_network(),
                       [tensor_of(features)])
    # Sums in another order, where a machine adds numbers of channels in another way
    np.testing.assert_allclose(predict(three, features), predict(one, features), atol=1e-5)
    assert [stage.weight.shape[0] for stage in three.convs] == [32, 32, 32, 32, 192]
    with torch.no_grad():
        ones = three.eval().maps(tensor_of(features))[-1].mean((0, 2, 3))
    # A share of 0.2 % is 13 ones of the 6,720 places of these four clips
    np.testing.assert_allclose(ones[64:128], 0.01, atol=0.001)
    np.testing.assert_allclose(ones[128:], 0.002, atol=0.0005)
    assert three.head[0].weight[:, 64:].abs().max() == 0


def test_thresholds_add_channels_and_leave_the_scores_alone(features):
    one = untrained()
    config = DistilConfig(thresholds=(1, 3, 1, 2)).network()
    more = add_thresholds(config, one, [tensor_of(features)])
    np.testing.assert_allclose(predict(more, features), predict(one, features), atol=1e-5)
    with torch.no_grad():
        before, after = (net.eval().maps(tensor_of(features)) for net in (one, more))
    assert [m.shape[1] for m in after] == [32, 96, 32, 64, 64]
    for mine, its in zip(before, after, strict=True):
        assert torch.equal(mine, its[:, :mine.shape[1]])
    # Of the ones of a threshold, two fifths are above the next one
    for level in (1, 2):
        shares = after[1][:, 32 * level:32 * level + 32].mean((0, 2, 3))
        np.testing.assert_allclose(shares, before[1].mean((0, 2, 3)) * 0.4**level, rtol=0.02)
    assert more.convs[2].weight[:, 32:].abs().max() == 0
    # What is above a threshold is above those below it
    assert (after[1][:, 32:64] >= after[1][:, 64:]).all()


def test_thresholds_are_known_to_the_fit(features):
    network = untrained(DistilConfig(thresholds=(2, 1, 1, 1)).network())
    with torch.no_grad():
        first = network.maps(tensor_of(features))[0].mean((0, 2, 3)).numpy()
    # Where a kernel gives many equal sums (pauses), a share may not be met
    assert np.mean(np.abs(first[32:] / first[:32] - 0.4) < 0.01) > 0.9
    assert network.convs[1].weight[:, 32:].abs().mean() > 0.01


def test_integer_reference_equals_a_network_with_several_thresholds(features):
    network = untrained(DistilConfig(thresholds=(3, 2, 1, 2)).network())
    network.freeze_norm()
    network.start_int8([tensor_of(features)])
    integer = integerise(network.eval(), METADATA)
    assert [conv.out_channels for conv in integer.convs] == [96, 64, 32, 64, 64]
    frames = np.random.default_rng(3).integers(-127, 128, (2, 900, 120)).astype(np.int8)
    for clips in (frames, features[:2]):
        expected = predict(network, clips)
        assert expected[0] != expected[1]
        np.testing.assert_array_equal([reference.run(integer, f).scores[0] for f in clips],
                                      expected)
    np.testing.assert_array_equal(integer.convs[0].weights[:32], integer.convs[0].weights[64:])
    assert (integer.convs[0].thresholds[:32] < integer.convs[0].thresholds[64:]).all()


def test_a_run_starts_with_as_many_thresholds_as_it_is_asked_for(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    clips = Clips(features, np.ones(4), [{}] * 4)
    config = DistilConfig(thresholds=(2, 1, 1, 2), levels=2, crop_epochs=1, int8_epochs=1)
    for start in (None, str(path)):
        run = begun(dataclasses.replace(config, start=start), clips, tmp_path)
        assert run.network.config == config.network()
        assert [c.weight.shape[0] for c in run.network.convs] == [32, 32, 32, 32, 128]
    for mine, its in zip(run.network.convs, network.convs, strict=True):
        rows, channels = its.weight.shape[:2]
        torch.testing.assert_close(mine.weight[:rows, :channels], its.weight)
    save_network(path, run.network, METADATA)
    more = dataclasses.replace(config, start=str(path), thresholds=(3, 2, 1, 2))
    wider = begun(more, clips, tmp_path).network
    assert wider.config == more.network()
    np.testing.assert_allclose(predict(wider, features), predict(run.network, features), atol=1e-5)
    with pytest.raises(TrainError, match="3,1,1,1 thresholds per kernel, or fewer.*another convs"):
        begun(dataclasses.replace(config, start=str(path), thresholds=(3, 1, 1, 1)), clips,
              tmp_path)


def test_a_run_gives_its_start_count_units_or_goes_on_from_them(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    clips = Clips(features, np.linspace(2, 3, 4), [{}] * 4)
    config = DistilConfig(count_caps=(0.25, 3.0), crop_epochs=0, int8_epochs=1, segments=2,
                          freeze_norm=True, change=0.0, bf16=False, start=str(path))
    run = begun(config, clips, tmp_path)
    assert run.network.config == config.network() and run.network.config.count_units == 2
    for mine, its in zip(run.network.convs, network.convs, strict=True):
        torch.testing.assert_close(mine.weight, its.weight)
    # Numbers of ones of the clips themselves: nothing is changed, and weights are float
    with torch.no_grad():
        ones = run.network.eval().pooled(tensor_of(features)).mean(0)
    run.network.train()
    weights = run.network.head[0].weight.detach() * (510 * run.network.pool_scale)
    torch.testing.assert_close(weights, unit_weights(ones, (0.25, 3.0)))
    assert len(layers_of(run.network, tensor_of(features))) == 3
    run.begin(run.phases[-1])
    run.criterion(run.network, run.segment_head, tensor_of(features)).backward()
    save_network(path, run.network, METADATA)
    later = begun(config, clips, tmp_path).network
    for name, value in later.state_dict().items():
        torch.testing.assert_close(value, run.network.state_dict()[name])
    with pytest.raises(TrainError, match="another count_units"):
        begun(dataclasses.replace(config, count_caps=()), clips, tmp_path)
    save_network(path, run.network, {**METADATA, "training": config.decides()})
    with pytest.raises(TrainError, match="give --count-caps 0.25,3.0 to keep them, not 0.5,3.0"):
        begun(dataclasses.replace(config, count_caps=(0.5, 3.0)), clips, tmp_path)


def test_integer_reference_equals_the_network_on_random_features(network):
    frames = np.random.default_rng(3).integers(-127, 128, (2, 900, 120)).astype(np.int8)
    integer = integerise(network, METADATA)
    expected = predict(network, frames)
    assert expected[0] != expected[1]
    np.testing.assert_array_equal([reference.run(integer, f).scores[0] for f in frames], expected)


def test_a_crop_is_scored_like_a_clip(features):
    """A clip without change in time gives the same layers whole and cropped, but for its edges."""
    torch.manual_seed(1)
    network = Network(make_config("p808"))
    still = np.repeat(features[:, 450:451], 900, axis=1)
    warm_start(network, released_network(), [tensor_of(features)])
    network.eval()
    with torch.no_grad():
        whole = layers_of(network, tensor_of(still))
        crop = layers_of(network, tensor_of(still[:, :300]))
        score = network(tensor_of(still))
    torch.testing.assert_close(whole[-1].double(), score.double(), rtol=0, atol=1e-4)
    assert float((whole[-1] - crop[-1]).abs().max()) < 0.3


def test_int8_layers_are_those_of_the_network(network, features):
    network.eval()
    with torch.no_grad():
        layers = layers_of(network, tensor_of(features))
        torch.testing.assert_close(layers[-1].double(), network(tensor_of(features)).double(),
                                   rtol=0, atol=1e-5)


def test_a_model_is_scored_at_every_software_level(network, tmp_path):
    from bamac.evaluation.levels import evaluate_clip

    save_network(tmp_path / "p808.pt", network, METADATA)
    scores = {level: evaluate_clip(tmp_path / "p808.pt", CLIPS[0], level)["score"]
              for level in ("qat", "integer", "qonnx")}
    assert len(set(scores.values())) == 1
    program = bamac.compile_network(bamac.load_model(tmp_path / "p808.pt"),
                                    bamac.Geometry.preset("small"))
    assert len(program.layers) == 8


@pytest.mark.slow
def test_a_clip_is_bit_exact_on_the_simulated_hardware(network, tmp_path):
    save_network(tmp_path / "p808.pt", network, METADATA)
    result = bamac.run(CLIPS[0], model=tmp_path / "p808.pt")
    assert result["bit_exact"] and result["windows"] == 1
    assert result["cycles"] == result["predicted_cycles"]


def test_a_run_goes_on_from_another_runs_network(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    labels = predict(network, features)
    clips = Clips(features, labels, [{} for _ in labels])
    config = DistilConfig(start=str(path), crop_epochs=1, int8_epochs=1, batch=4)
    run = begun(config, clips, tmp_path)
    # The same function, but for the rounding of int8 weights
    with torch.no_grad():
        mine, its = (net.eval().maps(tensor_of(features))[0] for net in (run.network, network))
    assert 0 < float((mine != its).float().mean()) < 0.01
    assert not run.network.int8
    fresh = begun(DistilConfig(crop_epochs=1, int8_epochs=1), clips, tmp_path)
    for mine, its in zip(run.network.convs, network.convs, strict=True):
        torch.testing.assert_close(mine.weight, its.weight)
        torch.testing.assert_close(mine.norm.running_var, its.norm.running_var)
    assert not torch.equal(fresh.network.head[0].weight, run.network.head[0].weight)


def test_a_start_may_have_one_level_or_as_many_as_wanted(features, tmp_path):
    clips = Clips(features, np.arange(len(features), dtype=float), [{}] * len(features))
    configs = [DistilConfig(levels=levels).network() for levels in (1, 2)]
    for path, config in zip((tmp_path / "one.pt", tmp_path / "two.pt"), configs, strict=True):
        save_network(path, Network(config), METADATA)
    for start in ("one.pt", "two.pt"):
        config = DistilConfig(start=str(tmp_path / start), levels=2)
        run = begun(config, clips, tmp_path)
        saved = load_network(tmp_path / start)[0]
        torch.testing.assert_close(run.network.convs[3].weight, saved.convs[3].weight)
        assert (run.network.head[0].weight[:, 64:].abs().max() == 0) == (start == "one.pt")
    with pytest.raises(TrainError, match="with 1 level in.*not one of another convs"):
        begun(DistilConfig(start=str(tmp_path / "two.pt")), clips, tmp_path)


def test_options_of_a_stored_run_have_their_new_names():
    _, metadata = load_network("p808-bam-w8-thermometer")
    training = metadata["training"]
    assert (training["circular_shift"], training["vtlp"]) == (0.5, 0.3)
    assert not {"turn", "warp"} & set(training)


def test_a_start_of_another_shape_is_refused(features, tmp_path):
    save_network(tmp_path / "paper.pt", Network(make_config("paper")), METADATA)
    clips = Clips(features, np.arange(len(features), dtype=float), [{}] * len(features))
    config = DistilConfig(start=str(tmp_path / "paper.pt"), int8_epochs=1)
    with pytest.raises(TrainError, match="P.808 shape.*not one of another name"):
        begun(config, clips, tmp_path)


# --- The fit of binary maps to a twin


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
