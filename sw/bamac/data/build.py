"""The data set: degraded clips of five seconds, their int8 features and their quality labels.

``build`` is deterministic: clip *i* of a split depends on the seed, the split and *i* alone, so
the number of workers, an interruption, or a later extension by more clips change nothing. (Codecs
and resamplers come from libraries; another version of them may change samples slightly.)

On disk, below ``<cache>/sets/<name>/``, shards of 40 clips: ``<split>-<n>.npy`` (the paper's
features, int8 clips x 249 x 120), ``<split>-<n>.p808.npy`` (DNSMOS P.808's features, int8 clips x
900 x 120) and ``<split>-<n>.jsonl`` (the manifest, one line per clip: voice, language, licence,
files, degradations with their parameters, labels). The .jsonl is written last, by renaming, so a
shard without it is made again. Audio is not kept: the manifest and the seed give it back
(:func:`make_pair`).

Two labels. ``pesq``: wide-band PESQ (ITU-T P.862.2) of the degraded clip against the clean one.
``p808``: what the released DNSMOS P.808 network says of the degraded clip.

PESQ bunches at the bottom if severities are drawn evenly, so a target is drawn first, evenly over
1.05..4.6, and the severity is corrected towards it. Clips come in pairs of one reference: what the
search for the first clip passes on its way, far from its target, is the second one. A PESQ that
has been computed is not thrown away, and a network that hears the same words twice with different
labels learns to listen to the damage.

PESQ calls its reference perfect. So every reference is mastered (:mod:`bamac.data.master`): one
long-term spectrum, silent pauses, one level; and one from the packages must then be wide-band and
get at least 3.2 from DNSMOS P.808. Training, validation and test do this alike. Training references
also vary in speed and pitch.

Training clips come by one of several recipes (:data:`bamac.data.sources.RECIPES`); validation and
test clips are the same for all. Those of recipes 8 and 9 have no PESQ, and so no search and no
pairs: a network whose teacher is DNSMOS P.808 needs neither, nor references that are clean.

Test clips have voices, languages, noises, music and rooms of their own, and also the degradation
families and codecs of :data:`bamac.data.degrade.TEST_ONLY`, which occur nowhere else.
"""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import os
import shutil
import warnings
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import numpy as np

from bamac.frontends.audio import WINDOW

from . import degrade, sources
from .master import master
from .sources import RECIPE, SPLITS

__all__ = ["DEFAULT_CACHE", "build", "load_split", "make_pair", "split_sizes"]

DEFAULT_CACHE = Path(os.environ.get("BAMAC_CACHE", "~/.cache/bamac")).expanduser()
SHARD = 40
HELD_OUT_RECIPE = 6
"""Recipe of validation and test clips, the same for all training recipes: figures compare."""
FEATURES = 2
"""Raised whenever the same clip would give other features."""
ROOMS = 40
TARGETS = (1.05, 4.6)
UNDAMAGED = 0.03
"""Share of undamaged clips in recipes without PESQ."""
LATER_SINCE, LATER = 9, 0.5
"""Voices since this recipe have this share of its clips: they are many, and of two games most."""
MILDER = {9: 0.8}
"""Factors of the severities of recipes without PESQ; with 1, labels are lower than the test's."""
CLEAN_P808 = 3.2
CLEAN_BAND_DB = -32.0
NARROW = "8 kHz"
"""The family of voices recorded at 8 kHz: never references, only babble."""


def split_sizes(clips):
    """Clips per split for that many training clips.

    Validation and test have 600 and 1,200 clips whatever the training set, so that its size can
    be varied against one test; only below 3,600 training clips they are smaller.
    """
    return {"train": clips, "val": min(600, math.ceil(clips / 6)),
            "test": min(1200, math.ceil(clips / 3))}


