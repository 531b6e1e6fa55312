"""The data set on disk: shards, what is missing, and what does not fit."""

import json

import numpy as np
import pytest

from bamac.data import dataset, labels, recipes
from bamac.frontends.dnsmos import features_p808_int8
from bamac.frontends.log_mel import features_int8


def _noise(seed):
    return 0.1 * np.random.default_rng(seed).standard_normal(80_000)


@pytest.fixture
def folder(tmp_path):
    """Two shards of training clips; the clips of the second have no PESQ."""
    for number, entries in enumerate(([{"pesq": 1.5, "p808": 2.5}, {"pesq": 2.0, "p808": 2.75}],
                                      [{"p808": 3.0}])):
        clips = [(_noise(2 * number + i), {"index": 2 * number + i, **entry})
                 for i, entry in enumerate(entries)]
        dataset.write_shard(tmp_path, "train", number, iter(clips))
    return tmp_path


def test_a_shard_holds_the_features_of_every_front_end(folder):
    assert {path.name for path in folder.iterdir()} == {
        f"train-000{n}{suffix}" for n in (0, 1) for suffix in (".npy", ".p808.npy", ".jsonl")}
    for file, compute in ((dataset.LOG_MEL_FILE, features_int8),
                          (dataset.P808_FILE, features_p808_int8)):
        features, p808, entries = dataset.load_split(folder, "train", label=labels.P808,
                                                     features=file)
        np.testing.assert_array_equal(features, [compute(_noise(i)) for i in range(3)])
        assert p808.tolist() == [2.5, 2.75, 3.0] and [e["index"] for e in entries] == [0, 1, 2]


def test_the_first_clips_may_come_from_some_shards_alone(folder):
    features, pesq, entries = dataset.load_split(folder, "train", 1)
    assert len(features) == len(entries) == 1 and pesq.tolist() == [1.5]
    assert dataset.load_split(folder, "train", 2)[1].tolist() == [1.5, 2.0]


def test_missing_clips_are_refused(folder):
    with pytest.raises(FileNotFoundError) as caught:
        dataset.load_split(folder, "val")
    assert str(caught.value) == f"No val clips in {folder}; make them with `bamac data`"
    with pytest.raises(FileNotFoundError) as caught:
        dataset.load_split(folder, "train", 4, label=labels.P808)
    assert str(caught.value) == (f"{folder} holds 3 train clips, not 4; make the rest with "
                                 f"`bamac data`")


def test_a_missing_label_is_refused(folder):
    with pytest.raises(ValueError) as caught:
        dataset.load_split(folder, "train")
    assert str(caught.value) == (f"{folder} must be of a data recipe with the label pesq; of "
                                 f"recipe 8, 9 only DNSMOS P.808 is known")


def test_features_and_manifest_of_different_clips_are_refused(folder):
    path = folder / "train-0000.jsonl"
    path.write_text(json.dumps({"pesq": 1.5}) + "\n")
    with pytest.raises(ValueError) as caught:
        dataset.load_split(folder, "train")
    assert str(caught.value) == f"{path} and its .npy must have as many clips, not 1 and 2"


def test_shards_have_forty_clips_and_the_last_the_rest():
    assert dataset.shards("val", 90) == [("val", 0, 40), ("val", 1, 40), ("val", 2, 10)]
    assert dataset.shards("val", 40) == [("val", 0, 40)]


def test_a_shard_is_complete_when_its_manifest_has_all_clips(folder):
    assert dataset.is_complete(folder, "train", 0, 2)
    assert not dataset.is_complete(folder, "train", 0, 3)
    assert not dataset.is_complete(folder, "train", 2, 1)


def test_data_sets_have_folders_by_recipe_and_seed(tmp_path):
    for recipe, name in zip(recipes.RECIPES, (
            "packages-ef74fdb5-r6.2-s5", "packages-84a59186-7-r7.2-s5",
            "packages-84a59186-7-r8.2-s5", "packages-821c160d-9-r9.2-s5"), strict=True):
        assert dataset.set_folder(tmp_path, 5, recipe=recipe.name) == tmp_path / "sets" / name


def test_held_out_clips_are_adopted_from_recipes_of_the_same_recordings(tmp_path):
    def make(number, value):
        folder = dataset.set_folder(tmp_path, 1, recipe=number)
        folder.mkdir(parents=True)
        for split in ("train", "val"):
            for suffix in (".npy", ".p808.npy", ".jsonl"):
                (folder / f"{split}-0000{suffix}").write_text(value)
        return folder

    make(6, "six"), make(7, "seven")
    out = dataset.set_folder(tmp_path, 1, recipe=8)
    out.mkdir()
    dataset.adopt_held_out(tmp_path, 1, None, recipes.get(8))
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        f"val-0000{suffix}": "seven" for suffix in (".npy", ".p808.npy", ".jsonl")}


def test_pesq_without_an_utterance_is_not_defined():
    assert labels.pesq_of(np.zeros(80_000, np.int16), np.zeros(80_000, np.int16)) is None
