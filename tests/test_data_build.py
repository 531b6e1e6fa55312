"""The data set on made-up speech: determinism, resuming, separate splits, held-out damage."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from made_up_speech import RATE, speech

from bamac.data import build, clips, dataset, labels, recipes, sources, summary

P808 = {"label": labels.P808, "features": dataset.P808_FILE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five talkers with two recordings each."""
    path = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(5)
    for talker in range(5):
        (path / f"talker{talker}").mkdir()
        for take in range(2):
            soundfile.write(path / f"talker{talker}" / f"{take}.wav", speech(rng, 9), RATE)
    return path


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    steps = []
    out = build.build(cache, clips=6, seed=3, workers=2, speech_folder=folder,
                      progress=lambda *state: steps.append(state))
    return sources.prepare(cache, folder), out, steps


def test_split_sizes_do_not_change_with_the_training_set():
    assert dataset.split_sizes(14_400) == {"train": 14_400, "val": 600, "test": 1200}
    assert dataset.split_sizes(5_000) == {"train": 5_000, "val": 600, "test": 1200}
    assert dataset.split_sizes(24) == {"train": 24, "val": 4, "test": 8}


def test_features_labels_and_manifest_belong_together(made):
    from bamac.data.dnsmos import P808Teacher
    from bamac.frontends.log_mel import features_int8

    prepared, out, steps = made
    features, pesq, entries = dataset.load_split(out, "train", 6)
    wide, p808, _ = dataset.load_split(out, "train", 6, **P808)
    assert features.shape == (6, 249, 120) and wide.shape == (6, 900, 120)
    assert features.dtype == wide.dtype == np.int8
    assert [e["index"] for e in entries] == list(range(6))
    _, pair = clips.make_pair(prepared, "train", 1, 3)
    for (samples, entry), row in zip(pair, (2, 3), strict=True):
        assert {k: v for k, v in entries[row].items() if k != "p808"} == entry
        np.testing.assert_array_equal(features_int8(samples / 32768), features[row])
        assert p808[row] == pytest.approx(P808Teacher().score(samples / 32768), abs=1e-4)
    assert steps[-1][:2] == (6 + 1 + 2, 9)


def test_recipes_differ_in_the_training_clips_alone(made, folder):
    prepared, _, _ = made
    newer = sources.prepare(prepared.parents[1], folder, recordings=recipes.get(7).recordings)
    assert newer != prepared
    same = {split: np.array_equal(clips.make_pair(prepared, split, 0, 3)[0],
                                  clips.make_pair(newer, split, 0, 3,
                                                        recipes.get(7))[0])
            for split in sources.SPLITS}
    assert same == {"train": False, "val": True, "test": True}


def test_clips_without_pesq_have_one_recording_each(made, folder, monkeypatch):
    from bamac.data.dnsmos import P808Teacher
    from bamac.frontends.dnsmos import features_p808_int8

    prepared, out, _ = made
    monkeypatch.setattr(labels, "pesq_of", lambda *_: pytest.fail("PESQ is not needed"))
    cache, opinion = prepared.parents[1], recipes.get("talkers-66-opinion")
    build.build(cache, clips=5, seed=3, workers=1, speech_folder=folder, recipe=7, splits=("val",))
    made_there = dataset.set_folder(cache, 3, folder, 7)
    features = np.load(made_there / "val-0000.npy")
    np.save(made_there / "val-0000.npy", 1 - features)  # to be told from recipe 6's
    # One process, in this one, so that PESQ would be seen
    monkeypatch.setattr(build, "ProcessPoolExecutor",
                        lambda workers, **_: ThreadPoolExecutor(workers))
    newer = build.build(cache, clips=3, seed=3, workers=1, speech_folder=folder, recipe=8,
                        splits=("train", "val"))
    assert (newer / "val-0000.npy").read_bytes() == (made_there / "val-0000.npy").read_bytes()
    wide, p808, entries = dataset.load_split(newer, "train", 3, **P808)
    assert [e["index"] for e in entries] == [0, 1, 2] and "pesq" not in entries[0]
    assert {e["voice"] for e in entries} <= {e["voice"] for e in summary.manifest(out, "train")}
    prepared = sources.prepare(cache, folder, recordings=opinion.recordings)
    samples, entry = clips.make_clip(prepared, 1, 3, opinion)
    assert {k: v for k, v in entries[1].items() if k != "p808"} == entry
    np.testing.assert_array_equal(features_p808_int8(samples / 32768), wide[1])
    assert p808[1] == pytest.approx(P808Teacher().score(samples / 32768), abs=1e-4)
    found = summary.summarise(newer, {"train": 3, "val": 1, "test": 0})
    assert sum(found["train"]["pesq"]) == 0 and sum(found["train"]["p808"]) == 3
    assert sum(found["val"]["pesq"]) == 1
    with pytest.raises(ValueError, match="recipe with the label pesq"):
        dataset.load_split(newer, "train", 3)


