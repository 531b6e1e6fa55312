"""The P.808 front end against librosa, and the teacher against the package that it comes with."""

from pathlib import Path

import librosa
import numpy as np
import pytest

import bamac
from bamac.data import dnsmos
from bamac.frontends.dnsmos import (
    CLIP_SAMPLES,
    P808_FRONT_END,
    features_p808,
    features_p808_int8,
    quantise,
)

CLIPS = sorted((Path(bamac.__file__).parent / "assets" / "clips").glob("*.wav"))


@pytest.fixture(scope="module")
def teacher():
    return dnsmos.P808Teacher()


def load(path):
    from bamac.frontends.audio import load_audio

    return load_audio(path)


def librosa_features(samples):
    mel = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=321, hop_length=160,
                                         n_mels=120, pad_mode="constant")
    return ((librosa.power_to_db(mel, ref=np.max) + 40) / 40).T


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_features_equal_librosa(path):
    samples = np.resize(load(path), CLIP_SAMPLES).astype(np.float64)
    ours = features_p808(samples)
    assert ours.shape == (900, 120) and ours.max() == 1.0 and ours.min() >= -1.0
    np.testing.assert_allclose(ours, librosa_features(samples), rtol=0, atol=1e-5)


def test_a_short_clip_is_repeated_and_a_long_one_cut():
    samples = np.random.default_rng(1).standard_normal(50_000) * 0.1
    whole = features_p808_int8(np.tile(samples, 3)[:CLIP_SAMPLES])
    assert whole.dtype == np.int8 and whole.shape == (900, 120)
    np.testing.assert_array_equal(features_p808_int8(samples), whole)
    np.testing.assert_array_equal(features_p808_int8(np.tile(samples, 4)), whole)


def test_the_level_of_a_clip_does_not_matter():
    samples = np.random.default_rng(2).standard_normal(CLIP_SAMPLES)
    np.testing.assert_allclose(features_p808(samples), features_p808(samples / 64), atol=1e-9)


def test_rounding_and_range():
    assert quantise(np.array([-1, -0.5 / 127, 0.5 / 127, 1.5 / 127, 1])).tolist() \
        == [-127, 0, 0, 2, 127]


def test_what_is_no_vector_of_samples_is_refused():
    with pytest.raises(ValueError, match=r"one dimension, not shape \(2, 5\)"):
        features_p808_int8(np.ones((2, 5)))
    with pytest.raises(ValueError, match="must not be empty"):
        features_p808_int8([])


def test_the_front_end_has_a_name_of_its_own():
    from bamac.frontends.log_mel import FRONT_END

    assert P808_FRONT_END != FRONT_END


@pytest.mark.filterwarnings("ignore")  # what speechmos imports is not ours
@pytest.mark.parametrize("seconds", [3.0, 6.0, 9.5, 12.3])
def test_scores_equal_the_package(teacher, seconds):
    pytest.importorskip("requests")
    from speechmos.dnsmos import DNSMOS

    samples = np.resize(load(CLIPS[0]), int(seconds * 16000)).astype(np.float32)
    theirs = DNSMOS(dnsmos.model_path().with_name("sig_bak_ovr.onnx"), dnsmos.model_path())
    expected = theirs(samples, 16000, False)["p808_mos"]
    assert teacher.score(samples) == pytest.approx(expected, abs=2e-4)


def test_scores_of_batches(teacher):
    batch = np.stack([features_p808(load(path)) for path in CLIPS])
    scores = teacher.score_features(np.concatenate([batch] * 5))
    assert scores.shape == (5 * len(CLIPS),)
    np.testing.assert_allclose(scores, np.tile([teacher.score_features(b) for b in batch], 5),
                               atol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(n, 900, 120\), not \(2, 3, 4\)"):
        teacher.score_features(np.zeros((2, 3, 4)))


def test_int8_features_hardly_move_the_score(teacher):
    batch = np.stack([features_p808(load(path)) for path in CLIPS])
    moved = teacher.score_features(quantise(batch) / 127) - teacher.score_features(batch)
    assert np.abs(moved).max() < 0.02


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(dnsmos, "find_spec", lambda name: None)
    with pytest.raises(dnsmos.DnsmosError, match="install it with 'pip install speechmos'"):
        dnsmos.model_path()
