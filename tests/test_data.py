"""The data set on made-up speech: determinism, resuming, separate splits, held-out damage."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from bamac.data import build, degrade, sources, summary

RATE = 16_000


def _speech(rng, seconds):
    """Harmonic syllables with pauses: enough like speech for PESQ to find utterances."""
    parts = []
    while sum(p.size for p in parts) < seconds * RATE:
        t = np.arange(int(rng.uniform(0.15, 0.4) * RATE)) / RATE
        pitch = rng.uniform(90, 240)
        tone = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 20))
        parts += [0.2 * tone * np.hanning(t.size), np.zeros(int(rng.uniform(0.05, 0.2) * RATE))]
    return np.concatenate(parts) + 1e-5 * rng.standard_normal(sum(p.size for p in parts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five talkers with two recordings each."""
    path = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(5)
    for talker in range(5):
        (path / f"talker{talker}").mkdir()
        for take in range(2):
            soundfile.write(path / f"talker{talker}" / f"{take}.wav", _speech(rng, 9), RATE)
    return path


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    steps = []
    out = build.build(cache, clips=6, seed=3, workers=2, speech_folder=folder,
                      progress=lambda *state: steps.append(state))
    return sources.prepare(cache, folder), out, steps


def test_split_sizes_do_not_change_with_the_training_set():
    assert build.split_sizes(14_400) == {"train": 14_400, "val": 600, "test": 1200}
    assert build.split_sizes(5_000) == {"train": 5_000, "val": 600, "test": 1200}
    assert build.split_sizes(24) == {"train": 24, "val": 4, "test": 8}


def test_features_labels_and_manifest_belong_together(made):
    from bamac.frontends.log_mel import features_int8
    from bamac.training.dnsmos import P808Teacher

    prepared, out, steps = made
    features, pesq, entries = build.load_split(out, "train", 6)
    wide, p808, _ = build.load_split(out, "train", 6, "p808")
    assert features.shape == (6, 249, 120) and wide.shape == (6, 900, 120)
    assert features.dtype == wide.dtype == np.int8
    assert [e["index"] for e in entries] == list(range(6))
    _, clips = build.make_pair(prepared, "train", 1, 3)
    for (samples, entry), row in zip(clips, (2, 3), strict=True):
        assert {k: v for k, v in entries[row].items() if k != "p808"} == entry
        np.testing.assert_array_equal(features_int8(samples / 32768), features[row])
        assert p808[row] == pytest.approx(P808Teacher().score(samples / 32768), abs=1e-4)
    assert steps[-1][:2] == (6 + 1 + 2, 9)


def test_recipes_differ_in_the_training_clips_alone(made, folder):
    prepared, _, _ = made
    newer = sources.prepare(prepared.parents[1], folder, recipe=7)
    assert newer != prepared
    same = {split: np.array_equal(build.make_pair(prepared, split, 0, 3)[0],
                                  build.make_pair(newer, split, 0, 3, 7)[0])
            for split in sources.SPLITS}
    assert same == {"train": False, "val": True, "test": True}


def test_clips_without_pesq_have_one_recording_each(made, folder, monkeypatch):
    from bamac.frontends.dnsmos import features_p808_int8
    from bamac.training.dnsmos import P808Teacher

    prepared, out, _ = made
    monkeypatch.setattr(build, "_pesq", lambda *_: pytest.fail("PESQ is not needed"))
    cache = prepared.parents[1]
    build.build(cache, clips=5, seed=3, workers=1, speech_folder=folder, recipe=7, splits=("val",))
    made_there = build.set_folder(cache, 3, folder, 7)
    features = np.load(made_there / "val-0000.npy")
    np.save(made_there / "val-0000.npy", 1 - features)  # to be told from recipe 6's
    # One process, in this one, so that PESQ would be seen
    monkeypatch.setattr(build, "ProcessPoolExecutor",
                        lambda workers, **_: ThreadPoolExecutor(workers))
    newer = build.build(cache, clips=3, seed=3, workers=1, speech_folder=folder, recipe=8,
                        splits=("train", "val"))
    assert (newer / "val-0000.npy").read_bytes() == (made_there / "val-0000.npy").read_bytes()
    wide, p808, entries = build.load_split(newer, "train", 3, "p808")
    assert [e["index"] for e in entries] == [0, 1, 2] and "pesq" not in entries[0]
    assert {e["voice"] for e in entries} <= {e["voice"] for e in summary.manifest(out, "train")}
    samples, entry = build.make_clip(sources.prepare(cache, folder, recipe=8), 1, 3, 8)
    assert {k: v for k, v in entries[1].items() if k != "p808"} == entry
    np.testing.assert_array_equal(features_p808_int8(samples / 32768), wide[1])
    assert p808[1] == pytest.approx(P808Teacher().score(samples / 32768), abs=1e-4)
    found = summary.summarise(newer, {"train": 3, "val": 1, "test": 0})
    assert sum(found["train"]["pesq"]) == 0 and sum(found["train"]["p808"]) == 3
    assert sum(found["val"]["pesq"]) == 1
    with pytest.raises(ValueError, match="recipe with the label pesq"):
        build.load_split(newer, "train", 3)


