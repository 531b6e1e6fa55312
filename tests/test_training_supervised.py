"""Training: a killed run goes on where its checkpoint stands, and ends as if nothing happened."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bamac.data import build as data_build
from bamac.nn.checkpoint import load_checkpoint, load_network, save_checkpoint
from bamac.nn.layers import ConvStage
from bamac.nn.predict import predict, tensor_of
from bamac.report.training_run import write_supervised
from bamac.training import supervised
from bamac.training.config import TrainConfig
from bamac.training.pesq_augmentation import augment
from bamac.training.recipe import TrainError

# In float32: a processor without bfloat16 takes seven times as long to imitate it
CONFIG = TrainConfig(clips=24, epochs=2, fine_epochs=2, batch=8, bfloat16=False)
BFLOAT16 = dataclasses.replace(CONFIG, clips=8, batch=4, bfloat16=True)


def _split(folder, split, clips=24, **_):
    """Made-up features whose label is their mean, in the form of ``load_split``."""
    count = clips if split == "train" else 12
    rng = np.random.default_rng(len(split))
    level = rng.uniform(-40, 40, count)
    features = np.clip(rng.normal(level[:, None, None], 20, (count, 249, 120)), -128, 127)
    entries = [{"family": "made-up", "voice": split, "degradations": []} for _ in range(count)]
    return features.astype(np.int8), 2.5 + level / 40, entries


def train(config, out, progress=None):
    """Train, write the files of the run, and return its report."""
    result = supervised.train(config, out, progress)
    if result is None:
        return None
    write_supervised(out, result)
    return result.report


@pytest.fixture(autouse=True)
def made_up_data(monkeypatch):
    monkeypatch.setattr(data_build, "build", lambda *args, **kwargs: "made-up")
    monkeypatch.setattr(data_build, "load_split", _split)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of ``CONFIG``; whoever changes it takes a copy."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_build, "build", lambda *args, **kwargs: "made-up")
        patch.setattr(data_build, "load_split", _split)
        train(CONFIG, folder)
    return folder


def _run_slowly(out):
    """Train, but sleep in the second epoch, inside a phase, so that there is time to be killed."""
    class Sleeper:
        def data(self, *args):
            pass

        def step(self, epoch, done, total):
            if epoch == 2 and done == 1:
                time.sleep(600)

        def epoch(self, line, eta_seconds):
            pass

    data_build.build = lambda *args, **kwargs: "made-up"
    data_build.load_split = _split
    train(BFLOAT16, out, Sleeper())


def test_a_killed_run_resumes_and_ends_the_same(tmp_path):
    whole = train(BFLOAT16, tmp_path / "whole")

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
    resumed = train(BFLOAT16, tmp_path / "killed")

    epochs = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
    assert epochs == [1, 2, 3, 4]
    assert {**whole, "training_seconds": 0} == {**resumed, "training_seconds": 0}
    one, two = (load_network(tmp_path / run / "model.pt")[0] for run in ("whole", "killed"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


def test_another_configuration_does_not_continue_a_run(finished):
    other = dataclasses.replace(CONFIG, seed=2)
    with pytest.raises(TrainError, match=r"another configuration \(seed differ\)"):
        train(other, finished)


def test_a_run_begun_without_an_option_names_it(finished, tmp_path):
    content = load_checkpoint(finished / "checkpoint.pt")
    del content["decides"]["twin"]
    save_checkpoint(tmp_path / "checkpoint.pt", content)
    with pytest.raises(TrainError, match=r"another configuration \(twin differ\)"):
        train(CONFIG, tmp_path)


def _worker(rank, world, port, config, out):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=str(port))
    data_build.build = lambda *args, **kwargs: "made-up"
    data_build.load_split = _split
    report = train(config, out)
    assert (report is not None) == (rank == 0)


def test_two_processes_take_the_same_steps_as_one(finished, tmp_path):
    """With batch norm frozen, averaging the gradients of two half batches changes only rounding."""
    import socket

    # bfloat16's rounding would be larger than a step
    assert not CONFIG.bfloat16
    config = dataclasses.replace(CONFIG, variant="bam", fine_epochs=1,
                                 start=str(finished / "float.pt"))
    train(config, tmp_path / "alone")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_worker, args=(rank, 2, port, config, tmp_path / "together"))
               for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
        assert worker.exitcode == 0
    start, alone, together = (load_network(path)[0].state_dict() for path in (
        finished / "float.pt", tmp_path / "alone" / "model.pt",
        tmp_path / "together" / "model.pt"))
    moved = max(float((start[n] - alone[n]).abs().max()) for n in start if n.endswith("weight"))
    apart = max(float((together[n] - alone[n]).abs().max()) for n in start if n.endswith("weight"))
    assert moved > 1e-4 and apart < 0.05 * moved


def test_pruned_weights_stay_zero(finished, tmp_path):
    config = dataclasses.replace(CONFIG, prune=0.75, start=str(finished / "float.pt"))
    train(config, tmp_path / "pruned")
    network, metadata = load_network(tmp_path / "pruned" / "model.pt")
    shares = [float((stage.weight == 0).float().mean())
              for stage in [*network.convs, *list(network.head)[:-1]]]
    assert all(0.74 <= share <= 0.76 for share in shares), shares
    assert metadata["training"]["prune"] == 0.75 and network.int8


def test_the_second_phase_is_the_same_in_a_run_of_its_own(finished, tmp_path):
    one = dataclasses.replace(CONFIG, fine_union_penalty=0.5)
    train(one, tmp_path / "one")
    start = str(finished / "float.pt")
    train(dataclasses.replace(CONFIG, union_penalty=0.5, start=start),
                   tmp_path / "penalty")
    report = train(dataclasses.replace(CONFIG, epochs=7, start=start), tmp_path / "none")
    assert report["first_phase"]["epochs"] == 2 and report["epochs"] == 2
    states = {run: load_network(tmp_path / run / "model.pt")[0].state_dict()
              for run in ("one", "penalty", "none")}
    same = {run: all(torch.equal(states["one"][name], value) for name, value in state.items())
            for run, state in states.items()}
    assert same == {"one": True, "penalty": True, "none": False}


def test_without_epochs_on_whole_clips_the_integer_form_is_taken_untrained(tmp_path):
    report = train(dataclasses.replace(CONFIG, fine_epochs=0), tmp_path)
    network, _ = load_network(tmp_path / "model.pt")
    start, _ = load_network(tmp_path / "float.pt")
    assert network.int8 and not start.int8 and report["epoch"] == report["epochs"] == 2
    for mine, its in zip(network.convs, start.convs, strict=True):
        assert torch.equal(mine.weight, its.weight)
    phases = [json.loads(line)["phase"] for line in (tmp_path / "log.jsonl").open()]
    assert phases == ["float", "float"]
    features, labels, _ = _split(None, "val")
    assert report["val"]["all"]["pcc"] == pytest.approx(
        np.corrcoef(predict(network, features), labels)[0, 1], abs=1e-4)


def test_statistics_of_batch_norm_do_not_depend_on_the_order_of_the_data_set(
        tmp_path, monkeypatch):
    """Clips in order of their level: batches of neighbours have a tenth of the variance."""
    rng = np.random.default_rng(2)
    level = np.linspace(-60, 60, 64)[:, None, None]
    features = (level + rng.normal(0, 2, (64, 249, 120))).astype(np.int8)
    monkeypatch.setattr(data_build, "load_split", lambda *args, **kwargs: (
        features, level[:, 0, 0] / 40 + 2.5, _split(None, "test")[2]))
    monkeypatch.setattr(supervised, "_report", lambda *args: {})
    supervised.train(dataclasses.replace(CONFIG, variant="bam", fine_epochs=1, fine_rate=1e-9),
                     tmp_path)
    first = load_network(tmp_path / "float.pt")[0].convs[0]
    with torch.no_grad():
        sums = first.convolve(tensor_of(features), first.weight * first.in_scale)
    measured, true = first.norm.running_var, sums.var((0, 2, 3))
    assert (measured > 0.6 * true).all() and (measured < 1.1 * true).all()


@pytest.mark.parametrize("int8_first", [True, False])
def test_weights_on_their_grid_from_the_first_step_on(tmp_path, monkeypatch, int8_first):
    """Every convolution of the first phase sees so many values per channel as its bits allow."""
    seen, convolve = [], ConvStage.convolve

    def look(stage, x, weight):
        if stage.training:
            seen.append(max(len(kernel.unique()) for kernel in weight.detach().flatten(1)))
        return convolve(stage, x, weight)

    class Stop:
        def step(self, epoch, done, total):
            assert epoch == 1, "killed"

        def epoch(self, line, eta_seconds):
            pass

        data = None

    monkeypatch.setattr(ConvStage, "convolve", look)
    config = dataclasses.replace(CONFIG, fine_epochs=0, weight_bits=(3,) * 4,
                                 int8_first=int8_first)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(AssertionError, match="killed"):
        train(config, tmp_path / "killed", Stop())
    seen.clear()
    resumed = train(config, tmp_path / "killed")
    assert {**whole, "training_seconds": 0} == {**resumed, "training_seconds": 0}
    assert len(seen) >= 4 * 3 and (max(seen) <= 7) == int8_first  # -3..3


def test_cycles_are_cosines_from_the_peak_again(tmp_path, monkeypatch):
    """Two cycles of 2 epochs: the first is a run of 2, and the second has its rates again."""
    rates, step = {}, torch.optim.AdamW.step

    def look(optimiser, *args):
        rates[name].append(optimiser.param_groups[0]["lr"])
        return step(optimiser, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", look)
    losses = {}
    for name, epochs, cycles in (("two", 4, 2), ("one", 2, 1)):
        rates[name] = []
        config = dataclasses.replace(CONFIG, epochs=epochs, cycles=cycles, fine_epochs=1)
        train(config, tmp_path / name)
        log = (tmp_path / name / "log.jsonl").read_text().splitlines()
        losses[name] = [json.loads(line)["loss"] for line in log]
    assert losses["two"][:2] == losses["one"][:2]
    cosine = [3e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * i / 6)) / 2) for i in range(6)]
    assert rates["one"][1:6] == pytest.approx(cosine[1:])
    assert rates["two"][:6] == rates["two"][6:12] == rates["one"][:6]
    assert rates["two"][12:] == rates["one"][6:] and len(rates["two"]) == 15


def test_a_start_of_other_activations_is_refused(finished, tmp_path):
    config = dataclasses.replace(CONFIG, variant="fp32",
                                 start=str(finished / "float.pt"))
    with pytest.raises(TrainError, match="must hold a network of the same activations"):
        train(config, tmp_path / "second")


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """float.pt of a full-precision run on the made-up clips."""
    folder = tmp_path_factory.mktemp("twin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_build, "build", lambda *args, **kwargs: "made-up")
        patch.setattr(data_build, "load_split", _split)
        train(dataclasses.replace(CONFIG, variant="fp32", epochs=8), folder)
    return str(folder / "float.pt")


STILL = {"epochs": 1, "fine_epochs": 1, "rate": 1e-9, "fine_rate": 1e-9}
"""Settings of a run that ends where it starts."""


@pytest.mark.parametrize("bits", [8, 4])
def test_binary_maps_start_with_what_their_twin_has_learnt(twin, tmp_path, bits):
    """Untrained, they score about as the twin does, with the wanted share of ones."""
    features, _, _ = _split(None, "train")
    wanted = predict(load_network(twin)[0], features)
    error = {}
    for name, start in (("twin", twin), ("random", None)):
        config = dataclasses.replace(CONFIG, variant="bam", input_bits=bits, twin=start,
                                     start_bias=-0.8, **STILL)
        train(config, tmp_path / name)
        network, _ = load_network(tmp_path / name / "model.pt")
        error[name] = np.std(predict(network, features) - wanted)
    assert error["twin"] < 0.2 * np.std(wanted) < error["random"]

    network, _ = load_network(tmp_path / "twin" / "model.pt")
    with torch.no_grad():
        ones = [float(m.mean()) for m in network.eval().maps(tensor_of(features, bits))]
    np.testing.assert_allclose(ones, 0.212, atol=0.03)  # Phi(-0.8)


def test_a_run_from_a_twin_continues_without_it(twin, tmp_path):
    """Only the start reads the twin: a run that has begun goes on where it stands."""
    copy = shutil.copy(twin, tmp_path)
    config = dataclasses.replace(CONFIG, twin=copy, epochs=1, fine_epochs=1)
    report = train(config, tmp_path / "run")
    Path(copy).unlink()
    assert "fit of a full-precision run" in (tmp_path / "run" / "card.md").read_text()
    assert train(config, tmp_path / "run") == report


def test_a_run_trains_its_own_twin_first(tmp_path):
    """It ends as one that was given that twin; begun, it goes on without training it again."""
    config = dataclasses.replace(CONFIG, epochs=1, fine_epochs=1, twin_epochs=2, rate=2e-3,
                                 input_bits=5, int8_first=True)
    own = train(config, tmp_path / "own")
    twin, metadata = load_network(tmp_path / "own" / "twin" / "float.pt")
    assert not twin.config.binary and twin.config.input_bits == 8
    first = metadata["training"]
    assert (first["epochs"], first["rate"], first["clips"]) == (2, 3e-3, 24)
    given = train(dataclasses.replace(config, twin_epochs=0,
                                               twin=str(tmp_path / "own/twin/float.pt")),
                           tmp_path / "given")
    assert given["test"] == own["test"]
    shutil.rmtree(tmp_path / "own" / "twin")
    assert train(config, tmp_path / "own") == own
    assert not (tmp_path / "own" / "twin").exists()
    assert "trained for 2 epochs before" in (tmp_path / "own" / "card.md").read_text()


def test_a_twin_with_binary_maps_is_refused(finished, twin, tmp_path):
    config = dataclasses.replace(CONFIG, twin=str(finished / "float.pt"))
    with pytest.raises(TrainError, match="variant fp32 of the same shape, not paper bam-w8"):
        train(config, tmp_path / "run")
    for values, complaint in (({"start": twin}, "start and twin must not be given together"),
                              ({"twin_epochs": 1}, "twin and twin_epochs must not be given tog"),
                              ({"variant": "w8"}, "'bam' or 'bam-w8' to start from a twin")):
        with pytest.raises(TrainError, match=complaint):
            dataclasses.replace(CONFIG, twin=twin, **values)


@pytest.mark.parametrize("values, complaint", [
    ({"prune": 1.0}, "Share of pruned weights must be in 0..1"),
    ({"variant": "w4"}, "Variant must be one of fp32, w8, bam, bam-w8"),
    ({"input_bits": 2}, "Input bits must be in 3..8"),
    ({"epochs": 7, "cycles": 2}, "Epochs .7. must be a multiple of the cycles .* give 8 epochs"),
    ({"variant": "bam", "int8_first": True}, "Variant must be 'w8' or 'bam-w8' for int8 weights"),
])
def test_impossible_configurations_are_refused(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        TrainConfig(**values)


def test_a_stored_configuration_may_have_retired_options():
    config = TrainConfig(epochs=8, weight_bits=(8, 6, 4, 4))
    stored = {**config.decides(), "crop": 160, "global_pool": "sum", "colour": 0.0}
    assert TrainConfig.from_stored(stored).decides() == config.decides()
    with pytest.raises(TrainError) as error:
        TrainConfig.from_stored({**stored, "colour": 1.5})
    assert str(error.value) == "colour must be 0.0, as in every run of today, not 1.5"


def test_augmentation_leaves_the_bands_that_the_front_end_leaves_out():
    clips = np.random.default_rng(4).integers(-90, 40, (3, 249, 120)).astype(np.int8)
    changed = augment(clips, np.random.default_rng(5), crop=100)
    assert (changed[..., :2] == -32).all() and changed.shape == (3, 100, 120)


def test_the_data_set_is_of_the_configured_recipe(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(data_build, "build",
                        lambda *args, **kwargs: asked.append(kwargs["recipe"]) or "made-up")
    config = dataclasses.replace(CONFIG, data_recipe=7, epochs=1, fine_epochs=1)
    train(config, tmp_path / "run")
    assert set(asked) == {7}
    with pytest.raises(ValueError, match="Data recipe must be one of 6, 7, 8, 9, not 5"):
        dataclasses.replace(CONFIG, data_recipe=5)
    with pytest.raises(TrainError, match="recipe 8 has no PESQ.*`bamac distil`"):
        dataclasses.replace(CONFIG, data_recipe=8)
