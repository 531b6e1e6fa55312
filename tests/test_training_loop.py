"""The training loop with a toy recipe, and the learning rate of its phases."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from bamac.nn.config import ConvSpec, NetConfig
from bamac.nn.network import Network
from bamac.nn.predict import tensor_of
from bamac.training.loop import Trainer, checkpoint_path
from bamac.training.recipe import Recipe, TrainError
from bamac.training.schedule import Phase, phase_of, rate_at

# --- What the loop continues, refuses, logs and keeps

SHAPE = NetConfig("toy", 12, 12, (ConvSpec(4), ConvSpec(4, pool=(1, 1))), dense=(4,),
                  variant="bam", dropout=0.3)
PHASES = (Phase("first", 2, batch=4, rate=1e-2), Phase("second", 2, batch=3, rate=1e-3,
                                                       first_seed=7))


class Toy(Recipe):
    """A small network with dropout learns the mean of its input, with a scale beside it."""

    seed = 5
    clips = 10

    def __init__(self, phases=PHASES, keep_best=True, scores=(), **options):
        self.phases = phases
        self.keep_best = keep_best
        self.options = {"clips": 10, **options}
        self.scores = list(scores)  # of the epochs; their number by default
        self.calls = []
        self.drawn = []
        rng = np.random.default_rng(0)
        self.features = rng.integers(-99, 99, (self.clips, 12, 12)).astype(np.int8)
        self.scale = torch.nn.Linear(1, 1)

    def decides(self):
        return self.options

    def start(self):
        self.calls.append("start")
        self.network = Network(SHAPE)
        torch.nn.init.ones_(self.scale.weight)
        torch.nn.init.zeros_(self.scale.bias)

    def restore(self, network, state, phase):
        self.calls.append(f"restore {phase.name}")
        self.network = network
        self.scale.load_state_dict(state["scale"])

    def state(self):
        return {"scale": self.scale.state_dict()}

    def learners(self):
        return [self.network, self.scale]

    def begin(self, phase):
        self.calls.append(f"begin {phase.name}")

    def end(self, phase, epoch):
        self.calls.append(f"end {phase.name} {epoch}")

    def loss(self, phase, rows, mine, rng):
        self.drawn.append((phase.name, rows, rng.random()))
        x = tensor_of(self.features[rows[mine]])
        error = (self.scale(self.network(x)) - x.mean((1, 2, 3))[:, None]).square().mean()
        return 2 * error, error

    def validate(self):
        epoch = len(self.calls) + len(self.drawn)
        score = self.scores.pop(0) if self.scores else epoch
        return {"val": {"pcc": score}}, score


@pytest.fixture(autouse=True)
def one_thread():
    """More threads wait for each other longer than such small maps take to compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _log(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "ms_per_clip")}
            for line in lines]


