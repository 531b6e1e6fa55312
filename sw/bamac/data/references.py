"""References: five seconds of clean speech of one voice, before anything is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bamac.frontends.audio import WINDOW

from . import degrade, sources
from .master import master

__all__ = ["is_clean", "make_reference", "to_int16"]

CLEAN_P808 = 3.2
"""Least DNSMOS P.808 score of a clean reference."""
CLEAN_BAND_DB = -32.0
"""Least energy in 4.5..7.5 kHz of a clean reference, relative to that in 0.2..4 kHz."""


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples as int16, clipped at full scale."""
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _at_speed(utterance, speed, steep):
    """The utterance ``speed`` times as fast, and as much higher.

    ``steep`` as in :class:`bamac.data.recipes.Recordings`.
    """
    if steep:
        return sources.resample_steep(utterance, round(utterance.size / speed))
    import soxr

    return soxr.resample(utterance, 16000 * speed, 16000, quality="MQ")


def make_reference(voice: Mapping[str, Any], rng: np.random.Generator, *, vary: bool = False,
                   steep: bool = True) -> tuple[np.ndarray, list[str]]:
    """Five seconds of one voice, mastered: utterances in random order with short pauses.

    Parameters
    ----------
    voice : of :func:`bamac.data.sources.load_prepared`
    rng : decides everything
    vary : whether speed and pitch change by up to 12 %, so that few talkers stand for more, as
        training needs it
    steep : how a change of speed resamples, see :class:`bamac.data.recipes.Recordings`

    Returns
    -------
    Samples, float64 (80,000,), and the names of the recordings in them.
    """
    speed = float(rng.uniform(0.88, 1.12)) if vary else 1.0
    parts, files, size = [], [], 0
    while size < WINDOW:
        index = int(rng.integers(len(voice["files"])))
        utterance = sources.recording(voice, index)
        if vary:
            utterance = _at_speed(utterance, speed, steep)
        utterance = utterance * 10 ** ((degrade.TARGET_DB - degrade.power_db(utterance)) / 20)
        pause = np.zeros(int(rng.uniform(0.05, 0.5) * 16000))
        parts += [utterance, pause]
        files.append(voice["files"][index])
        size += utterance.size + pause.size
    joined = np.concatenate(parts)
    start = int(rng.integers(joined.size - WINDOW + 1))
    clip = master(joined[start:start + WINDOW])
    clip *= 10 ** ((degrade.TARGET_DB - degrade.power_db(clip)) / 20)
    # Not digital silence, which no recording has
    return clip + 10 ** (rng.uniform(-95, -80) / 20) * rng.standard_normal(WINDOW), files


def is_clean(clip: np.ndarray, opinion: float) -> bool:
    """Whether a mastered clip (int16) can be a reference, whose PESQ is 4.6 by definition.

    Recordings that hiss, echo, or lack the upper band sound damaged to a listener who has no other
    to compare with, and so they must to a network: their labels would be wrong. ``opinion``, the
    score of DNSMOS P.808, and the energy above 4.5 kHz decide.
    """
    power = np.abs(np.fft.rfft(clip.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(clip.size, 1 / 16000)
    low = power[(hertz > 200) & (hertz < 4000)].sum()
    high = power[(hertz > 4500) & (hertz < 7500)].sum()
    band_db = 10 * np.log10(high / max(low, 1e-9) + 1e-12)
    return bool(opinion >= CLEAN_P808 and band_db >= CLEAN_BAND_DB)
