"""Audio files in, windows of equal length out.

Everything after this module sees one form only: mono, 16 kHz, float32 in about -1..1. A file that
cannot give that is refused with one sentence that says what, which file, and what to do.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

__all__ = ["AudioError", "SAMPLE_RATE", "WINDOW", "load_audio", "windows"]

SAMPLE_RATE = 16_000
WINDOW_SECONDS = 5
WINDOW = WINDOW_SECONDS * SAMPLE_RATE
"""Samples that one score is computed from (80,000)."""

SHORTEST = 1600
"""A tenth of a second: less than this holds no speech, repeated or not."""

SILENCE = 10 ** (-80 / 20)
"""A clip whose largest sample is below -80 dB of full scale is taken for silence."""


class AudioError(ValueError):
    """A file or an array of samples cannot be scored."""


def _check(samples, what):
    if samples.size == 0:
        raise AudioError(f"{what} holds no samples; give a recording of at least 0.1 s")
    if not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError(f"{what} holds {bad} samples that are NaN or infinite; "
                         f"write it again as 16-bit or clean float audio")
    if samples.size < SHORTEST:
        raise AudioError(f"{what} lasts {samples.size} samples at 16 kHz, less than 0.1 s; "
                         f"give a longer recording")
    peak = float(np.abs(samples).max())
    if peak < SILENCE:
        raise AudioError(f"{what} is silent (largest sample {peak:.1e} of full scale, less than "
                         f"-80 dB); give a recording with speech in it")
    return samples


def load_audio(path: str | os.PathLike) -> np.ndarray:
    """Samples of a wav, flac or any other file that libsndfile reads, as mono float32 at 16 kHz.

    Channels are averaged; other sample rates are resampled by soxr in its very high quality.

    Raises
    ------
    AudioError
        If the file is missing, is not audio, is empty, shorter than 0.1 s, silent (no sample
        above -80 dB of full scale), or holds NaN or infinite samples.
    """
    import soundfile
    import soxr

    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise AudioError(f"{path} is a folder; name one audio file in it")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); give a wav or flac file")
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise AudioError(f"{path} cannot be read as audio ({reason}); "
                         f"give a wav, flac or ogg file") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be opened ({error.strerror}); "
                         f"check that you may read it") from error
    if samples.size and not np.isfinite(samples).all():
        _check(samples, str(path))  # before resampling spreads one NaN over the whole clip
    samples = samples.mean(axis=1)
    if rate != SAMPLE_RATE and samples.size:
        samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="VHQ")
    return _check(np.ascontiguousarray(samples, dtype=np.float32), str(path))


def windows(samples: np.ndarray, length: int = WINDOW) -> np.ndarray:
    """Windows of ``length`` samples (80,000 or 5 s by default), as an array (n, length).

    A clip shorter than one window is repeated until it fills it. A longer one is cut into windows
    that follow each other. If samples remain, one more window is taken that ends with the clip and
    overlaps the one before. So every sample counts and no window is padded.

    Raises
    ------
    AudioError
        If the clip has several dimensions, or is one that :func:`load_audio` refuses.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise AudioError(f"Samples must have one dimension, not shape {samples.shape}")
    _check(samples, "The clip")
    if samples.size < length:
        return np.resize(samples, length)[None]  # np.resize repeats
    starts = list(range(0, samples.size - length + 1, length))
    if starts[-1] + length < samples.size:
        starts.append(samples.size - length)
    return np.stack([samples[start:start + length] for start in starts])
