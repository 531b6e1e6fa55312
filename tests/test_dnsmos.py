"""The P.808 front end, its teacher, and changes of its features in training."""

import librosa
import numpy as np
import pytest
from p808_clips import CLIPS, demo_features

from bamac.data import dnsmos
from bamac.frontends.audio import load_audio
from bamac.frontends.dnsmos import (
    CLIP_SAMPLES,
    P808_FRONT_END,
    features_p808,
    features_p808_int8,
    quantise,
)
from bamac.training import dnsmos_augmentation
from bamac.training.dnsmos_augmentation import augment, circular_shift, random_crops, vtlp

# --- The front end against librosa, and the teacher against its package


@pytest.fixture(scope="module")
def teacher():
    return dnsmos.P808Teacher()


def load(path):
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


# --- Augmented features remain features, as the front end would give them


@pytest.fixture(scope="module")
def features():
    """int8 features (4, 900, 120) of the demonstration clips."""
    return demo_features()


def test_augmented_features_are_features_again(features):
    rng = np.random.default_rng(5)
    crops = random_crops(features, 300, rng)
    assert crops.shape == (4, 300, 120)
    changed = augment(crops, np.random.default_rng(6), share=1.0)
    assert changed.dtype == np.int8 and (changed.max((1, 2)) == 127).all()
    assert (changed != crops).mean() > 0.3 and changed.min() >= -127
    np.testing.assert_array_equal(changed, augment(crops, np.random.default_rng(6), share=1.0))
    np.testing.assert_array_equal(augment(crops, rng, share=0.0), crops)


def test_a_shifted_window_is_that_of_the_shifted_clip(features):
    rng = np.random.default_rng(3)
    out = circular_shift(features, rng, 1.0)
    samples = load_audio(CLIPS[0])
    # The start that was drawn: where the window's second frame is in the clip
    starts = [k for k in range(1, 500)
              if np.array_equal(out[0][1:100], features[0][k + 1:k + 100])]
    assert len(starts) == 1
    expected = features_p808_int8(np.roll(samples, -160 * starts[0]))
    # But for the window's first and last frame, which have zeros at their side
    np.testing.assert_array_equal(out[0][1:-1], expected[1:-1])
    np.testing.assert_array_equal(circular_shift(features, rng, 0.0), features)


def test_vtlp_gives_a_window_another_tempo(monkeypatch):
    monkeypatch.setattr(dnsmos_augmentation, "TRACT", 0.0)
    frames = np.random.default_rng(1).integers(-127, 127, (501, 120)).astype(np.int8)
    frames[:, 0] = 127
    old = frames[np.r_[0:501, 1:400]]
    for seed in range(5):
        clip = vtlp(old[None], np.random.default_rng(seed), 1.0)[0]
        # Where each frame is in the clip, whose frames are all different
        at = [np.flatnonzero((frames[1:] == frame).all(1))[0] for frame in clip]
        steps = np.diff(at) % 500
        assert set(steps) <= {0, 1, 2}
        assert 0.001 < abs(np.log(steps.mean())) < dnsmos_augmentation.TEMPO + 0.01


@pytest.mark.parametrize("ratio", [0.9, 1.1])
def test_a_vocal_tract_moves_tones_by_its_ratio(ratio):
    position = dnsmos_augmentation._tract(120, ratio)
    np.testing.assert_allclose(position[:60], np.arange(60) * ratio)
    assert position[-1] == 119 and (np.diff(position) > 0).all()


def test_bands_after_vtlp_are_between_their_neighbours(monkeypatch):
    """A tone in one band is found in the band that the new axis gives it."""
    monkeypatch.setattr(dnsmos_augmentation, "_tract", lambda mels, ratio: np.arange(mels) * 0.5)
    tone = np.full((1, 900, 120), -127, np.int8)
    tone[0, :, 30] = 127
    out = vtlp(tone, np.random.default_rng(0), 1.0)[0]
    assert (out[:, 60] == 127).all() and (out[:, [59, 61]] == 0).all()
    assert (np.delete(out, [59, 60, 61], 1) == -127).all()
    # Between two bands it is weaker, and the window is set against its new maximum
    monkeypatch.setattr(dnsmos_augmentation, "_tract",
                        lambda mels, ratio: np.arange(mels) * 0.5 + 0.25)
    out = vtlp(tone, np.random.default_rng(0), 1.0)[0]
    assert (out[:, [59, 60]] == 127).all() and (out[:, [58, 61]] == 0).all()


def test_500_frames_hold_a_whole_clip_wherever_they_start():
    """Frames come again after 5 s, but for the first one, which has zeros before it."""
    clip = load_audio(CLIPS[0])
    assert clip.shape == (80_000,)
    features = features_p808_int8(clip)
    np.testing.assert_array_equal(features[1:400], features[501:])
