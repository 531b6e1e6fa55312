"""Recorded speech and noise from Debian packages, or from a folder of your own.

Each *voice* is one talker in one package (:mod:`bamac.data.voices`) and belongs to one split for
ever. :mod:`bamac.data.packages` fetches the packages.

:func:`prepare` decodes everything once, at 16 kHz, into one int16 array per voice, and drops what
cannot serve as a clean reference for PESQ: very short or quiet utterances, and those whose own
noise floor is less than 20 dB below the speech.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .packages import SourceError, fetch_packages
from .recipes import DEFAULT, Recordings
from .voices import CORE, NOISE_PACKAGES, VOICES, Voice

__all__ = ["SPLITS", "SourceError", "load_prepared", "package_voices", "prepare", "read_any",
           "recording", "resample_steep", "source_tag", "trim", "usable"]

SPLITS = ("train", "val", "test")
RATE = 16_000


def resample_steep(samples: np.ndarray, count: int) -> np.ndarray:
    """The samples at another rate, ``count`` of them, with nothing lost below the band's edge.

    soxr begins to fade 9 % below the edge. Clean speech that always fades there teaches a network
    that energy next to 8 kHz is damage.
    """
    from scipy.signal import resample

    return resample(samples, count)


def read_any(path: str | os.PathLike, steep: bool = False) -> np.ndarray:
    """Mono float32 samples at 16 kHz of any file that FFmpeg's libraries decode.

    ``steep`` keeps all below 8 kHz (:func:`resample_steep`), as training needs it.
    """
    import av
    import soxr

    chunks, rate = [], None
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono")
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                chunks.append(part.to_ndarray()[0])
                rate = part.sample_rate
    if not chunks:
        return np.zeros(0, np.float32)
    samples = np.concatenate(chunks)
    if rate != RATE and steep:
        samples = resample_steep(samples, round(samples.size * RATE / rate))
    elif rate != RATE:
        samples = soxr.resample(samples, rate, RATE)
    return samples.astype(np.float32)


def _levels(samples):
    """Mean power in dB of each 20 ms."""
    blocks = samples[:samples.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    return 10 * np.log10((blocks**2).mean(axis=1) + 1e-12)


def trim(samples: np.ndarray) -> np.ndarray:
    """The utterance without leading and trailing blocks 40 dB below its loudest parts."""
    levels = _levels(samples)
    if levels.size < 10:
        return samples[:0]
    loud = np.flatnonzero(levels > np.percentile(levels, 95) - 40)
    return samples[loud[0] * 320:(loud[-1] + 1) * 320]


def usable(samples: np.ndarray) -> bool:
    """Whether an utterance can serve as a clean reference."""
    levels = _levels(samples)
    if levels.size < 15:
        return False
    top, floor = np.percentile(levels, (95, 5))
    return top > -45 and top - floor > 20


def _split_of(name, shares=(0.8, 0.1)):
    """A split that depends on the name alone."""
    point = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return "train" if point < shares[0] else "val" if point < sum(shares) else "test"


def _folder_voices(folder):
    """Each subfolder of the user's folder is a voice; loose files are a voice each."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".wav", ".flac", ".ogg"))
    if not files:
        raise SourceError(f"{folder} holds no wav, flac or ogg files")
    groups = {}
    for path in files:
        parts = path.relative_to(folder).parts
        groups.setdefault(parts[0] if len(parts) > 1 else path.stem, []).append(path)
    voices = {Voice(name, folder.name, "", "unknown", "your own", "folder", _split_of(name)): paths
              for name, paths in groups.items()}
    splits = {voice.split for voice in voices}
    if splits != set(SPLITS):  # few voices: deal them out in turn, training first
        if len(voices) < 3:
            raise SourceError(f"{folder} must hold at least 3 voices (subfolders), one each for "
                              f"training, validation and test, not {len(voices)}")
        names = sorted(voices, key=lambda v: v.name)
        turns = {voice: SPLITS[0 if i >= 2 else 2 - i] for i, voice in enumerate(names)}
        voices = {Voice(**{**asdict(v), "split": turns[v]}): paths for v, paths in voices.items()}
    return voices


def package_voices(recordings: Recordings = DEFAULT.recordings) -> list[Voice]:
    """The voices, from packages, that belong to the recordings of a recipe."""
    return [voice for voice in VOICES if voice.collection in recordings.collections]


@dataclass(frozen=True)
class _Noise:
    """A noise recording; ``split`` is None where its kind and name decide."""

    path: Path
    name: str
    kind: str
    split: str | None = None


def _package_material(cache, recordings):
    """Files of each voice, and the noises, of the packages of a recipe's recordings."""
    wanted = package_voices(recordings)
    packages = [v.package for v in wanted] + list(NOISE_PACKAGES)
    packages += [package for package, *_ in recordings.noises]
    roots = fetch_packages(dict.fromkeys(packages), cache)
    voices = {v: sorted(roots[v.package].glob(v.pattern)) for v in wanted}
    noises = []
    for package, (pattern, kind, _) in NOISE_PACKAGES.items():
        for path in sorted(roots[package].glob(pattern)):
            # Stamps: only files without a language suffix are sound effects.
            if package.startswith("tuxpaint") and "_" in path.stem:
                continue
            noises.append(_Noise(path, path.name, kind))
    for package, pattern, kind, _ in recordings.noises:
        noises += [_Noise(path, f"{package}/{path.name}", kind, "train")
                   for path in sorted(roots[package].glob(pattern)) if path.is_file()]
    return voices, noises


