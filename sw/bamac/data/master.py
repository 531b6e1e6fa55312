"""Mastering: recordings from many rooms become references of one kind.

PESQ calls its reference perfect, whatever it sounds like. A network without the reference can only
agree with that if "perfect" means the same in every recording. So each reference gets the same
treatment before anything is done to it: one long-term spectrum, silence between the words, one
level. What is left of a recording's own room and noise lies under speech.
"""

from __future__ import annotations

import numpy as np

__all__ = ["equalise", "gate", "master"]

RATE = 16_000
BLOCK = 160
SLOPE_DB = -8.0
"""Fall of speech's power density per octave above 500 Hz; between close studio recordings and the
long-term average of Byrne et al. 1994 (J. Acoust. Soc. Am. 96, 2108), whose band levels from 500 Hz
to 4 kHz fall by about as much."""
LARGEST_CHANGE_DB = 15.0
GATE_DB = -32.0
"""Level relative to the speech below which blocks are turned down."""
GATE_RATIO = 3.0
GATE_RANGE_DB = 50.0


def _levels(samples):
    """Mean power in dB of each 10 ms."""
    blocks = samples[:samples.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    return 10 * np.log10((blocks**2).mean(axis=1) + 1e-12)


def equalise(clip: np.ndarray) -> np.ndarray:
    """The clip with the long-term spectrum of speech, octave by octave, within 15 dB."""
    from scipy.signal import welch

    hertz, density = welch(clip, RATE, nperseg=1024)
    marks = 125 * 2 ** np.arange(0, 5.9, 0.5)
    level = np.array([10 * np.log10(density[(hertz > f / 1.42) & (hertz < f * 1.42)].mean() + 1e-14)
                      for f in marks])
    wanted = SLOPE_DB * np.maximum(0, np.log2(marks / 500))
    speech = (marks >= 250) & (marks <= 4000)
    change = wanted - level
    change = np.clip(change - change[speech].mean(), -LARGEST_CHANGE_DB, LARGEST_CHANGE_DB)
    grid = np.fft.rfftfreq(clip.size, 1 / RATE)
    gain_db = np.interp(np.log2(np.maximum(grid, 1)), np.log2(marks), change)
    gain_db[grid < 60] = -60  # no speech there, but rumble and direct current
    return np.fft.irfft(np.fft.rfft(clip) * 10 ** (gain_db / 20), clip.size)


def gate(clip: np.ndarray) -> np.ndarray:
    """The clip with its pauses turned down: a downward expander with a smooth gain."""
    levels = _levels(clip)
    speech = np.percentile(levels, 90)
    # A block keeps the gain of the loudest within 30 ms, so that onsets and tails stay.
    padded = np.pad(levels, 3, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 7).max(axis=1)
    below = np.minimum(0, around - (speech + GATE_DB))
    gain_db = np.maximum(below * (GATE_RATIO - 1), -GATE_RANGE_DB)
    centres = (np.arange(levels.size) + 0.5) * BLOCK
    return clip * 10 ** (np.interp(np.arange(clip.size), centres, gain_db) / 20)


def master(clip: np.ndarray) -> np.ndarray:
    """A reference, float64 of any length, from a recording at 16 kHz; its level stays free."""
    return gate(equalise(np.asarray(clip, np.float64)))
