"""The front end of DNSMOS P.808 as int8 frames, for networks of that shape.

DNSMOS P.808 reads 9 s: 144,000 samples at 16 kHz, a shorter clip repeated. Every frame of 321
samples (hop 160 = 10 ms, centred: the clip is padded with 160 zeros at either end) becomes 120
values::

    power = |rfft(frame * hann)|^2
    mel   = librosa's Slaney filters @ power    120 bands, 0..8 kHz
    dB    = 10 log10(max(mel, 1e-10) / its largest value in the clip), not below -80
    v     = (dB + 40) / 40                      -1..1, float
    int8  = round(127 v)                        -127..127, one step is 0.315 dB

This is ``librosa.feature.melspectrogram`` with ``pad_mode="constant"`` and ``power_to_db`` with
``ref=max``. Nothing saturates. Because a clip is set against its own loudest value, its level does
not matter, and no frame is final before the whole clip has been heard: this front end does not
stream.
"""

from __future__ import annotations

import numpy as np

from bamac.ir.network import FrontEnd

from .log_mel import mel_tables
from .registry import FrontEndSpec, register

__all__ = ["CLIP_SAMPLES", "FRAMES", "MELS", "P808", "P808_FRONT_END", "STEPS", "features_p808",
           "features_p808_int8", "quantise"]

SAMPLE_RATE = 16_000
N_FFT = 321
HOP = 160
MELS = 120
FRAMES = 900
CLIP_SAMPLES = FRAMES * HOP
"""Samples of one window (144,000, or 9 s)."""
STEPS = 127.0
"""Integer steps per unit of the float feature."""
P808_FRONT_END = "dnsmos-p808-16k-321-160-120"

_AMIN = 1e-10
_TOP_DB = 80.0


def _one_window(samples):
    """Exactly 144,000 samples, float64: the start of the clip, repeated if it is shorter."""
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1:
        raise ValueError(f"Samples must have one dimension, not shape {samples.shape}")
    if samples.size == 0:
        raise ValueError("Samples must not be empty, not shape (0,)")
    return np.resize(samples, CLIP_SAMPLES)  # np.resize repeats, and cuts


def features_p808(samples: np.ndarray) -> np.ndarray:
    """DNSMOS P.808's own features, float64 (900, 120) in -1..1, of samples at 16 kHz.

    Raises
    ------
    ValueError
        If ``samples`` is empty or has more than one dimension.
    """
    window, mel = mel_tables(N_FFT)
    padded = np.pad(_one_window(samples), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    spectrum = np.fft.rfft(frames * window)
    power = (spectrum.real**2 + spectrum.imag**2) @ mel.T
    db = 10.0 * np.log10(np.maximum(power, _AMIN))
    db -= db.max()
    return (np.maximum(db, -_TOP_DB) + 40.0) / 40.0


def quantise(features: np.ndarray) -> np.ndarray:
    """int8 values of float features in -1..1: ``round(127 v)``, ties to even."""
    return np.clip(np.rint(np.asarray(features) * STEPS), -127, 127).astype(np.int8)


def features_p808_int8(samples: np.ndarray) -> np.ndarray:
    """The integer frames that a P.808-shaped network reads, int8 (900, 120).

    Parameters
    ----------
    samples : real array (n,) at 16 kHz; the first 144,000 count, fewer are repeated

    Raises
    ------
    ValueError
        If ``samples`` is empty or has more than one dimension.
    """
    return quantise(features_p808(samples))


P808 = register(FrontEndSpec(FrontEnd(P808_FRONT_END, 0.0, STEPS), CLIP_SAMPLES, FRAMES, MELS,
                             N_FFT, HOP, features_p808_int8))
