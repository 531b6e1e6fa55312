"""The front end against librosa's own mel spectrogram, and streaming against batch."""

from pathlib import Path

import librosa
import numpy as np
import pytest

import bamac.frontends.log_mel as features
from bamac.frontends.log_mel import (
    FRAMES,
    HOP,
    MELS,
    N_FFT,
    OFFSET,
    STEPS,
    FrameStream,
    SaturationWarning,
    as_eight_bits,
    features_int8,
    fewer_bits,
    log_mel,
)

CLIPS = Path(features.__file__).parents[1] / "assets" / "clips"


def noise(seed, size=80_000, level=0.1):
    rng = np.random.default_rng(seed)
    return np.clip(level * rng.standard_normal(size) * (1 + np.sin(np.arange(size) / 9000)), -1, 1)


def librosa_log_mel(samples):
    power = librosa.feature.melspectrogram(
        y=samples, sr=16000, n_fft=640, hop_length=320, win_length=640, window="hann",
        center=False, power=2.0, n_mels=120)
    return np.log(power + 1e-9).T


@pytest.mark.parametrize("seed", range(3))
def test_log_mel_equals_librosa(seed):
    samples = noise(seed)
    ours = log_mel(samples)
    assert ours.shape == (249, 120)
    np.testing.assert_allclose(ours, librosa_log_mel(samples), rtol=1e-6, atol=1e-6)


def test_int8_values_follow_the_stated_rounding():
    samples = noise(4)
    expected = np.clip(np.round((librosa_log_mel(samples) + 6.5) * 9.0), -128, 127)
    expected[:, :2] = -32
    ours = features_int8(samples)
    assert ours.dtype == np.int8
    # librosa may round differently in the last place: none may differ by more than one step.
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 1 and (difference != 0).mean() < 1e-4


def test_ties_round_to_even():
    # (ln - offset) * steps = -1.5, -0.5, 0.5, 1.5, 2.5
    ties = np.array([0, 0, -1.5, -0.5, 0.5, 1.5, 2.5])
    values, clamped = features._quantise(OFFSET + ties / STEPS)
    assert values[2:].tolist() == [-2, 0, 0, 2, 2] and clamped == 0


def test_digital_silence_is_the_lowest_value():
    # A silent file is refused by load_audio, but pauses within a clip may be digital silence.
    assert (features_int8(np.zeros(80_000))[:, 2:] == -128).all()


def test_rumble_is_not_heard():
    """A tone at 25 Hz, as loud as the noise, changes little (what leaks through the window)."""
    samples = noise(9)
    low = {hz: features_int8(samples + 0.1 * np.sin(2 * np.pi * hz * np.arange(80_000) / 16_000))
           for hz in (25, 200)}
    quiet = features_int8(samples)
    assert (quiet[:, :2] == -32).all()
    moved = {hz: np.abs(values.astype(int) - quiet).mean() for hz, values in low.items()}
    assert moved[25] < 0.1 < 0.5 < moved[200]


def test_no_signal_within_full_scale_saturates():
    """An upper bound, not a sample: |X[k]| <= sum |hann[n]| |cos(2 pi k n / N + phase)|."""
    n = np.arange(N_FFT)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / N_FFT)
    phases = np.linspace(0, np.pi, 33)
    largest = np.array([max((hann * np.abs(np.cos(2 * np.pi * k * n / N_FFT + p))).sum()
                            for p in phases) for k in range(N_FFT // 2 + 1)])
    mel = librosa.filters.mel(sr=16000, n_fft=N_FFT, n_mels=MELS, dtype=np.float64)
    bound = (np.log(mel @ largest**2 + 1e-9) - OFFSET) * STEPS
    assert bound.max() < 127.5


@pytest.mark.filterwarnings("error::bamac.frontends.log_mel.SaturationWarning")
@pytest.mark.parametrize("hz", [25, 100, 990, 1000, 3990, 8000])
def test_full_scale_square_waves_do_not_saturate(hz):
    features_int8(np.sign(np.cos(2 * np.pi * hz * np.arange(16_000) / 16_000) + 1e-9))


def test_saturation_is_counted_and_warned_about():
    samples = 8 * np.sin(2 * np.pi * 1000 * np.arange(6400) / 16000)
    with pytest.warns(SaturationWarning, match=r"^\d+ of 2280 feature values exceed the int8 "
                                               r"range: the samples go beyond full scale$"):
        values = features_int8(samples)
    assert values.max() == 127
    stream = FrameStream()
    list(stream.push(samples))
    steps = np.round((librosa_log_mel(samples) + 6.5) * 9)
    assert stream.saturated == (steps > 127).sum() > 0


@pytest.mark.parametrize("chunk", [1, 7, 319, 320, 321, 640, 641, 4096, 80_000])
def test_stream_equals_batch(chunk):
    samples = noise(5, 80_000 if chunk > 100 else 3000)
    stream = FrameStream()
    rows = [row for start in range(0, samples.size, chunk)
            for row in stream.push(samples[start:start + chunk])]
    np.testing.assert_array_equal(np.stack(rows), features_int8(samples))
    assert stream.frames == len(rows) == (samples.size - 640) // 320 + 1


def test_stream_equals_batch_on_float32_and_random_chunks():
    rng = np.random.default_rng(6)
    samples = noise(6).astype(np.float32)
    stream, rows, start = FrameStream(), [], 0
    while start < samples.size:
        size = int(rng.integers(0, 2000))
        rows += stream.push(samples[start:start + size])
        start += size
    np.testing.assert_array_equal(np.stack(rows), features_int8(samples))


def test_frame_comes_as_soon_as_its_samples_exist():
    stream = FrameStream()
    assert list(stream.push(np.ones(N_FFT - 1))) == []
    assert len(list(stream.push(np.ones(1)))) == 1
    assert list(stream.push(np.ones(HOP - 1))) == []
    assert len(list(stream.push(np.ones(1)))) == 1


def test_samples_are_taken_even_if_the_frames_are_not_looked_at():
    stream = FrameStream()
    stream.push(noise(7, 1000))
    assert stream.frames == 2


def test_fewer_samples_than_a_frame_give_no_frames():
    assert features_int8(np.ones(639)).shape == (0, 120)


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"^Samples must have one dimension, not shape \(2, 640\)"):
        features_int8(np.ones((2, 640)))


@pytest.mark.parametrize("clip", sorted(CLIPS.glob("*.wav")), ids=lambda path: path.stem)
def test_shipped_clips_become_whole_windows(clip):
    from bamac.frontends.audio import load_audio, windows

    for window in windows(load_audio(clip)):
        frames = features_int8(window)
        assert frames.shape == (FRAMES, MELS)
        assert frames.std() > 5


@pytest.mark.parametrize("bits", [3, 4, 5, 6, 7])
def test_fewer_bits_are_the_nearest_multiple(bits):
    values = np.arange(-128, 128).astype(np.int8)
    step, top = 2 ** (8 - bits), 2 ** (bits - 1) - 1
    expected = [min(int(np.floor((v + 32) / step + 0.5)), top) for v in range(-128, 128)]
    rounded = fewer_bits(values, bits)
    assert rounded.dtype == np.int8 and rounded.tolist() == expected
    assert rounded.max() == top and fewer_bits(np.array([-32], np.int8), bits)[0] == 0
    reached = np.unique(rounded)
    np.testing.assert_array_equal(fewer_bits(as_eight_bits(reached, bits), bits), reached)
