"""Changes of P.808 features: they remain features, as the front end would give them."""

import numpy as np
import pytest
from p808_clips import CLIPS, demo_features

from bamac.frontends.audio import load_audio
from bamac.frontends.dnsmos import features_p808_int8
from bamac.training import dnsmos_augmentation
from bamac.training.dnsmos_augmentation import augment, circular_shift, random_crops, vtlp


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
