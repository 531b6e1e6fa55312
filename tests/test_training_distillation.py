"""Distillation: losses, phases, and runs that are killed and go on."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from p808_clips import METADATA, demo_features, int8_network, made_up_splits

from bamac.cli.commands.distil import command
from bamac.frontends.dnsmos import P808_FRONT_END
from bamac.nn.checkpoint import load_network, save_network
from bamac.nn.network import Network
from bamac.nn.predict import tensor_of
from bamac.report.training_run import write_distilled
from bamac.training import distillation
from bamac.training.config import DistilConfig
from bamac.training.distillation import Clips, Distillation, distil
from bamac.training.distillation_loss import student_layers
from bamac.training.dnsmos_start import released_network
from bamac.training.loop import Trainer, checkpoint_path
from bamac.training.recipe import TrainError


@pytest.fixture(scope="module")
def features():
    """int8 features (4, 900, 120) of the demonstration clips."""
    return demo_features()


@pytest.fixture(scope="module")
def network():
    """A warm-started P.808-shaped network with int8 weights, without training."""
    return int8_network()


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


def test_segments_are_scored_by_a_head_of_their_own(features):
    labels = np.arange(len(features), dtype=float)
    clips = Clips(features, labels, [{}] * len(features))
    config = DistilConfig(segments=3, hint=0.0, bf16=False)
    run = Trainer(Distillation(config, clips, clips), "never-written").recipe
    run.begin(run.phases[0])
    with torch.no_grad():
        for parameter in run.segment_head.parameters():
            parameter.mul_(1.5)

    def score(head, vector, offset=0.0):
        for layer in head[:-1]:
            vector = torch.relu(vector @ layer.weight.T + layer.bias)
        return vector @ head[-1].weight.T + head[-1].bias + offset

    x, network, teacher = tensor_of(features), run.network, released_network()
    with torch.no_grad():
        bits, values = network.maps(x)[-1], teacher.maps(x)[-1]
        offset = float(network.score_offset)
        errors = []
        for head, start, stop in ((network.head, 0, 112), (run.segment_head, 0, 37),
                                  (run.segment_head, 37, 74), (run.segment_head, 74, 111)):
            mine = score(head, 8 * bits[:, :, start:stop].mean((2, 3)), offset)
            its = score(teacher.head, values[:, :, start:stop].amax((2, 3)))
            errors.append(float(((mine - its) ** 2).mean()))
        found = float(run.criterion(network, run.segment_head, x))
    assert found == pytest.approx(errors[0] + 0.5 * np.mean(errors[1:]), rel=1e-4)
    run.criterion(network, run.segment_head, x).backward()
    assert all(p.grad is not None for p in run.segment_head.parameters())
    run.begin(run.phases[-1])
    assert run.network.head[0].int8 and not run.segment_head[0].int8
    with torch.no_grad():
        network.train()
        bits = network.maps(x)[-1]
        mine = score(run.segment_head, 8 * bits[:, :, 37:74].mean((2, 3)), offset)
        found = student_layers(network, run.segment_head, bits[:, :, 37:74])[-1]
    torch.testing.assert_close(found, mine)


@pytest.mark.parametrize("values, rows, frames", [
    ({"crop": 64, "segments": 9}, 8, 64),
    ({"crop": 900, "whole_epochs": 1, "segments": 63}, 62, 500)])
def test_more_segments_than_rows_are_refused(values, rows, frames):
    with pytest.raises(TrainError, match=f"at most the {rows} rows of the last map of {frames} "
                                         f"frames, not"):
        DistilConfig(**values)


def test_windows_alone_allow_as_many_segments_as_they_have_rows():
    assert DistilConfig(crop=900, segments=112).segments == 112


# --- the run: small crops of few clips, so that killing and continuing take seconds

DATA = {"clips": 8, "data_seed": 1, "speech_folder": None}
SMALL = DistilConfig(crop_epochs=2, whole_epochs=0, int8_epochs=1, crop=64, batch=4, bf16=False,
                     levels=2, thresholds=(2, 1, 1, 2), count_caps=(0.5, 2.0), segments=2,
                     circular_shift=0.5, vtlp=0.5)


def distilled(config, out, splits, data=None, progress=None):
    """Distil, write the files of the run, and return its report."""
    result = distil(config, out, splits, data, progress)
    write_distilled(out, result)
    return result.report


def test_a_resumed_int8_phase_goes_on_with_the_segments_head(tmp_path):
    config = dataclasses.replace(SMALL, int8_epochs=2)
    splits = made_up_splits()

    def run():
        return Trainer(Distillation(config, splits["train"], splits["val"]), tmp_path)

    first = run()
    for _ in range(3):
        first.one_epoch()
    first.save()
    second = run()
    assert second.epoch == 3
    assert second.recipe.network.head[0].int8 and not second.recipe.segment_head[0].int8
    for one in (first, second):
        one.one_epoch()
    for name in ("network", "segment_head"):
        states = (getattr(one.recipe, name).state_dict() for one in (first, second))
        torch.testing.assert_close(*states, rtol=0, atol=0)


def test_the_last_epoch_is_the_result(tmp_path):
    config = DistilConfig(crop_epochs=1, int8_epochs=2, crop=64, batch=8, bf16=False)
    report = distilled(config, tmp_path, made_up_splits())
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    network, metadata = load_network(tmp_path / "model.pt")
    assert report["epoch"] == metadata["epoch"] == last["epoch"] == 3
    for name, value in network.state_dict().items():
        assert torch.equal(value, last["state"][name]), name
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert report["val"]["all"] == lines[-1]["val"]


def test_a_constant_score_is_refused_and_nothing_written(tmp_path):
    splits = made_up_splits()
    one = splits["val"]
    splits["val"] = Clips(one.features[[0, 0]], one.labels[[0, 0]], one.entries[:2])
    config = DistilConfig(crop_epochs=0, int8_epochs=1, batch=8, bf16=False)
    with pytest.raises(TrainError, match="constant score; use more clips or epochs"):
        distil(config, tmp_path, splits)
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

    distil(SMALL, out, made_up_splits(), progress=Sleeper())


def test_a_killed_run_resumes_and_ends_the_same(tmp_path):
    whole = distilled(SMALL, tmp_path / "whole", made_up_splits(), DATA)

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
    resumed = distilled(SMALL, tmp_path / "killed", made_up_splits(), DATA)

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
    with pytest.raises(TrainError, match=r"another configuration \(seed differ\)"):
        distil(other, tmp_path / "killed", made_up_splits())


def test_a_run_of_other_options_is_not_continued(tmp_path):
    """Not even where its checkpoint does not know an option, or knows one that is no more."""
    config = DistilConfig(crop_epochs=1, int8_epochs=1, crop=64, batch=4, bf16=False)
    splits = made_up_splits()

    def run(**changes):
        recipe = Distillation(dataclasses.replace(config, **changes), splits["train"],
                              splits["val"])
        return Trainer(recipe, tmp_path)

    first = run()
    first.one_epoch()
    first.save()
    content = torch.load(checkpoint_path(tmp_path), weights_only=True)
    assert run().epoch == 1
    with pytest.raises(TrainError, match=r"\(vtlp differ\)"):
        run(vtlp=0.5)
    content["decides"]["laps"] = 3
    torch.save(content, checkpoint_path(tmp_path))
    with pytest.raises(TrainError, match=r"\(laps differ\)"):
        run()
    del content["decides"]
    torch.save(content, checkpoint_path(tmp_path))
    with pytest.raises(TrainError, match="seed, .*differ"):
        run()


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
        distil(config, tmp_path / "run", dict.fromkeys(("train", "val"), clips))


def test_each_phase_has_its_frames(tmp_path, monkeypatch):
    """Crops, then crops as long as a clip, then whole windows; the last two in smaller steps."""
    seen = []

    def unchanged(clips, rng, share):
        seen.append(clips.shape[:2])
        return clips

    monkeypatch.setattr(distillation, "augment", unchanged)
    config = dataclasses.replace(SMALL, crop_epochs=1, whole_epochs=1, batch=8, count_caps=())
    distil(config, tmp_path, made_up_splits())
    assert seen == [(8, 64), (4, 500), (4, 500), (4, 900), (4, 900)]


def test_windows_are_shifted_and_perturbed_where_asked(tmp_path, monkeypatch):
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
    splits = made_up_splits()
    monkeypatch.setattr(distillation, "circular_shift", silent("shift"))
    monkeypatch.setattr(distillation, "vtlp", silent("vtlp"))
    for shift, vtlp in ((0.5, 0.0), (0.0, 0.25), (0.0, 0.0)):
        config = DistilConfig(crop_epochs=1, int8_epochs=1, crop=64, batch=8, bf16=False,
                              circular_shift=shift, vtlp=vtlp)
        Trainer(Distillation(config, splits["train"], splits["val"]), tmp_path).one_epoch()
        change = [("shift", 0.5, 900)] * bool(shift) + [("vtlp", 0.25, 900)] * bool(vtlp)
        assert seen == [*change, ("augment", -127 if change else 127, 64)]
        seen.clear()


def test_clips_of_another_front_end_are_refused():
    with pytest.raises(TrainError, match=r"must be \(n, 900, 120\)"):
        Clips(np.zeros((2, 249, 120), np.int8), np.zeros(2), [])