def _rooms(folder, split):
    """Room responses of one split, the driest first, computed once."""
    path = folder / f"rooms-{split}.npy"
    if not path.exists():
        import pyroomacoustics as pra

        rng = np.random.default_rng([77, SPLITS.index(split)])
        responses = []
        for i in range(ROOMS):
            size = rng.uniform([3, 2.5, 2.3], [9, 7, 3.5])
            rt60 = 0.12 + 0.75 * (i + rng.random()) / ROOMS
            absorption, _ = pra.inverse_sabine(rt60, size)
            room = pra.ShoeBox(size, fs=16000, materials=pra.Material(min(absorption, 0.99)),
                               max_order=int(8 + 14 * i / ROOMS))
            room.add_source(rng.uniform(0.5, size - 0.5))
            room.add_microphone(rng.uniform(0.5, size - 0.5))
            room.compute_rir()
            response = np.zeros(12800, np.float64)
            tail = np.asarray(room.rir[0][0])
            tail = tail[int(np.argmax(np.abs(tail))) :]  # direct sound first: no delay
            response[:min(tail.size, 12800)] = tail[:12800]
            responses.append(response / np.sqrt((response**2).sum()))
        temporary = path.with_suffix(".partial.npy")
        np.save(temporary, np.stack(responses))
        os.replace(temporary, path)
    return list(np.load(path))


def _utterance(voice, index):
    low, high = voice["bounds"][index:index + 2]
    return np.asarray(voice["samples"][low:high], np.float64) / 32768


def _at_speed(utterance, speed, recipe):
    """The utterance faster and higher; recipe 6 fades the top of its band on the way."""
    if recipe < 7:
        import soxr

        return soxr.resample(utterance, 16000 * speed, 16000, quality="MQ")
    return sources.resample_steep(utterance, round(utterance.size / speed))


def _reference(voice, rng, vary=None):
    """Five seconds of one voice, mastered: utterances in random order with short pauses.

    ``vary`` is the recipe by which speed and pitch change by up to 12 %, so that few talkers stand
    for more, as training wants it; None for no change.
    """
    speed = float(rng.uniform(0.88, 1.12)) if vary else 1.0
    parts, files, size = [], [], 0
    while size < WINDOW:
        index = int(rng.integers(len(voice["files"])))
        utterance = _utterance(voice, index)
        if vary:
            utterance = _at_speed(utterance, speed, vary)
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