def _write_group(folder, name, utterances, meta):
    """One int16 array of all utterances, with their bounds; the .json marks it complete."""
    bounds = np.cumsum([0] + [u.size for _, u in utterances]).tolist()
    samples = np.concatenate([u for _, u in utterances])
    np.save(folder / f"{name}.npy", np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    temporary = folder / f"{name}.json.partial"
    temporary.write_text(json.dumps({**meta, "files": [f for f, _ in utterances],
                                     "bounds": bounds}))
    os.replace(temporary, folder / f"{name}.json")


def source_tag(speech_folder: str | Path | None = None,
               recordings: Recordings = DEFAULT.recordings) -> str:
    """Name of the prepared material: of the packages and what is taken from them, or of a folder.
    """
    if speech_folder is None:
        voices = [asdict(voice) for voice in package_voices(recordings)]
        for voice in voices:
            del voice["collection"]
        chosen = json.dumps([voices, NOISE_PACKAGES, *recordings.noises])
        return f"packages-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}{recordings.suffix}"
    place = hashlib.sha256(str(Path(speech_folder).resolve()).encode()).hexdigest()[:12]
    return f"folder-{place}{recordings.suffix}"


def _noises_of(noises, kind, split):
    """The noises of a kind that a split has."""
    free = [n for n in noises if n.kind == kind and n.split is None]
    if kind == "music":  # five pieces: three, one, one
        free = [n for i, n in enumerate(free)
                if ("train", "train", "train", "val", "test")[i % 5] == split]
    else:
        free = [n for n in free if _split_of(n.name, (0.7, 0.1)) == split]
    return free + [n for n in noises if n.kind == kind and n.split == split]


def _read_noise(path):
    """Samples of a noise recording; None if it is too short or quiet."""
    samples = _read(path)
    if samples is None or samples.size <= RATE // 2 or _levels(samples).max() <= -50:
        return None
    return samples


def _read(path, steep=False):
    """Samples of a file; None if it is damaged.

    A damaged file in a package is not our user's problem, nor are its tags.
    """
    try:
        return read_any(path, steep)
    except Exception as error:
        if not (type(error).__module__.split(".")[0] == "av"
                or isinstance(error, UnicodeDecodeError)):
            raise
        return None


def prepare(cache: str | Path, speech_folder: str | Path | None = None,
            progress: Callable[[int, int, str], None] | None = None,
            recordings: Recordings = DEFAULT.recordings) -> Path:
    """Fetch, decode and filter all material; return the folder that :func:`load_prepared` reads.

    ``progress``, if given, is called with (done, total, text).
    """
    cache = Path(cache)
    folder = cache / "prepared" / source_tag(speech_folder, recordings)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "DONE"
    if done.exists():
        return folder
    if speech_folder is None:
        voices, noises = _package_material(cache, recordings)
    else:
        voices, noises = _folder_voices(speech_folder), []
    steps = len(voices) + 1
    for i, (voice, paths) in enumerate(voices.items()):
        if progress:
            progress(i, steps, voice.name)
        if not (folder / f"voice-{voice.name}.json").exists():
            _prepare_voice(folder, voice, paths, recordings.steep and voice.split == "train")
    for kind in ("effects", "music"):
        for split in SPLITS:
            pieces = [(noise.name, samples) for noise in _noises_of(noises, kind, split)
                      if (samples := _read_noise(noise.path)) is not None]
            if pieces:
                _write_group(folder, f"noise-{kind}-{split}", pieces,
                             {"kind": kind, "split": split})
    if progress:
        progress(steps, steps, "speech ready")
    done.write_text("")
    return folder


def _prepare_voice(folder, voice, paths, steep):
    """Write the usable utterances of a voice, unless they last less than 8 s together."""
    utterances = []
    for path in paths:
        if "silence" in path.parts:
            continue
        samples = _read(path, steep)
        if samples is not None and usable(samples := trim(samples)):
            utterances.append((path.name, samples))
    seconds = sum(u.size for _, u in utterances) / RATE
    if seconds >= 8:
        _write_group(folder, f"voice-{voice.name}", utterances,
                     {**asdict(voice), "seconds": round(seconds, 1)})


_COLLECTIONS = {voice.name: voice.collection for voice in VOICES}


@functools.cache
def load_prepared(folder: str | Path) -> tuple[dict[str, dict], dict[tuple[str, str], dict]]:
    """``(voices, noises)`` of a prepared folder; sample arrays stay on disk until used.

    Voices by name, with the fields of :class:`bamac.data.voices.Voice`; noises by kind and split.
    Both have ``files`` and ``samples``, of which :func:`recording` gives one.
    """
    folder = Path(folder)
    voices, noises = {}, {}
    for path in sorted(folder.glob("*.json")):
        meta = json.loads(path.read_text())
        meta["samples"] = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if path.name.startswith("voice-"):
            # Prepared folders of earlier versions lack the collection
            meta.setdefault("collection", _COLLECTIONS.get(meta["name"], CORE))
            voices[meta["name"]] = meta
        else:
            noises[meta["kind"], meta["split"]] = meta
    return voices, noises


def recording(group: Mapping[str, Any], index: int) -> np.ndarray:
    """Samples of one file of a voice or of noises, float64 in -1..1."""
    low, high = group["bounds"][index:index + 2]
    return np.asarray(group["samples"][low:high], np.float64) / 32768