def test_a_data_set_without_pesq_is_described_without_it(made, tmp_path, monkeypatch):
    from bamac.report.data import data_text, write_report

    splits = summary.summarise(made[1], dataset.split_sizes(6))
    splits["train"]["pesq"] = [0] * len(splits["train"]["pesq"])
    text = data_text({"splits": splits, "leaks": []})
    assert text.count("wide-band PESQ") == 2 and text.count("DNSMOS P.808") == 3
    monkeypatch.chdir(tmp_path)
    write_report({"clips": 6, "seed": 3, "recipe": 8, "leaks": [], "splits": splits}, "here")
    assert (tmp_path / "here" / "data.png").exists()


def _prepared(folder, name, collection):
    """One more prepared voice in ``folder``: a tone of its own."""
    tone = np.sin(np.arange(9 * RATE) * 2 * np.pi * 300 / RATE) * np.hanning(9 * RATE)
    np.save(folder / f"voice-{name}.npy", np.rint(9000 * tone).astype(np.int16))
    (folder / f"voice-{name}.json").write_text(json.dumps(
        {"name": name, "package": "p", "licence": "l", "language": "en", "family": "f",
         "split": "train", "collection": collection, "seconds": 9.0, "files": [name],
         "bounds": [0, 9 * RATE]}))


def test_half_of_the_clips_with_games_are_spoken_by_their_voices(tmp_path):
    for i, collection in enumerate(("core", "further", "games")):
        _prepared(tmp_path, f"talker{i}", collection)
    recipe = recipes.get("games-opinion")
    spoken = [clips.make_clip(tmp_path, i, 1, recipe)[1]["voice"] for i in range(48)]
    assert 14 <= spoken.count("talker2") <= 34 and set(spoken) == {"talker0", "talker1", "talker2"}


def test_games_opinion_of_a_users_folder_has_its_voices_and_milder_damage(made, folder):
    cache = made[0].parents[1]
    entries = {}
    for recipe in map(recipes.get, (8, 9)):
        prepared = sources.prepare(cache, folder, recordings=recipe.recordings)
        entries[recipe.number] = [clips.make_clip(prepared, i, 3, recipe)[1] for i in range(40)]
    assert {e["voice"] for e in entries[9]} == {e["voice"] for e in entries[8]}
    most = {recipe: max(e["severity"] for e in made) for recipe, made in entries.items()}
    assert 0.64 < most[8] <= 0.8 and 0.5 < most[9] <= 0.64 + 1e-9


def test_pesq_is_of_the_degraded_clip_against_the_clean_one(made):
    import pesq

    prepared, _, _ = made
    clean, pair = clips.make_pair(prepared, "train", 0, 3)
    for samples, entry in pair:
        assert entry["pesq"] == pytest.approx(pesq.pesq(RATE, clean, samples, "wb"), abs=1e-4)


def test_an_interrupted_build_makes_what_is_missing_and_nothing_else(made, folder):
    prepared, out, _ = made
    before = {p: p.read_bytes() for p in out.iterdir()}
    lost = out / "train-0000.jsonl"
    lost.unlink()
    build.build(prepared.parents[1], clips=6, seed=3, workers=1, speech_folder=folder)
    assert {p: p.read_bytes() for p in out.iterdir()} == before


def test_the_report_names_the_command_that_makes_it_again(made, tmp_path, monkeypatch):
    from bamac.report.data import write_report

    monkeypatch.chdir(tmp_path)
    splits = summary.summarise(made[1], dataset.split_sizes(6))
    for recipe, words in ((6, "--seed 3 --report here`"),
                          (7, "--seed 3 --data-recipe 7 --report here`")):
        write_report({"clips": 6, "seed": 3, "recipe": recipe, "leaks": [], "splits": splits},
                     "here")
        text = (tmp_path / "here" / "data.md").read_text()
        assert f"`bamac data --clips 6 {words} (recipe {recipe})" in text
        assert "| train | 6 | 0.0 | " in text


def test_splits_share_nothing(made):
    _, out, _ = made
    assert summary.leaks(out) == []
    voices = {split: {e["voice"] for e in summary.manifest(out, split)}
              for split in ("train", "val", "test")}
    assert all(voices.values())
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["val"]


@pytest.mark.parametrize("change, complaint", [
    (lambda e: e.update(voice="other"), "train and test share voices: other"),
    (lambda e: e["degradations"].append({"kind": "modulated", "q_db": 20}),
     "train has damage that is held out for the test: modulated"),
    (lambda e: e["degradations"].append({"kind": "codec", "codec": "aac"}),
     "train has damage that is held out for the test: aac"),
    (lambda e: e["degradations"].append({"kind": "noise", "noise": "music", "sources": ["tune"]}),
     "train and test share noise recordings and babble voices: tune"),
    (lambda e: e.update(language="it"), "train has every language of the test; one must be unseen"),
])
def test_a_leak_is_found(made, tmp_path, change, complaint):
    _, out, _ = made
    for split in ("train", "val", "test"):
        entries = summary.manifest(out, split)
        for entry in entries:
            entry.update(voice=f"{split}-{entry['voice']}",
                         language="it" if split == "test" else "en", degradations=[])
        if split in ("train", "test"):
            change(entries[0])
        if "every language" in complaint and split == "test":
            for entry in entries:
                entry["language"] = "it"
        (tmp_path / f"{split}-0000.jsonl").write_text(
            "\n".join(json.dumps(e) for e in entries) + "\n")
    assert complaint in summary.leaks(tmp_path)
