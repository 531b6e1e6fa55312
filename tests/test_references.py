"""References: changes of speed, and which mastered clips are clean enough."""

from pathlib import Path

import numpy as np
import soundfile

import bamac
from bamac.data import degrade, labels, references

RATE = 16_000


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
