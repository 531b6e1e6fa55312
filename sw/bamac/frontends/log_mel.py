"""Log-mel frames as int8: the paper's front end on the hardware's number format.

Every frame of 640 samples (40 ms, hop 320) becomes one vector of 120 values::

    power = |rfft(frame * hann)|^2              no centre padding
    mel   = librosa's Slaney filters @ power    120 bands, 0..8 kHz
    v     = clamp(round((ln(mel + 1e-9) - OFFSET) * STEPS), -128, 127)
    v     = CENTRE                              in the LOW_BANDS bands below 60 Hz

The lowest bands carry rumble and mains hum, by which recordings differ, and which wide-band PESQ
attenuates (the input filter of ITU-T P.862.2): no network hears them.

``OFFSET`` and ``STEPS`` are chosen so that nothing is lost at either end: digital silence,
ln(1e-9), is -128 and the loudest signal within full scale stays below 127.5 (every Slaney filter
sums to at most 0.0446, and |X[k]| under the Hann window is at most 640/pi: 126.2). One step is
1/9 neper of power, or 0.48 dB. Only samples beyond full scale can saturate; that is counted and
warned about.

Arithmetic is float64 and one frame at a time, in batch and in streaming alike: a batched FFT or
matrix product may round differently from a single one, and the two forms must agree exactly.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator

import numpy as np

from bamac.ir.network import FrontEnd

from .audio import WINDOW
from .registry import FrontEndSpec, register

__all__ = ["CENTRE", "FRAMES", "FRONT_END", "FrameStream", "HOP", "LOG_MEL", "LOW_BANDS", "MELS",
           "N_FFT", "OFFSET", "STEPS", "SaturationWarning", "as_eight_bits", "features_int8",
           "fewer_bits", "frame_count", "log_mel", "mel_tables"]

SAMPLE_RATE = 16_000
N_FFT = 640
HOP = 320
MELS = 120
FLOOR = 1e-9
OFFSET = -6.5
STEPS = 9.0
LOW_BANDS = 2
"""Bands with their middle below 60 Hz (25 and 50 Hz)."""
CENTRE = -32
"""About the mean of speech, and the value that becomes 0 when bits are dropped."""
FRAMES = 249
"""Frames of one window of 80,000 samples."""
FRONT_END = "logmel-60hz-16k-640-320-120"


class SaturationWarning(UserWarning):
    """Samples beyond full scale drove feature values over the int8 range."""


@functools.cache
def mel_tables(n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Hann window (n_fft,) and librosa's Slaney filters (120, n_fft // 2 + 1), float64, read-only.

    Both front ends use them: 120 bands up to 8 kHz at 16 kHz.
    """
    import librosa
    from scipy.signal import get_window

    window = get_window("hann", n_fft, fftbins=True)
    mel = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=MELS, dtype=np.float64)
    window.setflags(write=False)
    mel.setflags(write=False)
    return window, mel


def _frame_log_mel(frame):
    window, mel = mel_tables(N_FFT)
    spectrum = np.fft.rfft(frame * window)
    return np.log(mel @ (spectrum.real**2 + spectrum.imag**2) + FLOOR)


def _quantise(log_mel_values):
    """int8 values (ties to even) and how many were clamped."""
    steps = np.rint((log_mel_values - OFFSET) * STEPS)
    steps[..., :LOW_BANDS] = CENTRE
    return np.clip(steps, -128, 127).astype(np.int8), int(np.count_nonzero(
        (steps < -128) | (steps > 127)))


def _as_samples(samples):
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1:
        raise ValueError(f"Samples must have one dimension, not shape {samples.shape}")
    return samples


def frame_count(samples: int) -> int:
    """Whole frames in that many samples."""
    return max(0, (samples - N_FFT) // HOP + 1)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """ln(mel power + 1e-9), float64 (frames, 120), of samples at 16 kHz."""
    samples = _as_samples(samples)
    return np.stack([_frame_log_mel(samples[start:start + N_FFT])
                     for start in range(0, HOP * frame_count(samples.size), HOP)]
                    or [np.empty(MELS)])[:frame_count(samples.size)]


def features_int8(samples: np.ndarray) -> np.ndarray:
    """The integer frames, int8 (frames, 120), of samples at 16 kHz; 249 frames per 5 s window.

    Warns with :class:`SaturationWarning`, and says how many, if values had to be clamped.
    """
    values, clamped = _quantise(log_mel(samples))
    if clamped:
        warnings.warn(f"{clamped} of {values.size} feature values exceed the int8 range: "
                      f"the samples go beyond full scale", SaturationWarning, stacklevel=2)
    return values


def fewer_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """int8 features as signed integers of ``bits`` bits, int8 in the same shape.

    ``(v - CENTRE) / 2^(8 - bits)`` to the nearest integer (half goes up). Most values are then
    near 0, where a sign and a magnitude have few ones. Values past the largest integer become it:
    at 4 bits, where a step is 7.7 dB, those from 88 on, 1 in 8,000 on the validation clips.
    """
    shift = 8 - bits
    if not shift:
        return values
    rounded = (np.asarray(values, np.int16) - CENTRE + (1 << (shift - 1))) >> shift
    return np.minimum(rounded, (1 << (bits - 1)) - 1).astype(np.int8)


def as_eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """int8 features that :func:`fewer_bits` makes into these ``values`` of ``bits`` bits again."""
    if bits == 8:
        return values
    return ((np.asarray(values, np.int16) << (8 - bits)) + CENTRE).astype(np.int8)


class FrameStream:
    """Frames of a stream of samples, each as soon as its 640 samples exist.

    Feeding the samples of a clip in chunks of any length gives exactly the rows of
    :func:`features_int8` of that clip. The delay is the window (40 ms) and nothing else;
    at most 639 samples are kept.

    Attributes
    ----------
    frames : int
        Frames given so far.
    saturated : int
        Values clamped to the int8 range so far.
    """

    def __init__(self) -> None:
        self._rest = np.empty(0)
        self.frames = 0
        self.saturated = 0

    def push(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Take samples of any number; yield the int8 vectors (120,) that they complete."""
        # Not a generator: the samples are taken even if the caller drops the frames.
        buffer = np.concatenate([self._rest, _as_samples(samples)])
        ready = []
        start = 0
        while start + N_FFT <= buffer.size:
            values, clamped = _quantise(_frame_log_mel(buffer[start:start + N_FFT]))
            self.saturated += clamped
            ready.append(values)
            start += HOP
        self._rest = buffer[start:].copy()
        self.frames += len(ready)
        return iter(ready)


def _spec(bits):
    """The front end with its integers rounded to ``bits`` bits."""
    shift = 8 - bits
    kind = FRONT_END + (f"-{bits}bit" if shift else "")
    offset = OFFSET + (CENTRE / STEPS if shift else 0.0)
    return register(FrontEndSpec(
        FrontEnd(kind, offset, STEPS / (1 << shift)), WINDOW, FRAMES, MELS, N_FFT, HOP,
        (lambda samples: fewer_bits(features_int8(samples), bits)) if shift else features_int8,
        bits))


LOG_MEL = [_spec(bits) for bits in (3, 4, 5, 6, 7, 8)][-1]
"""The front end at 8 bits; the forms with 3 to 7 bits are registered too."""
