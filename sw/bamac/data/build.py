"""Making the data set: degraded clips of five seconds, their int8 features and quality labels.

``build`` is deterministic: clip *i* of a split depends on the seed, the split and *i* alone. So
the number of workers, an interruption, or a later extension by more clips change nothing. (Codecs
and resamplers come from libraries; another version of them may change samples slightly.)

PESQ calls its reference perfect. So every reference is mastered (:mod:`bamac.data.master`): one
long-term spectrum, silent pauses, one level. A reference from the packages must then be wide-band
and get at least 3.2 from DNSMOS P.808 (:func:`bamac.data.references.is_clean`). Training,
validation and test do this alike.

Training clips come by one of several recipes (:mod:`bamac.data.recipes`); validation and test
clips are the same for all. Test clips have voices, languages, noises, music and rooms of their
own, and also the degradation families and codecs of :data:`bamac.data.degrade.TEST_ONLY`, which
occur nowhere else.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from . import clips as clip_maker
from . import labels, sources
from .dataset import (
    DEFAULT_CACHE,
    SHARD,
    adopt_held_out,
    is_complete,
    load_split,
    set_folder,
    shards,
    split_sizes,
    write_shard,
)
from .material import room_responses
from .recipes import DEFAULT, DataRecipe, get
from .sources import SPLITS

__all__ = ["DEFAULT_CACHE", "build", "load_split", "set_folder", "split_sizes"]

MAKING = "degrade and label"
"""What progress says while clips are made."""


def _degraded(folder, split, number, count, seed, recipe):
    """The degraded clips of a shard, int16, with their entries; pairs never cross its border."""
    first = number * SHARD
    if split == "train" and not recipe.has_pesq:
        for index in range(first, first + count):
            yield clip_maker.make_clip(folder, index, seed, recipe)
        return
    for pair in range(first // 2, (first + count + 1) // 2):
        for degraded, entry in clip_maker.make_pair(folder, split, pair, seed, recipe)[1]:
            if entry["index"] < first + count:
                yield degraded, entry


def _labelled(clips) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """The clips as float samples, with DNSMOS P.808's score in their entries."""
    for degraded, entry in clips:
        samples = degraded / 32768.0
        yield samples, {**entry, labels.P808.key: round(float(labels.p808_of(samples)), 4)}


def _make_shard(folder, out, split, number, count, seed, recipe):
    write_shard(out, split, number,
                _labelled(_degraded(folder, split, number, count, seed, recipe)))
    return count


def _limit_threads():
    # Two workers on two cores: FFT and linear algebra threads would only get in the way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def build(cache: str | Path = DEFAULT_CACHE, *, clips: int = 5000, seed: int = 1, workers: int = 2,
          speech_folder: str | Path | None = None, splits: Sequence[str] = SPLITS,
          recipe: DataRecipe | str | int = DEFAULT,
          progress: Callable[[int, int, str], None] | None = None) -> Path:
    """Make the data set, or what is missing of it; return the folder that holds it.

    Parameters
    ----------
    cache : folder for packages, decoded speech and data sets
    clips : training clips; validation and test follow (:func:`bamac.data.dataset.split_sizes`)
    seed : decides every clip
    workers : processes
    speech_folder : a folder of clean wav/flac/ogg speech, one subfolder per talker, to use instead
        of the packages
    splits : which of ``train``, ``val``, ``test`` to make
    recipe : of the training clips, or its name or number (:mod:`bamac.data.recipes`)
    progress : called with (done, total, text)

    Raises
    ------
    TypeError
        If clips or workers is not a positive integer.
    ValueError
        If there is no such recipe.
    SourceError
        If the speech cannot be fetched or is not enough.
    """
    if not isinstance(clips, int) or clips < 1:
        raise TypeError(f"Clips must be a positive integer, not {clips!r}")
    if not isinstance(workers, int) or workers < 1:
        raise TypeError(f"Workers must be a positive integer, not {workers!r}")
    recipe = get(recipe)
    folder = sources.prepare(cache, speech_folder, progress, recipe.recordings)
    out = set_folder(cache, seed, speech_folder, recipe)
    out.mkdir(parents=True, exist_ok=True)
    adopt_held_out(cache, seed, speech_folder, recipe)
    for split in splits:
        room_responses(folder, split)
    sizes = split_sizes(clips)
    total = sum(sizes[split] for split in splits)
    missing = [shard for split in sorted(splits, key=("val", "test", "train").index)
               for shard in shards(split, sizes[split]) if not is_complete(out, *shard)]
    done = total - sum(count for *_, count in missing)
    if progress:
        progress(done, total, MAKING)
    if missing:
        for count in _make_all(missing, workers, folder, out, seed, recipe):
            done += count
            if progress:
                progress(done, total, MAKING)
    return out


def _make_all(missing, workers, folder, out, seed, recipe):
    """Make shards in several processes; yield the clips of each when it is finished."""
    _limit_threads()
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = set()
        queue = iter(missing)
        while True:
            while len(running) < 2 * workers and (shard := next(queue, None)):
                running.add(pool.submit(_make_shard, folder, out, *shard, seed, recipe))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