def test_a_data_set_without_pesq_is_described_without_it(made, tmp_path, monkeypatch):
    from bamac.report.data import data_text, write_report

    splits = summary.summarise(made[1], build.split_sizes(6))
    splits["train"]["pesq"] = [0] * len(splits["train"]["pesq"])
    text = data_text({"splits": splits, "leaks": []})
    assert text.count("wide-band PESQ") == 2 and text.count("DNSMOS P.808") == 3
    monkeypatch.chdir(tmp_path)
    write_report({"clips": 6, "seed": 3, "recipe": 8, "leaks": [], "splits": splits}, "here")
    assert (tmp_path / "here" / "data.png").exists()


def test_a_recipe_keeps_its_voices():
    older, newer = (sources.package_voices(recipe) for recipe in (6, 7))
    assert set(older) < set(newer)
    assert {voice.split for voice in set(newer) - set(older)} == {"train"}
    assert len({voice.name for voice in newer}) == len(newer)
    assert sources.package_voices(8) == newer
    assert sources.source_tag(None, 8) == sources.source_tag(None, 7)
    # The names of what recipes 6 and 7 made ever since
    assert sources.source_tag() == "packages-ef74fdb5"
    assert sources.source_tag(None, 7) == "packages-84a59186-7"


def test_every_recipe_can_be_asked_for():
    from bamac.cli.commands.data import command

    option, = (p for p in command.params if p.name == "data_recipe")
    assert (option.type.min, option.type.max) == (min(sources.RECIPES), max(sources.RECIPES))