def _saved(folder):
    content = torch.load(checkpoint_path(folder), weights_only=True)
    return {**content["state"], **content["recipe"]["scale"]}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, stop):
    """Also at the end of a phase; dropout would show random numbers that differ."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    Trainer(Toy(scores=[1, 2, 3, 4]), whole).run()

    class Killed(Exception):
        pass

    class Display:
        def step(self, epoch, done, total):
            if epoch == stop + 1 and done == 2:
                raise Killed

        def epoch(self, line, eta_seconds):
            assert eta_seconds >= 0

    with pytest.raises(Killed):
        Trainer(Toy(scores=[1, 2, 3, 4]), cut, progress=Display()).run()
    torch.manual_seed(99)
    later = Trainer(Toy(scores=[1, 2, 3, 4][stop:]), cut)
    assert later.epoch == stop
    assert later.recipe.calls == [f"restore {'first' if stop < 3 else 'second'}"]
    assert later.run().epoch == 4
    assert _log(cut) == _log(whole)
    one, two = _saved(whole), _saved(cut)
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_a_finished_run_gives_its_network_again(tmp_path):
    first = Trainer(Toy(), tmp_path).run()
    before = (tmp_path / "log.jsonl").read_text()
    again = Trainer(Toy(), tmp_path).run()
    assert (again.epoch, again.seconds) == (first.epoch, first.seconds)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    assert (tmp_path / "log.jsonl").read_text() == before


def test_another_configuration_is_refused(tmp_path):
    Trainer(Toy(rate=1), tmp_path).run()
    for options, changed in (({"rate": 2}, "rate"), ({}, "rate"), ({"rate": 1, "new": 0}, "new")):
        with pytest.raises(TrainError) as error:
            Trainer(Toy(**options), tmp_path)
        assert str(error.value) == (f"{tmp_path} holds a run with another configuration "
                                    f"({changed} differ); give another --out or the same values")


def test_a_line_of_the_log_says_what_the_epoch_was(tmp_path):
    recipe = Toy(scores=[0.1, 0.2, 0.3, 0.4])
    seen = []

    class Display:
        def step(self, epoch, done, total):
            seen.append((epoch, done, total))

        def epoch(self, line, eta_seconds):
            seen.append(line)

    Trainer(recipe, tmp_path, progress=Display()).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["phase"], line["val"]["pcc"]) for line in lines] == [
        (1, "first", 0.1), (2, "first", 0.2), (3, "second", 0.3), (4, "second", 0.4)]
    assert all(list(line) == ["epoch", "phase", "loss", "val", "ms_per_clip", "seconds"]
               for line in lines)
    assert lines == [line for line in seen if isinstance(line, dict)]
    # 10 clips are 3 steps of 4, or 4 steps of 3
    assert [step for step in seen if isinstance(step, tuple) and step[0] in (2, 3)] == [
        (2, 1, 3), (2, 2, 3), (2, 3, 3), (3, 1, 4), (3, 2, 4), (3, 3, 4), (3, 4, 4)]


def test_each_epoch_has_its_own_order_and_random_numbers(tmp_path):
    recipe = Toy()
    Trainer(recipe, tmp_path).run()
    assert recipe.calls == ["start", "begin first", "end first 2", "begin second", "end second 4"]
    expected = []
    for phase, seed in (("first", 0), ("first", 1), ("second", 7), ("second", 8)):
        rng = np.random.default_rng([5, seed])
        order, batch = rng.permutation(10), 4 if phase == "first" else 3
        expected += [(phase, order[i:i + batch].tolist(), rng.random())
                     for i in range(0, 10, batch)]
    assert [(phase, rows.tolist(), drawn) for phase, rows, drawn in recipe.drawn] == expected


@pytest.mark.parametrize("scores, epoch", [
    ([9, 9, 1, 2], 4), ([9, 9, 2, 1], 3), ([9, 9, math.nan, 0.5], 4), ([9, 9, 1, 1], 3)])
def test_the_best_epoch_of_the_last_phase_is_kept(tmp_path, scores, epoch):
    trainer = Trainer(Toy(scores=scores), tmp_path)
    kept = trainer.run()
    assert kept.epoch == epoch
    last = trainer.recipe.network.state_dict()
    same = all(torch.equal(value, last[name]) for name, value in kept.network.state_dict().items())
    assert same == (epoch == 4)


def test_the_last_epoch_is_kept_where_asked(tmp_path):
    trainer = Trainer(Toy(scores=[9, 9, 2, 1], keep_best=False), tmp_path)
    kept = trainer.run()
    assert kept.epoch == 4
    for name, value in trainer.recipe.network.state_dict().items():
        assert torch.equal(value, kept.network.state_dict()[name]), name


def test_no_score_at_all_is_refused(tmp_path):
    with pytest.raises(TrainError) as error:
        Trainer(Toy(scores=[1, 1, math.nan, math.nan]), tmp_path).run()
    assert str(error.value) == ("Training gave a constant score in every epoch; use more clips or "
                                "epochs")


def test_a_last_phase_without_epochs_gives_the_network_it_begins_with(tmp_path):
    phases = (PHASES[0], dataclasses.replace(PHASES[1], epochs=0))
    recipe = Toy(phases, scores=[3, 2, 1])  # the epochs' and its own
    kept = Trainer(recipe, tmp_path).run()
    assert recipe.calls == ["start", "begin first", "end first 2", "begin second"]
    assert kept.epoch == 2
    for name, value in recipe.network.state_dict().items():
        assert torch.equal(value, kept.network.state_dict()[name]), name


# --- The learning rate of a phase, against values by hand


def test_the_rate_is_a_cosine_from_the_peak_after_a_warm_up():
    phase = Phase("one", epochs=5, batch=1, rate=2.0, end=0.5)
    rates = [rate_at(phase, step, 10) for step in range(50)]
    # 0.02 x 50 + 1 = 2 steps to rise
    assert rates[0] == pytest.approx(1.0)
    assert rates[1] == pytest.approx(2.0 * (0.5 + 0.25 * (1 + math.cos(math.pi / 50))))
    assert rates[25] == pytest.approx(1.5)
    assert 1.0 < rates[49] < 1.002 and rates[1:] == sorted(rates[1:], reverse=True)


def test_each_cycle_is_the_same_cosine():
    phase = Phase("one", epochs=4, batch=1, rate=1.0, cycles=2)
    rates = [rate_at(phase, step, 6) for step in range(24)]
    alone = Phase("one", epochs=2, batch=1, rate=1.0)
    assert rates[:12] == rates[12:] == [rate_at(alone, step, 6) for step in range(12)]


def test_an_epoch_is_found_in_its_phase():
    phases = [Phase(name, epochs, batch=1, rate=1.0)
              for name, epochs in (("a", 2), ("none", 0), ("b", 1))]
    found = [phase_of(phases, epoch) for epoch in range(3)]
    assert [(phase.name, within) for phase, within in found] == [("a", 0), ("a", 1), ("b", 0)]
    with pytest.raises(ValueError, match=r"^Epoch must be in 0\.\.2, not 3$"):
        phase_of(phases, 3)
