"""References of the data set: mastering, changes of speed, which are clean."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt, welch

import bamac
from bamac.data import degrade, labels, references
from bamac.data.master import equalise, gate, master

# --- Mastering

RATE = 16_000


def _words(seed=1, hiss=0.0):
    """Five seconds of coloured noise in words of 0.4 s with pauses of 0.3 s, and hiss."""
    rng = np.random.default_rng(seed)
    t = np.arange(5 * RATE) / RATE
    speaks = (t % 0.7) < 0.4
    voice = sosfilt(butter(1, 500, fs=RATE, output="sos"), rng.standard_normal(t.size)) * speaks
    return voice + hiss * voice.std() * rng.standard_normal(t.size), speaks


def _inner(mask):
    """Where a mask has held for 60 ms and will for 60 more."""
    kernel = np.ones(2 * 960 + 1)
    return np.convolve(mask, kernel, "same") > kernel.size - 0.5


def _octaves(samples):
    hertz, density = welch(samples, RATE, nperseg=1024)
    return np.array([10 * np.log10(density[(hertz > f / 1.41) & (hertz < f * 1.41)].mean())
                     for f in (250, 500, 1000, 2000, 4000)])


def test_pauses_are_turned_down_and_speech_is_not():
    samples, speaks = _words(hiss=0.004)
    gated = gate(samples)
    loud, quiet = _inner(speaks), _inner(~speaks)
    assert loud.sum() > RATE and quiet.sum() > RATE / 2
    np.testing.assert_array_equal(gated[loud], samples[loud])
    change_db = 10 * np.log10((gated[quiet] ** 2).mean() / (samples[quiet] ** 2).mean())
    assert change_db < -15


def test_recordings_with_different_spectra_become_alike():
    samples, _ = _words()
    bright = sosfilt(butter(1, 1500, "high", fs=RATE, output="sos"), samples)
    before = _octaves(bright) - _octaves(samples)
    after = _octaves(equalise(bright)) - _octaves(equalise(samples))
    assert np.ptp(before) > 8
    assert np.ptp(after) < 2


def test_the_spectrum_falls_as_speech_does():
    """Level to 500 Hz, then 8 dB less power density in every octave."""
    found = _octaves(equalise(_words()[0]))
    np.testing.assert_allclose(np.diff(found), [0, -8, -8, -8], atol=1.6)


def test_a_missing_band_is_not_invented():
    """What a recording lacks comes back by 15 dB at most; it stays audibly missing."""
    samples, _ = _words()
    dull = sosfilt(butter(8, 2000, fs=RATE, output="sos"), samples)
    assert _octaves(equalise(samples))[4] - _octaves(equalise(dull))[4] > 20


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_level_does_not_matter(scale):
    samples, _ = _words(hiss=0.003)
    one, other = master(samples), master(samples * scale)
    assert np.corrcoef(one, other)[0, 1] > 0.9999


# --- Changes of speed, and which are clean enough


def test_a_change_of_speed_moves_the_band_and_fades_nothing():
    noise = 0.1 * np.random.default_rng(3).standard_normal(10 * RATE)
    voice = {"samples": np.rint(noise * 32768).astype(np.int16), "bounds": [0, noise.size],
             "files": ["noise"]}
    for seed in range(6):
        speed = np.random.default_rng(seed).uniform(0.88, 1.12)
        clip, _ = references.make_reference(voice, np.random.default_rng(seed), vary=True)
        power = np.abs(np.fft.rfft(clip)) ** 2
        at = np.fft.rfftfreq(clip.size, 1 / RATE)
        edge = min(8000, 8000 * speed)
        top = power[(at > edge - 300) & (at < edge - 50)].mean()
        below = power[(at > edge - 900) & (at < edge - 600)].mean()
        assert 10 * np.log10(top / below) > -2
        if speed < 0.97:
            assert power[at > edge + 50].mean() < 1e-4 * top


def test_a_reference_must_be_clean_and_wide_band():
    """The demonstration clip passes; with hiss, or without its upper band, it does not."""
    def passes(samples):
        clip = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        return references.is_clean(clip, labels.p808_of(clip / 32768))

    clips = Path(bamac.__file__).parent / "assets" / "clips"
    clean, noisy = (soundfile.read(clips / name)[0][:80_000] for name in ("clean.wav", "noisy.wav"))
    assert passes(clean) and not passes(noisy)
    assert not passes(degrade.code(clean, "wav", "pcm_mulaw", 8000, 64000))
    rng = np.random.default_rng(1)
    assert not passes(degrade.mix(clean, rng.standard_normal(80_000), 12))
