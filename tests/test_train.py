"""Training: a killed run goes on where its checkpoint stands, and ends as if nothing happened."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from bamac import train as training
from bamac.checkpoint import load_network
from bamac.data import build as data_build

CONFIG = training.TrainConfig(clips=24, epochs=2, fine_epochs=2, batch=8)


def _split(folder, split, clips=None, label="pesq"):
    """Made-up features whose label is their mean, in the form of ``load_split``."""
    count = {"train": 24, "val": 12, "test": 12}[split]
    rng = np.random.default_rng(len(split))
    level = rng.uniform(-40, 40, count)
    features = np.clip(rng.normal(level[:, None, None], 20, (count, 249, 120)), -128, 127)
    entries = [{"family": "made-up", "voice": split, "degradations": []} for _ in range(count)]
    return features.astype(np.int8), 2.5 + level / 40, entries


@pytest.fixture(autouse=True)
def made_up_data(monkeypatch):
    monkeypatch.setattr(data_build, "build", lambda *args, **kwargs: "made-up")
    monkeypatch.setattr(data_build, "load_split", _split)


def _run_slowly(out):
    """Train, but sleep in the second epoch, inside a phase, so that there is time to be killed."""
    class Sleeper:
        def data(self, *args):
            pass

        def step(self, epoch, done, total):
            if epoch == 2 and done == 2:
                time.sleep(600)

        def epoch(self, line, eta_seconds):
            pass

    data_build.build = lambda *args, **kwargs: "made-up"
    data_build.load_split = _split
    training.train(CONFIG, out, Sleeper())


def test_a_killed_run_resumes_and_ends_the_same(tmp_path):
    whole = training.train(CONFIG, tmp_path / "whole")

    killed = multiprocessing.get_context("spawn").Process(
        target=_run_slowly, args=(tmp_path / "killed",))
    killed.start()
    log = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.is_file() or len(log.read_text().splitlines()) < 1:
        assert time.monotonic() < deadline and killed.is_alive()
        time.sleep(0.1)
    time.sleep(0.5)  # into the second epoch
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    resumed = training.train(CONFIG, tmp_path / "killed")

    epochs = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
    assert epochs == [1, 2, 3, 4]
    assert {**whole, "training_seconds": 0} == {**resumed, "training_seconds": 0}
    one, two = (load_network(tmp_path / run / "model.pt")[0] for run in ("whole", "killed"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_another_configuration_does_not_continue_a_run(tmp_path):
    training.train(CONFIG, tmp_path)
    other = dataclasses.replace(CONFIG, seed=2)
    with pytest.raises(training.TrainError, match=r"another configuration \(seed differ\)"):
        training.train(other, tmp_path)
