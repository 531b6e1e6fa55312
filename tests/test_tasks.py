"""Tasks: those of the package, that of every shipped checkpoint, and one from outside."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from bamac import tasks
from bamac.data import labels
from bamac.data.dataset import LOG_MEL_FILE, P808_FILE
from bamac.errors import InputError
from bamac.frontends import registry as front_ends
from bamac.ir.network import FrontEnd
from bamac.nn.checkpoint import load_network
from bamac.shipped import ASSETS
from bamac.tasks import registry

CHECKPOINTS = sorted((ASSETS / "models").glob("*.pt"))


def test_the_tasks_of_the_package():
    assert tasks.names() == ["pesq", "p808"]
    pesq, p808 = map(tasks.get, tasks.names())
    assert (pesq.network, pesq.label, pesq.front_end.rows) == ("paper", labels.PESQ, 249)
    assert (p808.network, p808.label, p808.front_end.rows) == ("p808", labels.P808, 900)
    assert pesq.data.features == LOG_MEL_FILE and p808.data.features == P808_FILE
    for task in (pesq, p808):
        config = task.net_config("w8", beta=1.5)
        assert (config.name, config.variant, config.beta) == (task.network, "w8", 1.5)
        assert (config.rows, config.cols) == (task.front_end.rows, task.front_end.cols)
        assert task.data.label is task.label and task.data.features.front_end is task.front_end


def test_labels_of_the_data_set():
    table = {label.key: (label.title, label.scale, label.unit) for label in labels.LABELS}
    assert table == {"pesq": ("wide-band PESQ", (1.0, 4.7), "MOS-LQO"),
                     "p808": ("DNSMOS P.808", (1.0, 5.0), "MOS")}


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_every_shipped_checkpoint_has_its_task(path):
    network, metadata = load_network(path)
    task = tasks.of_metadata(metadata)
    assert task.name == {"paper": "pesq", "p808": "p808"}[path.stem.split("-")[0]]
    assert task.network == network.config.name
    form = front_ends.with_bits(task.front_end, network.config.input_bits)
    assert task.metadata(network.config.input_bits) == {
        "task": task.name, "label": task.label.title, "front_end": metadata["front_end"],
        "offset": metadata["offset"], "steps": metadata["steps"]}
    assert form.front_end == FrontEnd(metadata["front_end"], metadata["offset"],
                                      metadata["steps"])


@pytest.mark.parametrize("metadata, name", [
    ({"task": "p808"}, "p808"), ({"task": "p808", "network": "paper"}, "p808"),
    ({"network": "p808"}, "p808"), ({"network": "paper"}, "pesq"), ({}, "pesq")])
def test_the_task_of_metadata(metadata, name):
    assert tasks.of_metadata(metadata).name == name


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="^Task must be one of pesq, p808, not 'noise'$"):
        tasks.get("noise")
    with pytest.raises(ValueError, match="^Task must be one of pesq, p808, not 'noise'$"):
        tasks.of_metadata({"task": "noise"})
    with pytest.raises(ValueError, match=r"^Network must be that of a task \(pesq, p808\), "
                                         "not 'other'$"):
        tasks.of_metadata({"network": "other"})
    with pytest.raises(TypeError, match="^Task must be a Task with a name, not 'pesq'$"):
        tasks.register("pesq")


def test_a_name_belongs_to_one_task():
    pesq = tasks.get("pesq")
    assert tasks.register(pesq) is pesq  # the same once more
    with pytest.raises(ValueError, match="^Task must have a name of its own, not 'pesq'$"):
        tasks.register(dataclasses.replace(pesq, title="Another"))


def test_metadata_of_a_form_without_that_many_bits_is_refused():
    with pytest.raises(InputError, match="not 'dnsmos-p808-16k-321-160-120-4bit'$"):
        tasks.get("p808").metadata(4)


def test_the_folder_of_a_run_follows_from_its_configuration():
    data = tasks.get("pesq").data
    run = {"data_seed": 3, "speech_folder": None}
    assert data.folder(run, "c").as_posix() == "c/sets/packages-ef74fdb5-r6.2-s3"
    assert data.folder({**run, "data_recipe": 8}, "c").as_posix() == (
        "c/sets/packages-84a59186-7-r8.2-s3")


def test_tasks_come_without_torch():
    code = ("import sys, bamac.tasks\n"
            "print(sorted({'torch', 'librosa', 'onnx', 'scipy', 'amaranth'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class _Levels:
    """A data set that no module of the package knows: 16 levels, and how loud the clip is."""

    def sizes(self, clips):
        return {"train": clips, "val": 12, "test": 12}

    def build(self, cache, **options):
        return cache

    def folder(self, training):
        return training["where"]

    def load(self, folder, split, clips=None):
        assert (folder, split) == ("here", "test")
        rng = np.random.default_rng(1)
        features = rng.integers(-40, 100, (clips or 12, 16, 8)).astype(np.int8)
        loud = features.mean(axis=(1, 2)) / 10
        return features, loud, [{"voice": "tone", "degradations": []} for _ in loud]


@pytest.fixture
def loudness(monkeypatch):
    """A task with a front end, a label, a data set, a network and a measure of its own."""
    from bamac.nn.config import ConvSpec, NetConfig

    monkeypatch.setattr(registry._TASKS, "_items", dict(registry._TASKS._items))
    monkeypatch.setattr(front_ends._SPECS, "_items", dict(front_ends._SPECS._items))
    front_end = front_ends.register(front_ends.FrontEndSpec(
        FrontEnd("toy-levels", 0.0, 100.0), 1600, 16, 8, 100, 100,
        lambda samples: np.rint(100 * samples[:128].reshape(16, 8)).astype(np.int8)))

    def network(variant, **changes):
        return NetConfig("toy", 16, 8, (ConvSpec(4), ConvSpec(8, pool=(1, 1))), dense=(8,),
                         variant=variant, **changes)

    return tasks.register(tasks.Task(
        "loudness", "How loud a clip is", network, front_end,
        labels.Label("loudness", "loudness", (0.0, 10.0), "sone"), _Levels(),
        {"largest": lambda scores, truth: float(np.abs(scores - truth).max())}))


def test_a_task_from_outside_is_evaluated_and_scores_audio(loudness, tmp_path):
    import soundfile
    import torch

    from bamac.evaluation.levels import evaluate_clip, evaluate_dataset
    from bamac.nn.checkpoint import save_network
    from bamac.nn.network import Network

    torch.manual_seed(1)
    network = Network(loudness.net_config("bam-w8")).eval()
    network.set_int8()
    path = tmp_path / "toy.pt"
    save_network(path, network, {**loudness.metadata(),
                                 "training": {"clips": 24, "where": "here"}})
    found = {level: evaluate_dataset(path, level) for level in ("qat", "integer")}
    for result in found.values():
        assert result["label"] == "loudness" and result["all"]["clips"] == 12
        assert result["all"]["largest"] >= result["all"]["rmse"] > 0
        assert result["voice"]["tone"]["clips"] == 12
    assert found["qat"]["all"] == found["integer"]["all"]
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, 0.3 * np.random.default_rng(2).standard_normal(4000), 16_000)
    assert len(evaluate_clip(path, clip)["scores"]) == 3
