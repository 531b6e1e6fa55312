"""The data set on made-up speech: determinism, resuming, separate splits, held-out damage."""

import json

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
    from bamac.dnsmos import P808Teacher
    from bamac.features import features_int8

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