def test_recipe_9_adds_voices_and_noises_to_training_alone(tmp_path, monkeypatch):
    older, newer = (sources.package_voices(recipe) for recipe in (8, 9))
    added = set(newer) - set(older)
    assert set(older) < set(newer) and len({voice.name for voice in newer}) == len(newer)
    assert {voice.split for voice in added} == {"train"}
    held_out = {voice.language for voice in newer if voice.split == "test"} - {"en", "cs"}
    assert held_out == {"it", "ru", "ro"} and not held_out & {v.language for v in added}
    roots = {}
    for package, pattern in [*((p, n[0]) for p, n in sources.NOISE_PACKAGES.items()),
                             *(n[:2] for n in sources.MORE_NOISES)]:
        roots.setdefault(package, tmp_path / package)
        for i in range(5):
            path = roots[package] / pattern.replace("**/", "").replace("*", f"{i}.", 1).replace(
                "*", "ogg").replace("..", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    monkeypatch.setattr(sources, "fetch_packages",
                        lambda packages, _: {p: roots.get(p, tmp_path) for p in packages})

    def noises(recipe, split):
        material = sources._package_material(tmp_path, recipe)[1]
        return {noise.path for kind in ("effects", "music")
                for noise in sources._noises_of(material, kind, split)}

    for split in ("val", "test"):
        assert noises(9, split) == noises(7, split) != set()
    assert noises(9, "train") > noises(7, "train")
    assert {path.relative_to(tmp_path).parts[0] for path in noises(9, "train") - noises(7, "train")
            } == {noise[0] for noise in sources.MORE_NOISES}


def _prepared(folder, name, since):
    """One more prepared voice in ``folder``: a tone of its own."""
    tone = np.sin(np.arange(9 * RATE) * 2 * np.pi * 300 / RATE) * np.hanning(9 * RATE)
    np.save(folder / f"voice-{name}.npy", np.rint(9000 * tone).astype(np.int16))
    (folder / f"voice-{name}.json").write_text(json.dumps(
        {"name": name, "package": "p", "licence": "l", "language": "en", "family": "f",
         "split": "train", "since": since, "seconds": 9.0, "files": [name],
         "bounds": [0, 9 * RATE]}))


def test_half_of_recipe_9_is_spoken_by_the_voices_that_it_added(tmp_path):
    for i, since in enumerate((6, 7, 9)):
        _prepared(tmp_path, f"talker{i}", since)
    spoken = [build.make_clip(tmp_path, i, 1, 9)[1]["voice"] for i in range(48)]
    assert 14 <= spoken.count("talker2") <= 34 and set(spoken) == {"talker0", "talker1", "talker2"}


def test_recipe_9_of_a_users_folder_has_its_voices_and_milder_damage(made, folder):
    cache = made[0].parents[1]
    prepared = {recipe: sources.prepare(cache, folder, recipe=recipe) for recipe in (8, 9)}
    entries = {recipe: [build.make_clip(prepared[recipe], i, 3, recipe)[1] for i in range(40)]
               for recipe in (8, 9)}
    assert {e["voice"] for e in entries[9]} == {e["voice"] for e in entries[8]}
    most = {recipe: max(e["severity"] for e in made) for recipe, made in entries.items()}
    assert 0.64 < most[8] <= 0.8 and 0.5 < most[9] <= 0.64 + 1e-9


def _share_above(samples, hertz):
    power = np.abs(np.fft.rfft(samples)) ** 2
    at = np.fft.rfftfreq(samples.size, 1 / RATE)
    return power[at > hertz].sum() / power.sum()


def test_training_speech_keeps_all_of_its_band(tmp_path):
    """White noise has 5 % of its power in 7.6..8 kHz, at whatever rate it was recorded."""
    path = tmp_path / "noise.wav"
    noise = 0.1 * np.random.default_rng(2).standard_normal(3 * 44_100)
    soundfile.write(path, noise, 44_100, subtype="FLOAT")
    full, faded = sources.read_any(path, steep=True), sources.read_any(path)
    assert full.size == faded.size == 3 * RATE
    assert _share_above(full, 7600) == pytest.approx(0.05, rel=0.1)
    assert _share_above(faded, 7600) < 0.02


def test_a_change_of_speed_moves_the_band_and_fades_nothing():
    noise = 0.1 * np.random.default_rng(3).standard_normal(10 * RATE)
    voice = {"samples": np.rint(noise * 32768).astype(np.int16), "bounds": [0, noise.size],
             "files": ["noise"]}
    for seed in range(6):
        speed = np.random.default_rng(seed).uniform(0.88, 1.12)
        clip, _ = build._reference(voice, np.random.default_rng(seed), vary=7)
        power = np.abs(np.fft.rfft(clip)) ** 2
        at = np.fft.rfftfreq(clip.size, 1 / RATE)
        edge = min(8000, 8000 * speed)
        top = power[(at > edge - 300) & (at < edge - 50)].mean()
        below = power[(at > edge - 900) & (at < edge - 600)].mean()
        assert 10 * np.log10(top / below) > -2
        if speed < 0.97:
            assert power[at > edge + 50].mean() < 1e-4 * top


def test_pesq_is_of_the_degraded_clip_against_the_clean_one(made):
    import pesq

    prepared, _, _ = made
    clean, clips = build.make_pair(prepared, "train", 0, 3)
    for samples, entry in clips:
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
    splits = summary.summarise(made[1], build.split_sizes(6))
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


def test_held_out_damage_is_drawn_for_the_test_alone():
    rng = np.random.default_rng(1)
    seen = {name for _ in range(400) for name in degrade.draw_chain(rng)}
    both = {name for _ in range(400) for name in degrade.draw_chain(rng, held_out=True)}
    assert both - seen == set(degrade.TEST_ONLY) and len(seen) == 7
    codecs = {degrade.add_codec(np.sin(np.arange(8000) / 9), rng.random(), rng,
                                degrade.Material())[1]["codec"] for _ in range(60)}
    assert codecs and not codecs & set(degrade.TEST_ONLY_CODECS)


@pytest.mark.parametrize("name", sorted(degrade.DEGRADATIONS))
def test_more_severity_is_worse(name):
    """Every kind of damage moves PESQ down between severity 0.02 and 0.9."""
    import pesq

    rng = np.random.default_rng(4)
    clean = _speech(rng, 5)[:5 * RATE]
    other = _speech(rng, 5)[:5 * RATE]

    def talker(_rng):
        return other

    talker.name = "other"
    rooms = [np.eye(1, 800)[0], rng.standard_normal(8000) * np.exp(-np.arange(8000) / 1500)]
    rooms[1] /= np.linalg.norm(rooms[1])
    material = degrade.Material(talkers=[talker], rooms=rooms, held_out=True)
    scores = []
    for severity in (0.02, 0.9):
        damaged, steps = degrade.degrade(clean, [name], severity, np.random.default_rng(7),
                                         material)
        assert damaged.shape == clean.shape and steps[0]["kind"] == name
        scores.append(pesq.pesq(RATE, clean, damaged, "wb"))
    assert scores[0] > scores[1] + 0.5


def test_a_reference_must_be_clean_and_wide_band():
    """The demonstration clip passes; with hiss, or without its upper band, it does not."""
    from pathlib import Path

    import bamac

    def passes(samples):
        clip = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        return build._is_clean(clip, build._teacher().score(clip / 32768))

    clips = Path(bamac.__file__).parent / "assets" / "clips"
    clean, noisy = (soundfile.read(clips / name)[0][:80_000] for name in ("clean.wav", "noisy.wav"))
    assert passes(clean) and not passes(noisy)
    assert not passes(degrade.code(clean, "wav", "pcm_mulaw", 8000, 64000))
    rng = np.random.default_rng(1)
    assert not passes(degrade.mix(clean, rng.standard_normal(80_000), 12))
