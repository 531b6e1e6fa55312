"""Changes of training clips that keep their PESQ: a circular shift, a gain, a crop."""

from __future__ import annotations

import numpy as np

from bamac.frontends.log_mel import CENTRE, LOW_BANDS

__all__ = ["augment", "with_gain"]

GAIN = 8
"""Largest gain in int8 steps, about 4 dB."""


def with_gain(clip: np.ndarray, steps: int | np.ndarray) -> np.ndarray:
    """int8 features (frames, mels) after a gain in steps, one for all bands or one for each.

    At the floor of the scale a gain is no addition: values of -100 and less stay, and none falls
    below -100.
    """
    x = clip.astype(np.int16)
    return np.where(x > -100, np.clip(x + steps, -100, 127), x).astype(np.int8)


def augment(features: np.ndarray, rng: np.random.Generator, crop: int | None = None) -> np.ndarray:
    """Changed copies, int8 (n, crop, mels), of int8 ``features`` (n, frames, mels).

    Each clip is shifted circularly in time, gets a gain of up to :data:`GAIN` steps, and is cut to
    ``crop`` frames (None for all). The bands that the front end leaves out stay at their centre.
    """
    frames = crop or features.shape[1]
    out = np.empty((len(features), frames, features.shape[2]), np.int8)
    for i, clip in enumerate(features):
        x = np.roll(clip, int(rng.integers(len(clip))), axis=0)[:frames]
        out[i] = with_gain(x, int(rng.integers(-GAIN, GAIN + 1)))
    out[..., :LOW_BANDS] = CENTRE
    return out
