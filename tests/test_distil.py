"""From the released DNSMOS weights to the integer network: equal where equality is promised."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import bamac
from bamac.cli.commands.distil import command
from bamac.frontends.audio import load_audio
from bamac.frontends.dnsmos import P808_FRONT_END, STEPS, features_p808, features_p808_int8
from bamac.ir import reference
from bamac.nn.checkpoint import load_network, save_network
from bamac.nn.config import make_config
from bamac.nn.count_units import unit_weights
from bamac.nn.lowering import integerise
from bamac.nn.network import Network
from bamac.training import distillation, dnsmos
from bamac.training import feature_augmentation as augment_p808
from bamac.training.distillation import Clips, DistilConfig, predict, student_layers, tensor
from bamac.training.dnsmos_start import released_network
from bamac.training.feature_augmentation import augment, random_crops, turned, warped
from bamac.training.thermometer import add_levels, add_thresholds
from bamac.training.warm_start import warm_start

CLIPS = sorted((Path(bamac.__file__).parent / "assets" / "clips").glob("*.wav"))
METADATA = {"front_end": P808_FRONT_END, "offset": 0.0, "steps": STEPS, "network": "p808"}


@pytest.fixture(scope="module")
def features():
    """int8 features (4, 900, 120) of the demonstration clips."""
    return np.stack([features_p808_int8(load_audio(path)) for path in CLIPS])


@pytest.fixture(scope="module")
def network(features):
    """A warm-started P.808-shaped network with int8 weights, without training."""
    torch.manual_seed(0)
    network = Network(make_config("p808"))
    batches = [tensor(features)]
    warm_start(network, released_network(), batches)
    network.freeze_norm()
    network.start_int8(batches)
    return network.eval()


def test_the_fp32_network_equals_the_released_file():
    floats = np.stack([features_p808(load_audio(path)) for path in CLIPS])
    expected = dnsmos.P808Teacher().score_features(floats)
    ours = released_network()(tensor(floats * 127))[:, 0].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected) > 0.3


def test_warm_start_gives_the_wanted_density_and_agrees_with_the_teacher(features):
    network = Network(make_config("p808"))
    warm_start(network, released_network(), [tensor(features)], density=0.2)
    np.testing.assert_allclose(distillation.densities(network, features), 0.2, atol=0.02)
    with torch.no_grad():
        layers = student_layers(network.eval(), tensor(features), DistilConfig(bf16=False))
    expected = released_network()(tensor(features))
    assert float((layers[-1] - expected).abs().max()) < 0.3


def test_levels_add_channels_and_leave_the_scores_alone(features):
    torch.manual_seed(0)
    one = Network(make_config("p808"))
    warm_start(one, released_network(), [tensor(features)])
    three = add_levels(DistilConfig(levels=3).network(), one, released_network(),
                       [tensor(features)])
    # Sums in another order, where a machine adds numbers of channels in another way
    np.testing.assert_allclose(predict(three, features), predict(one, features), atol=1e-5)
    assert [stage.weight.shape[0] for stage in three.convs] == [32, 32, 32, 32, 192]
    with torch.no_grad():
        ones = three.eval().maps(tensor(features))[-1].mean((0, 2, 3))
    # A share of 0.2 % is 13 ones of the 6,720 places of these four clips
    np.testing.assert_allclose(ones[64:128], 0.01, atol=0.001)
    np.testing.assert_allclose(ones[128:], 0.002, atol=0.0005)
    assert three.head[0].weight[:, 64:].abs().max() == 0


def _untrained(features, **values):
    """A warm-started network with float weights."""
    torch.manual_seed(0)
    network = Network(DistilConfig(**values).network())
    warm_start(network, released_network(), [tensor(features)])
    return network.eval()


def test_thresholds_add_channels_and_leave_the_scores_alone(features):
    one = _untrained(features)
    config = DistilConfig(thresholds=(1, 3, 1, 2)).network()
    more = add_thresholds(config, one, [tensor(features)])
    np.testing.assert_allclose(predict(more, features), predict(one, features), atol=1e-5)
    with torch.no_grad():
        before, after = (net.eval().maps(tensor(features)) for net in (one, more))
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
    network = _untrained(features, thresholds=(2, 1, 1, 1))
    with torch.no_grad():
        first = network.maps(tensor(features))[0].mean((0, 2, 3)).numpy()
    # Where a kernel gives many equal sums (pauses), a share may not be met
    assert np.mean(np.abs(first[32:] / first[:32] - 0.4) < 0.01) > 0.9
    assert network.convs[1].weight[:, 32:].abs().mean() > 0.01


def test_integer_reference_equals_a_network_with_several_thresholds(features):
    network = _untrained(features, thresholds=(3, 2, 1, 2))
    network.freeze_norm()
    network.start_int8([tensor(features)])
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


@pytest.mark.parametrize("values", [(2, 1, 1), (2, 1, 1, 0), (2, 1, 1, 1.5)])
def test_other_than_four_thresholds_are_refused(values):
    with pytest.raises(ValueError, match="thresholds must be four positive integers, one for each "
                                         "map before the last, not 2,1,1"):
        DistilConfig(thresholds=values)


@pytest.mark.parametrize("value", ["2,1,1", "2,1,1,0", "2,1,1,9", "two", "2;1;1;1"])
def test_the_command_says_how_thresholds_are_given(value):
    done = CliRunner().invoke(command, ["--thresholds", value])
    assert done.exit_code == 2
    assert f"must be four numbers in 1..8, as 2,2,1,1, not '{value}'" in " ".join(
        done.output.replace("│", " ").split())


def test_a_run_starts_with_as_many_thresholds_as_it_is_asked_for(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    clips = Clips(features, np.ones(4), [{}] * 4)
    config = DistilConfig(thresholds=(2, 1, 1, 2), levels=2, crop_epochs=1, int8_epochs=1)
    for start in (None, str(path)):
        run = distillation._Run(dataclasses.replace(config, start=start), clips, clips, tmp_path)
        assert run.network.config == config.network()
        assert [c.weight.shape[0] for c in run.network.convs] == [32, 32, 32, 32, 128]
    for mine, its in zip(run.network.convs, network.convs, strict=True):
        rows, channels = its.weight.shape[:2]
        torch.testing.assert_close(mine.weight[:rows, :channels], its.weight)
    save_network(path, run.network, METADATA)
    more = dataclasses.replace(config, start=str(path), thresholds=(3, 2, 1, 2))
    wider = distillation._Run(more, clips, clips, tmp_path).network
    assert wider.config == more.network()
    np.testing.assert_allclose(predict(wider, features), predict(run.network, features), atol=1e-5)
    with pytest.raises(distillation.DistilError, match="3,1,1,1 thresholds per kernel, or fewer.*"
                                                       "another convs"):
        distillation._Run(dataclasses.replace(config, start=str(path), thresholds=(3, 1, 1, 1)),
                          clips, clips, tmp_path)


def test_a_run_gives_its_start_count_units_or_goes_on_from_them(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    clips = Clips(features, np.linspace(2, 3, 4), [{}] * 4)
    config = DistilConfig(count_caps=(0.25, 3.0), crop_epochs=0, int8_epochs=1, segments=2,
                          freeze_norm=True, change=0.0, bf16=False, start=str(path))
    run = distillation._Run(config, clips, clips, tmp_path)
    assert run.network.config == config.network() and run.network.config.count_units == 2
    for mine, its in zip(run.network.convs, network.convs, strict=True):
        torch.testing.assert_close(mine.weight, its.weight)
    # Numbers of ones of the clips themselves: nothing is changed, and weights are float
    with torch.no_grad():
        ones = run.network.eval().pooled(tensor(features)).mean(0)
    run.network.train()
    weights = run.network.head[0].weight.detach() * (510 * run.network.pool_scale)
    torch.testing.assert_close(weights, unit_weights(ones, (0.25, 3.0)))
    assert len(student_layers(run.network, tensor(features), config)) == 3
    run._begin("int8")
    run._loss(tensor(features)).backward()
    save_network(path, run.network, METADATA)
    later = distillation._Run(config, clips, clips, tmp_path).network
    for name, value in later.state_dict().items():
        torch.testing.assert_close(value, run.network.state_dict()[name])
    with pytest.raises(distillation.DistilError, match="another count_units"):
        distillation._Run(dataclasses.replace(config, count_caps=()), clips, clips, tmp_path)
    save_network(path, run.network, {**METADATA, "training": config.decides()})
    with pytest.raises(distillation.DistilError, match=r"give --count-caps 0.25,3.0 to keep them, "
                                                       "not 0.5,3.0"):
        distillation._Run(dataclasses.replace(config, count_caps=(0.5, 3.0)), clips, clips,
                          tmp_path)


def test_segments_are_scored_by_a_head_of_their_own(features):
    labels = np.arange(len(features), dtype=float)
    clips = Clips(features, labels, [{}] * len(features))
    config = DistilConfig(segments=3, hint=0.0, bf16=False)
    run = distillation._Run(config, clips, clips, Path("never-written"))
    run._begin("crop")
    with torch.no_grad():
        for parameter in run.segment_head.parameters():
            parameter.mul_(1.5)

    def score(head, vector, offset=0.0):
        for layer in head[:-1]:
            vector = torch.relu(vector @ layer.weight.T + layer.bias)
        return vector @ head[-1].weight.T + head[-1].bias + offset

    x, network, teacher = tensor(features), run.network, released_network()
    with torch.no_grad():
        bits, values = network.maps(x)[-1], teacher.maps(x)[-1]
        offset = float(network.score_offset)
        errors = []
        for head, start, stop in ((network.head, 0, 112), (run.segment_head, 0, 37),
                                  (run.segment_head, 37, 74), (run.segment_head, 74, 111)):
            mine = score(head, 8 * bits[:, :, start:stop].mean((2, 3)), offset)
            its = score(teacher.head, values[:, :, start:stop].amax((2, 3)))
            errors.append(float(((mine - its) ** 2).mean()))
        found = float(run._loss(x))
    assert found == pytest.approx(errors[0] + 0.5 * np.mean(errors[1:]), rel=1e-4)
    run._loss(x).backward()
    assert all(p.grad is not None for p in run.segment_head.parameters())
    run._begin("int8")
    assert run.network.head[0].int8 and not run.segment_head[0].int8
    with torch.no_grad():
        network.train()
        bits = network.maps(x)[-1]
        mine = score(run.segment_head, 8 * bits[:, :, 37:74].mean((2, 3)), offset)
        found = distillation._student_layers(network, run.segment_head, bits[:, :, 37:74])[-1]
    torch.testing.assert_close(found, mine)


@pytest.mark.parametrize("values, rows, frames", [
    ({"crop": 64, "segments": 9}, 8, 64),
    ({"crop": 900, "whole_epochs": 1, "segments": 63}, 62, 500)])
def test_more_segments_than_rows_are_refused(values, rows, frames):
    with pytest.raises(distillation.DistilError, match=f"at most the {rows} rows of the last map "
                                                       f"of {frames} frames, not"):
        DistilConfig(**values)


def test_windows_alone_allow_as_many_segments_as_they_have_rows():
    assert DistilConfig(crop=900, segments=112).segments == 112


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
    warm_start(network, released_network(), [tensor(features)])
    network.eval()
    config = DistilConfig(bf16=False)
    with torch.no_grad():
        whole = student_layers(network, tensor(still), config)
        crop = student_layers(network, tensor(still[:, :300]), config)
        score = network(tensor(still))
    torch.testing.assert_close(whole[-1].double(), score.double(), rtol=0, atol=1e-4)
    assert float((whole[-1] - crop[-1]).abs().max()) < 0.3


def test_int8_layers_are_those_of_the_network(network, features):
    network.eval()
    with torch.no_grad():
        layers = student_layers(network, tensor(features), DistilConfig(bf16=False))
        torch.testing.assert_close(layers[-1].double(), network(tensor(features)).double(),
                                   rtol=0, atol=1e-5)


def test_augmented_features_are_features_again(features):
    rng = np.random.default_rng(5)
    crops = random_crops(features, 300, rng)
    assert crops.shape == (4, 300, 120)
    changed = augment(crops, np.random.default_rng(6), share=1.0)
    assert changed.dtype == np.int8 and (changed.max((1, 2)) == 127).all()
    assert (changed != crops).mean() > 0.3 and changed.min() >= -127
    np.testing.assert_array_equal(changed, augment(crops, np.random.default_rng(6), share=1.0))
    np.testing.assert_array_equal(augment(crops, rng, share=0.0), crops)


def test_a_turned_window_is_that_of_the_turned_clip(features):
    rng = np.random.default_rng(3)
    out = turned(features, rng, 1.0)
    samples = load_audio(CLIPS[0])
    # The start that was drawn: where the window's second frame is in the clip
    starts = [k for k in range(1, 500)
              if np.array_equal(out[0][1:100], features[0][k + 1:k + 100])]
    assert len(starts) == 1
    expected = features_p808_int8(np.roll(samples, -160 * starts[0]))
    # But for the window's first and last frame, which have zeros at their side
    np.testing.assert_array_equal(out[0][1:-1], expected[1:-1])
    np.testing.assert_array_equal(turned(features, rng, 0.0), features)


def test_a_warped_window_has_another_tempo(monkeypatch):
    monkeypatch.setattr(augment_p808, "TRACT", 0.0)
    frames = np.random.default_rng(1).integers(-127, 127, (501, 120)).astype(np.int8)
    frames[:, 0] = 127
    old = frames[np.r_[0:501, 1:400]]
    for seed in range(5):
        clip = warped(old[None], np.random.default_rng(seed), 1.0)[0]
        # Where each frame is in the clip, whose frames are all different
        at = [np.flatnonzero((frames[1:] == frame).all(1))[0] for frame in clip]
        steps = np.diff(at) % 500
        assert set(steps) <= {0, 1, 2}
        assert 0.001 < abs(np.log(steps.mean())) < augment_p808.TEMPO + 0.01


@pytest.mark.parametrize("ratio", [0.9, 1.1])
def test_a_vocal_tract_moves_tones_by_its_ratio(ratio):
    position = augment_p808._tract(120, ratio)
    np.testing.assert_allclose(position[:60], np.arange(60) * ratio)
    assert position[-1] == 119 and (np.diff(position) > 0).all()


def test_warped_bands_are_between_their_neighbours(monkeypatch):
    """A tone in one band is found in the band that the new axis gives it."""
    monkeypatch.setattr(augment_p808, "_tract", lambda mels, ratio: np.arange(mels) * 0.5)
    tone = np.full((1, 900, 120), -127, np.int8)
    tone[0, :, 30] = 127
    out = warped(tone, np.random.default_rng(0), 1.0)[0]
    assert (out[:, 60] == 127).all() and (out[:, [59, 61]] == 0).all()
    assert (np.delete(out, [59, 60, 61], 1) == -127).all()
    # Between two bands it is weaker, and the window is set against its new maximum
    monkeypatch.setattr(augment_p808, "_tract", lambda mels, ratio: np.arange(mels) * 0.5 + 0.25)
    out = warped(tone, np.random.default_rng(0), 1.0)[0]
    assert (out[:, [59, 60]] == 127).all() and (out[:, [58, 61]] == 0).all()


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


# --- the run: small crops of few clips, so that killing and continuing take seconds

DATA = {"clips": 8, "data_seed": 1, "speech_folder": None}
SMALL = DistilConfig(crop_epochs=2, whole_epochs=0, int8_epochs=1, crop=64, batch=4, bf16=False,
                     levels=2, thresholds=(2, 1, 1, 2), count_caps=(0.5, 2.0), segments=2, turn=0.5,
                     warp=0.5)


def _splits():
    """Made-up clips: noise whose colour and steadiness differ."""
    def made(count, seed):
        rng = np.random.default_rng(seed)
        tilt = rng.uniform(-60, 60, (count, 1, 1)) * np.linspace(-1, 1, 120)
        x = np.clip(rng.normal(tilt, rng.uniform(5, 40, (count, 1, 1)), (count, 900, 120)),
                    -127, 127).astype(np.int8)
        return Clips(x, predict(released_network(), x), [{"degradations": []}] * count)

    return {"train": made(8, 1), "val": made(4, 2), "test": made(4, 3)}


def test_a_resumed_int8_phase_goes_on_with_the_segments_head(tmp_path):
    config = dataclasses.replace(SMALL, int8_epochs=2)
    splits = _splits()

    def run():
        return distillation._Run(config, splits["train"], splits["val"], tmp_path)

    first = run()
    for _ in range(3):
        first.one_epoch(lambda done, steps: None)
    first.save()
    second = run()
    second.resume()
    assert second.network.head[0].int8 and not second.segment_head[0].int8
    for one in (first, second):
        one.one_epoch(lambda done, steps: None)
    for name in ("network", "segment_head"):
        states = (getattr(one, name).state_dict() for one in (first, second))
        torch.testing.assert_close(*states, rtol=0, atol=0)


def test_the_last_epoch_is_the_result(tmp_path):
    config = DistilConfig(crop_epochs=1, int8_epochs=2, crop=64, batch=8, bf16=False)
    report = distillation.distil(config, tmp_path, _splits())
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    network, metadata = load_network(tmp_path / "model.pt")
    assert report["epoch"] == metadata["epoch"] == last["epoch"] == 3
    for name, value in network.state_dict().items():
        assert torch.equal(value, last["state"][name]), name
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert report["val"]["all"] == lines[-1]["val"]


def test_a_constant_score_is_refused_and_nothing_written(tmp_path):
    splits = _splits()
    one = splits["val"]
    splits["val"] = Clips(one.features[[0, 0]], one.labels[[0, 0]], one.entries[:2])
    config = DistilConfig(crop_epochs=0, int8_epochs=1, batch=8, bf16=False)
    with pytest.raises(distillation.DistilError, match="constant score; use more clips or epochs"):
        distillation.distil(config, tmp_path, splits)
    assert not (tmp_path / "model.pt").exists() and not (tmp_path / "report.json").exists()


def _run_and_sleep(out):
    class Sleeper:
        def data(self, done, total, text):
            pass

        def step(self, epoch, done, total):
            if epoch == 2 and done == 2:
                time.sleep(600)

        def epoch(self, line, eta_seconds):
            pass

    distillation.distil(SMALL, out, _splits(), progress=Sleeper())


def test_a_killed_run_resumes_and_ends_the_same(tmp_path):
    whole = distillation.distil(SMALL, tmp_path / "whole", _splits(), DATA)

    killed = multiprocessing.get_context("spawn").Process(
        target=_run_and_sleep, args=(tmp_path / "killed",))
    killed.start()
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 300
    while not log.exists() or not log.read_text():
        assert time.monotonic() < deadline and killed.is_alive()
        time.sleep(0.1)
    time.sleep(0.5)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    resumed = distillation.distil(SMALL, tmp_path / "killed", _splits(), DATA)

    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3]
    assert {**whole, "training_seconds": 0} == {**resumed, "training_seconds": 0}
    (one, metadata), (two, _) = (load_network(tmp_path / run / "model.pt")
                                 for run in ("whole", "killed"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert metadata["front_end"] == P808_FRONT_END and metadata["training"]["clips"] == 8
    card = (tmp_path / "killed" / "card.md").read_text()
    assert f"| **test, all** | 4 | {whole['test']['all']['pcc']:.3f} |" in card
    assert "--levels 2 --thresholds 2,1,1,2 --count-caps 0.5,2.0 --segments 2" in card
    assert "256 units in front of its head: 2 per last channel" in card
    assert "128 channels in place of the last 64" in card
    assert "64-32-32-64 in place of the others: 2, 1, 1, 2 thresholds per kernel" in card

    other = DistilConfig(**{**SMALL.decides(), "seed": 2})
    with pytest.raises(distillation.DistilError, match=r"another configuration \(seed differ\)"):
        distillation.distil(other, tmp_path / "killed", _splits())


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """Its checkpoint does not know the settings that are new: they were the defaults."""
    config = DistilConfig(crop_epochs=1, int8_epochs=1, crop=64, batch=4)
    run = distillation._Run(config, *[_splits()[k] for k in ("train", "val")], tmp_path)
    run._begin("crop")
    run.epoch = 1
    run.save()
    content = torch.load(run.path, weights_only=True)
    for name in ("turn", "warp", "thresholds"):
        del content["decides"][name]
    content["kept"] = [0.9, 1, {"state": {}}]
    torch.save(content, run.path)

    def resumed(**changes):
        later = distillation._Run(dataclasses.replace(config, **changes), run.train, run.val,
                                  tmp_path)
        later.resume()
        return later

    assert resumed().epoch == 1
    with pytest.raises(distillation.DistilError, match=r"\(warp differ\)"):
        resumed(warp=0.5)
    content["decides"]["laps"] = 3
    torch.save(content, run.path)
    with pytest.raises(distillation.DistilError, match=r"\(laps differ\)"):
        resumed()
    del content["decides"]
    torch.save(content, run.path)
    with pytest.raises(distillation.DistilError, match="seed, .*differ"):
        resumed()


def test_gradients_are_compiled_where_asked(network, features, tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def fuse(self):
        raise Asked

    monkeypatch.setattr(Network, "fuse", fuse)
    save_network(tmp_path / "start.pt", network, METADATA)
    clips = Clips(features, np.arange(len(features), dtype=float), [{}] * len(features))
    config = DistilConfig(start=str(tmp_path / "start.pt"), compile=True)
    with pytest.raises(Asked):
        distillation.distil(config, tmp_path / "run", dict.fromkeys(("train", "val"), clips))


def test_each_phase_has_its_frames(tmp_path, monkeypatch):
    """Crops, then crops as long as a clip, then whole windows; the last two in smaller steps."""
    seen = []

    def unchanged(clips, rng, share):
        seen.append(clips.shape[:2])
        return clips

    monkeypatch.setattr(distillation, "augment", unchanged)
    config = dataclasses.replace(SMALL, crop_epochs=1, whole_epochs=1, batch=8, count_caps=())
    distillation.distil(config, tmp_path, _splits())
    assert seen == [(8, 64), (4, 500), (4, 500), (4, 900), (4, 900)]


def test_windows_are_turned_and_warped_where_asked(tmp_path, monkeypatch):
    """Before they are cut, in every phase; the teacher and the student see what came of it."""
    seen = []

    def silent(name):
        def change(clips, rng, share):
            seen.append((name, share, clips.shape[1]))
            return np.full_like(clips, -127)
        return change

    def kept(clips, rng, share):
        seen.append(("augment", int(clips.max()), clips.shape[1]))
        return clips

    monkeypatch.setattr(distillation, "augment", kept)
    for turn, warp in ((0.5, 0.0), (0.0, 0.25), (0.0, 0.0)):
        monkeypatch.setattr(distillation, "turned", silent("turned"))
        monkeypatch.setattr(distillation, "warped", silent("warped"))
        config = DistilConfig(crop_epochs=1, int8_epochs=1, crop=64, batch=8, turn=turn, warp=warp)
        run = distillation._Run(config, _splits()["train"], _splits()["val"], tmp_path)
        run.one_epoch(lambda done, steps: None)
        change = [("turned", 0.5, 900)] * bool(turn) + [("warped", 0.25, 900)] * bool(warp)
        assert seen == [*change, ("augment", -127 if change else 127, 64)]
        seen.clear()


def test_500_frames_hold_a_whole_clip_wherever_they_start():
    """Frames come again after 5 s, but for the first one, which has zeros before it."""
    clip = load_audio(CLIPS[0])
    assert clip.shape == (80_000,)
    features = features_p808_int8(clip)
    np.testing.assert_array_equal(features[1:400], features[501:])


def test_a_run_goes_on_from_another_runs_network(network, features, tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, network, METADATA)
    labels = predict(network, features)
    clips = Clips(features, labels, [{} for _ in labels])
    config = DistilConfig(start=str(path), crop_epochs=1, int8_epochs=1, batch=4)
    run = distillation._Run(config, clips, clips, tmp_path / "run")
    # The same function, but for the rounding of int8 weights
    with torch.no_grad():
        mine, its = (net.eval().maps(tensor(features))[0] for net in (run.network, network))
    assert 0 < float((mine != its).float().mean()) < 0.01
    assert not run.network.int8
    fresh = distillation._Run(DistilConfig(crop_epochs=1, int8_epochs=1), clips, clips,
                              tmp_path / "fresh")
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
        run = distillation._Run(config, clips, clips, tmp_path / "run")
        saved = load_network(tmp_path / start)[0]
        torch.testing.assert_close(run.network.convs[3].weight, saved.convs[3].weight)
        assert (run.network.head[0].weight[:, 64:].abs().max() == 0) == (start == "one.pt")
    with pytest.raises(distillation.DistilError, match="with 1 level in.*not one of another convs"):
        distillation._Run(DistilConfig(start=str(tmp_path / "two.pt")), clips, clips,
                          tmp_path / "run")


def test_a_start_of_another_shape_is_refused(features, tmp_path):
    save_network(tmp_path / "paper.pt", Network(make_config("paper")), METADATA)
    clips = Clips(features, np.arange(len(features), dtype=float), [{}] * len(features))
    config = DistilConfig(start=str(tmp_path / "paper.pt"), int8_epochs=1)
    with pytest.raises(distillation.DistilError, match="P.808 shape.*not one of another name"):
        distillation._Run(config, clips, clips, tmp_path / "run")


def test_clips_of_another_front_end_are_refused():
    with pytest.raises(distillation.DistilError, match=r"must be \(n, 900, 120\)"):
        Clips(np.zeros((2, 249, 120), np.int8), np.zeros(2), [])