def _is_clean(clean, opinion):
    """Whether a mastered clip (int16) can be a reference: its PESQ will be 4.6 by definition.

    Recordings that hiss, echo, or lack the upper band sound damaged to a listener who has no other
    to compare with, and so they must to a network: their labels would be wrong. ``opinion``, the
    score of DNSMOS P.808, and the energy above 4.5 kHz decide.
    """
    power = np.abs(np.fft.rfft(clean.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(clean.size, 1 / 16000)
    low = power[(hertz > 200) & (hertz < 4000)].sum()
    high = power[(hertz > 4500) & (hertz < 7500)].sum()
    band_db = 10 * np.log10(high / max(low, 1e-9) + 1e-12)
    return bool(opinion >= CLEAN_P808 and band_db >= CLEAN_BAND_DB)


def _to_int16(samples):
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _pesq(reference, degraded):
    """Wide-band PESQ, or None where it is not defined (no utterance found)."""
    import pesq

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(pesq.pesq(16000, reference, degraded, "wb"))
    except pesq.PesqError:
        return None


class _Context:
    """What a worker needs to make clips of one split."""

    def __init__(self, folder, split):
        voices, noises = sources.load_prepared(folder)
        self.split = split
        # Speech from the user's folder is taken as clean
        self.trusted = not folder.name.startswith("packages-")
        talkers = [v for v in voices.values() if v["split"] == split]
        self.voices = [v for v in talkers if v["family"] != NARROW]
        if not self.voices:
            raise sources.SourceError(f"No usable {split} voice in {folder}; "
                                      f"PESQ needs clean speech with pauses")
        self.earlier = [v for v in talkers if v.get("since", 0) < LATER_SINCE]
        self.later = [v for v in talkers if v.get("since", 0) >= LATER_SINCE]

        def pieces(kind):
            group = noises.get((kind, split))
            return [_Piece(group, i) for i in range(len(group["files"]))] if group else []

        self.material = degrade.Material(
            talkers=[_Talker(v) for v in talkers], effects=pieces("effects"),
            music=pieces("music"), rooms=_rooms(folder, split), held_out=split == "test")


def _draw_voice(voices, rng):
    """One of the voices: much speech makes it likelier, but less than in proportion."""
    weights = np.array([v["seconds"] for v in voices]) ** 0.45
    return voices[int(rng.choice(len(voices), p=weights / weights.sum()))]


class _Piece:
    """A noise recording, read when it becomes an array."""

    def __init__(self, group, index):
        self._group, self._index = group, index
        self.name = group["files"][index]

    def __array__(self, dtype=None, copy=None):
        return _utterance(self._group, self._index).astype(dtype or np.float64)


class _Talker:
    def __init__(self, voice):
        self._voice = voice
        self.name = voice["name"]

    def __call__(self, rng):
        return _reference(self._voice, rng)[0]


_contexts = {}


def _context(folder, split):
    if (folder, split) not in _contexts:
        _contexts[folder, split] = _Context(folder, split)
    return _contexts[folder, split]


class _Try:
    """One degraded version of a reference and its PESQ."""

    def __init__(self, samples, steps, severity, pesq_score):
        self.samples, self.steps = samples, steps
        self.severity, self.pesq = severity, pesq_score


def _first_severity(target):
    """A guess of the severity that gives a PESQ target, before anything is measured."""
    return float(np.clip(((4.6 - target) / 3.6) ** 1.3, 0, 1)) * 0.8


class _Search:
    """Degrade one reference with one chain at several severities; the draws stay the same."""

    def __init__(self, reference, clean, rng, context):
        self._reference, self._clean, self._context = reference, clean, context
        self.target = float(rng.uniform(*TARGETS))
        self.chain = ([] if self.target > 4.52
                      else degrade.draw_chain(rng, context.material.held_out))
        self._inner = int(rng.integers(2**31))
        self.tries = []

    def measure(self, severity):
        """Degrade at that severity; False if PESQ is not defined."""
        degraded, steps = degrade.degrade(self._reference, self.chain, severity,
                                          np.random.default_rng(self._inner),
                                          self._context.material)
        degraded = _to_int16(_level(degraded, np.random.default_rng(self._inner + 1)))
        score = _pesq(self._clean, degraded)
        if score is not None:
            self.tries.append(_Try(degraded, steps, severity, score))
        return score is not None

    def run(self, attempts=3):
        """Bisect the severity towards the target; False if PESQ is not defined."""
        severity, low, high = _first_severity(self.target), 0.0, 1.0
        for _ in range(attempts):
            if not self.measure(severity):
                return False
            score = self.tries[-1].pesq
            if abs(score - self.target) < 0.35 or not self.chain:
                break
            low, high = (severity, high) if score > self.target else (low, severity)
            severity = (low + high) / 2
        return True

    def best(self):
        return min(self.tries, key=lambda t: abs(t.pesq - self.target))


def _pair(reference, clean, rng, context):
    """Two degraded versions of one reference, or None where PESQ is not defined."""
    search = _Search(reference, clean, rng, context)
    if not search.run():
        return None
    first = search.best()
    second = max(search.tries, key=lambda t: abs(t.pesq - first.pesq))
    if abs(second.pesq - first.pesq) < 0.4:
        other = _Search(reference, clean, rng, context)
        if not other.run(attempts=1):
            return None
        second = other.best()
    return first, second


def make_pair(folder, split, pair, seed, recipe=RECIPE):
    """Clips ``2 * pair`` and ``2 * pair + 1`` of a split, degraded from one reference.

    ``folder`` is what :func:`bamac.data.sources.prepare` made for that recipe.

    Returns ``(reference int16 (80000,), [(degraded int16 (80000,), manifest entry), ...])``.
    """
    context = _context(Path(folder), split)
    train = split == "train"
    rng = np.random.default_rng([recipe if train else HELD_OUT_RECIPE, seed, SPLITS.index(split),
                                 pair])
    versions = None
    while versions is None:
        voice = _draw_voice(context.voices, rng)
        reference, files = _reference(voice, rng, vary=recipe if train else None)
        clean = _to_int16(reference)
        opinion = _teacher().score(clean / 32768.0)
        if not (context.trusted or _is_clean(clean, opinion)):
            continue
        versions = _pair(reference, clean, rng, context)
    common = {**_origin(voice, files), "reference_p808": round(float(opinion), 3)}
    return clean, [
        (version.samples, {"split": split, "index": 2 * pair + i, **common,
                           "degradations": version.steps, "severity": round(version.severity, 4),
                           "pesq": round(version.pesq, 4)})
        for i, version in enumerate(versions)]


def make_clip(folder, index, seed, recipe):
    """Training clip ``index`` of a recipe without PESQ: ``(int16 (80000,), manifest entry)``.

    Any training talker, also those recorded at 8 kHz and those that would be no clean reference.
    Severities are spread as the first guesses for evenly drawn PESQ targets are.
    """
    context = _context(Path(folder), "train")
    rng = np.random.default_rng([recipe, seed, SPLITS.index("train"), index])
    later = context.later and rng.random() < LATER
    voice = _draw_voice(context.later if later else context.earlier, rng)
    reference, files = _reference(voice, rng, vary=recipe)
    chain = degrade.draw_chain(rng) if rng.random() >= UNDAMAGED else []
    severity = _first_severity(rng.uniform(*TARGETS)) * MILDER.get(recipe, 1.0)
    degraded, steps = degrade.degrade(reference, chain, severity, rng, context.material)
    return _to_int16(_level(degraded, rng)), {
        "split": "train", "index": index, **_origin(voice, files), "degradations": steps,
        "severity": round(severity, 4)}


def _origin(voice, files):
    """The part of a manifest entry that says whose recordings a clip is made of."""
    return {"voice": voice["name"], "family": voice["family"], "language": voice["language"],
            "package": voice["package"], "licence": voice["licence"], "files": files}


def _level(samples, rng):
    """Set a random level, kept clear of full scale: recordings are not all at -26 dB."""
    wanted = rng.uniform(-38, -18)
    samples = samples * 10 ** ((wanted - degrade.power_db(samples)) / 20)
    peak = np.abs(samples).max()
    return samples * min(1.0, 0.98 / max(peak, 1e-9))


@functools.cache
def _teacher():
    from bamac.training.dnsmos import P808Teacher

    return P808Teacher()


def _shard_clips(folder, split, number, count, seed, recipe):
    """The degraded clips of a shard with their entries; pairs never cross a shard's border.

    A clip of a recipe without PESQ is one of no pair.
    """
    first = number * SHARD
    if split == "train" and recipe in sources.WITHOUT_PESQ:
        for index in range(first, first + count):
            degraded, entry = make_clip(folder, index, seed, recipe)
            yield degraded / 32768.0, entry
        return
    for pair in range(first // 2, (first + count + 1) // 2):
        for degraded, entry in make_pair(folder, split, pair, seed, recipe)[1]:
            if entry["index"] < first + count:
                yield degraded / 32768.0, entry


def _make_shard(folder, out, split, number, count, seed, recipe):
    from bamac.frontends.dnsmos import features_p808_int8
    from bamac.frontends.log_mel import features_int8

    features, wide, lines = [], [], []
    for samples, entry in _shard_clips(folder, split, number, count, seed, recipe):
        features.append(features_int8(samples))
        wide.append(features_p808_int8(samples))
        entry["p808"] = round(float(_teacher().score(samples)), 4)
        lines.append(json.dumps(entry, ensure_ascii=False))
    stem = f"{split}-{number:04d}"
    for suffix, arrays in (("", features), (".p808", wide)):
        np.save(out / f"{stem}{suffix}.partial.npy", np.stack(arrays))
        os.replace(out / f"{stem}{suffix}.partial.npy", out / f"{stem}{suffix}.npy")
    temporary = out / f"{stem}.jsonl.partial"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, out / f"{stem}.jsonl")
    return count


def _limit_threads():
    # Two workers on two cores: FFT and linear algebra threads would only get in the way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def set_folder(cache, seed, speech_folder=None, recipe=RECIPE):
    """Where the data set of a seed, of a source of speech and of a recipe lives."""
    tag = sources.source_tag(speech_folder, recipe)
    return Path(cache) / "sets" / f"{tag}-r{recipe}.{FEATURES}-s{seed}"


def _shards(split, clips):
    return [(n, min(SHARD, clips - n * SHARD)) for n in range(math.ceil(clips / SHARD))]


def _adopt_held_out(other, out):
    """Take over validation and test clips from the data set of another recipe: they are the same.

    A shard's .jsonl comes last, as where it is made.
    """
    for split in ("val", "test"):
        for manifest in sorted(other.glob(f"{split}-*.jsonl")):
            if (out / manifest.name).exists():
                continue
            for suffix in (".npy", ".p808.npy", ".jsonl"):
                target = out / manifest.with_suffix(suffix).name
                temporary = target.with_name(target.name + ".partial")
                shutil.copyfile(manifest.with_suffix(suffix), temporary)
                os.replace(temporary, target)


def _complete(out, split, number, count):
    path = out / f"{split}-{number:04d}.jsonl"
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as lines:
        return sum(1 for _ in lines) >= count


def build(cache=DEFAULT_CACHE, *, clips=5000, seed=1, workers=2, speech_folder=None,
          splits=SPLITS, recipe=RECIPE, progress=None):
    """Make the data set, or what is missing of it; return the folder that holds it.

    Parameters
    ----------
    cache : folder for packages, decoded speech and data sets
    clips : training clips; validation and test follow (:func:`split_sizes`)
    seed : decides every clip
    workers : processes
    speech_folder : a folder of clean wav/flac/ogg speech, one subfolder per talker, to use instead
        of the packages
    splits : which of ``train``, ``val``, ``test`` to make
    recipe : of the training clips (:data:`bamac.data.sources.RECIPES`)
    progress : called with (done, total, text)
    """
    if not isinstance(clips, int) or clips < 1:
        raise TypeError(f"Clips must be a positive integer, not {clips!r}")
    if not isinstance(workers, int) or workers < 1:
        raise TypeError(f"Workers must be a positive integer, not {workers!r}")
    folder = sources.prepare(cache, speech_folder, progress, recipe)
    out = set_folder(cache, seed, speech_folder, recipe)
    out.mkdir(parents=True, exist_ok=True)
    for other in sources.RECIPES:
        # Only of the same recordings: those of a folder may have changed between two recipes
        if sources.source_tag(speech_folder, other) == folder.name:
            _adopt_held_out(set_folder(cache, seed, speech_folder, other), out)
    for split in splits:
        _rooms(folder, split)
    sizes = split_sizes(clips)
    total = sum(sizes[split] for split in splits)
    missing = [(split, n, count) for split in sorted(splits, key=("val", "test", "train").index)
               for n, count in _shards(split, sizes[split]) if not _complete(out, split, n, count)]
    done = total - sum(count for *_, count in missing)
    if progress:
        progress(done, total, "degrade and label")
    if not missing:
        return out
    _limit_threads()
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = set()
        queue = iter(missing)
        while True:
            while len(running) < 2 * workers and (job := next(queue, None)):
                split, n, count = job
                running.add(pool.submit(_make_shard, folder, out, split, n, count, seed,
                                        recipe))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                done += future.result()
                if progress:
                    progress(done, total, "degrade and label")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return out


LABELS = ("pesq", "p808")


def load_split(folder, split, clips=None, label="pesq"):
    """``(features, labels float64 (n,), manifest entries)`` of one split.

    Features are int8 (n, 249, 120) for the label ``"pesq"`` and int8 (n, 900, 120) for
    ``"p808"``. Raises FileNotFoundError where clips are missing, ValueError where files of a
    shard do not fit each other.
    """
    if label not in LABELS:
        raise ValueError(f"Label must be one of {', '.join(LABELS)}, not {label!r}")
    folder = Path(folder)
    manifests = sorted(folder.glob(f"{split}-*.jsonl"))
    if not manifests:
        raise FileNotFoundError(f"No {split} clips in {folder}; make them with `bamac data`")
    suffix = ".npy" if label == "pesq" else ".p808.npy"
    features, entries, want = [], [], clips or 10**9
    for path in manifests:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        array = np.load(path.with_suffix(suffix))
        if len(lines) != len(array):
            raise ValueError(f"{path} and its {suffix} must have as many clips, "
                             f"not {len(lines)} and {len(array)}")
        keep = min(len(lines), want - len(entries))
        entries += lines[:keep]
        features.append(array[:keep])
        if len(entries) >= want:
            break
    if clips is not None and len(entries) < clips:
        raise FileNotFoundError(f"{folder} holds {len(entries)} {split} clips, not {clips}; "
                                f"make the rest with `bamac data`")
    if any(label not in entry for entry in entries):
        raise ValueError(f"{folder} must be of a data recipe with the label {label}; of recipe "
                         f"{', '.join(map(str, sources.WITHOUT_PESQ))} only DNSMOS P.808 is known")
    return np.concatenate(features), np.array([e[label] for e in entries]), entries
