"""New degradations made from the features of old clips, for a teacher that can be asked again.

DNSMOS P.808 scores any log-mel features, so a label costs one pass of the teacher. Each clip of a
batch is changed in the power domain, by random draws: an equaliser, band edges, another clip of
the batch as noise, stationary noise with a spectral tilt, and gaps. Then it is set against its new
maximum and rounded to int8 again, as :mod:`bamac.frontends.dnsmos` does.

Before that a window may start elsewhere in its clip (:func:`circular_shift`), and tempo and vocal
tract length may be perturbed (:func:`vtlp`).

Arrays are (clips, frames, mels); one int8 step is 40/127 dB.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CLIP_FRAMES", "augment", "circular_shift", "frames_from", "random_crops", "vtlp"]

CLIP_FRAMES = 500
"""Frames after which a clip of 5 s begins again in its window."""
TEMPO, TRACT = 0.2, 0.12
"""Largest change of tempo and of frequencies, as logarithms of the ratio."""
KNEE = 0.85
"""Share of the mel axis that is scaled by the ratio; the rest leads back to the axis's end."""

_DB = 40 / 127
_LN_PER_DB = np.float32(np.log(10) / 10)
_FLOOR_DB = -80.0


def random_crops(features: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """A copy of ``frames`` frames of each clip, from a random start."""
    starts = rng.integers(features.shape[1] - frames + 1, size=len(features))
    return np.stack([clip[start:start + frames]
                     for clip, start in zip(features, starts, strict=True)])


def frames_from(start: int, frames: int, tempo: float = 1.0) -> np.ndarray:
    """Positions (frames,) in its window of a 5 s clip's frames from ``start`` on, at a tempo.

    The first frame of a clip has zeros before it; where the clip begins again its end is there.
    """
    chosen = (start + np.rint(np.arange(frames) * tempo).astype(int)) % CLIP_FRAMES
    return np.where(chosen == 0, CLIP_FRAMES, chosen)


def circular_shift(features: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Windows (int8, same shape) of 5 s clips; ``share`` of them start at any frame of their clip.

    They are what the front end gives for the clip's samples, shifted circularly by whole frames.
    """
    out = features.copy()
    for i in np.flatnonzero(rng.random(len(features)) < share):
        out[i] = features[i][frames_from(rng.integers(1, CLIP_FRAMES), features.shape[1])]
    return out


def _tract(mels: int, ratio: float) -> np.ndarray:
    """Position (mels,) on the old mel axis that each new band reads: frequencies times 1/ratio."""
    old = np.array([0, min(KNEE, KNEE * ratio), 1]) * (mels - 1)
    new = np.array([0, min(KNEE, KNEE / ratio), 1]) * (mels - 1)
    return np.interp(np.arange(mels), new, old)


def vtlp(features: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Windows (int8, same shape) of 5 s clips; ``share`` of them with other tempo and vocal tract.

    Vocal tract length perturbation (N. Jaitly and G. E. Hinton, ICML Workshop on Deep Learning for
    Audio, Speech and Language Processing, 2013) interpolates the mel bands along a line with a
    knee. For the tempo, frames are left out or repeated. The windows start anywhere in their clip.
    """
    out = features.copy()
    mels = features.shape[2]
    for i in np.flatnonzero(rng.random(len(features)) < share):
        tempo, ratio = np.exp(rng.uniform(-TEMPO, TEMPO)), np.exp(rng.uniform(-TRACT, TRACT))
        clip = features[i][frames_from(rng.integers(CLIP_FRAMES), features.shape[1], tempo)]
        position = _tract(mels, ratio)
        low = np.minimum(position.astype(int), mels - 2)
        part = (position - low).astype(np.float32)
        bands = clip[:, low] * (1 - part) + clip[:, low + 1] * part
        # Set against its own loudest value again
        out[i] = np.rint(bands + (127 - bands.max()))
    return out


def _power(db):
    return np.exp(np.float32(db) * _LN_PER_DB)


def _equaliser(mels, rng):
    """Gains in dB (mels,): smooth ripple, a tilt, and now and then band edges."""
    position = np.linspace(0, 1, mels, dtype=np.float32)
    gains = rng.uniform(-12, 12) * (position - 0.5)
    for cycles in (0.5, 1, 2, 4):
        gains = gains + rng.normal(0, 3) * np.cos(np.pi * (2 * cycles * position + rng.random()))
    if rng.random() < 0.3:
        gains[int(rng.integers(mels // 3, mels)):] -= rng.uniform(15, 80)
    if rng.random() < 0.15:
        gains[:int(rng.integers(1, mels // 4))] -= rng.uniform(10, 40)
    return gains.astype(np.float32)


def _noise(shape, rng):
    """Power of stationary noise (frames, mels), its mean at 0 dB before the tilt."""
    frames, mels = shape
    tilt = rng.uniform(-30, 15) * np.linspace(-0.5, 0.5, mels, dtype=np.float32)
    # High mel bands average many bins and fluctuate less than low ones
    degrees = np.linspace(1, rng.uniform(3, 12), mels, dtype=np.float32)
    return rng.standard_gamma(degrees, (frames, mels), dtype=np.float32) / degrees * _power(tilt)


def _change(own, other, rng):
    """One clip's power (frames, mels), changed; ``other`` is another clip's."""
    frames, mels = own.shape
    if rng.random() < 0.5:
        own = own * _power(_equaliser(mels, rng))
    if rng.random() < 0.4:
        own = own + other * _power(rng.uniform(-35, 5))
    if rng.random() < 0.35:
        own = own + _noise(own.shape, rng) * (own.max() * _power(rng.uniform(-75, -15)))
    if rng.random() < 0.15:
        own = own.copy()
        for _ in range(int(rng.integers(1, 8))):
            start, length = int(rng.integers(frames)), int(rng.integers(2, 20))
            own[start:start + length] *= _power(rng.uniform(-60, -10))
    return own


def augment(features: np.ndarray, rng: np.random.Generator, share: float = 0.75) -> np.ndarray:
    """Changed copies (int8, same shape) of int8 ``features``; ``share`` of the clips change."""
    power = _power(features * np.float32(_DB))
    partner = rng.permutation(len(features))
    out = features.copy()
    for i in range(len(features)):
        if rng.random() >= share:
            continue
        changed = _change(power[i], power[partner[i]], rng)
        db = np.log(np.maximum(changed, 1e-12)) / _LN_PER_DB
        db = np.maximum(db - db.max(), _FLOOR_DB) + 40
        out[i] = np.rint(db / _DB).astype(np.int8)
    return out
