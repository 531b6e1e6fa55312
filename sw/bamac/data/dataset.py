"""The data set on disk: folders, shards, and reading them.

Below ``<cache>/sets/<name>/`` lie shards of 40 clips: ``<split>-<n>.npy`` (the paper's features,
int8 clips x 249 x 120), ``<split>-<n>.p808.npy`` (DNSMOS P.808's features, int8 clips x 900 x 120)
and ``<split>-<n>.jsonl`` (the manifest, one line per clip: voice, language, licence, files,
degradations with their parameters, labels). The .jsonl is written last, by renaming, so a shard
without it is made again. Audio is not kept: the manifest and the seed give it back
(:func:`bamac.data.clips.make_pair`).
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bamac.frontends import dnsmos, log_mel
from bamac.frontends.registry import FrontEndSpec

from . import sources
from .labels import PESQ, Label
from .recipes import DEFAULT, RECIPES, DataRecipe, get

__all__ = ["DEFAULT_CACHE", "FEATURE_FILES", "LOG_MEL_FILE", "P808_FILE", "FeatureFile",
           "adopt_held_out", "is_complete", "load_split", "set_folder", "shards", "split_sizes",
           "write_shard"]

DEFAULT_CACHE = Path(os.environ.get("BAMAC_CACHE", "~/.cache/bamac")).expanduser()
SHARD = 40
"""Clips per shard."""
FEATURES_VERSION = 2
"""Raised whenever the same clip would give other features."""


@dataclass(frozen=True)
class FeatureFile:
    """One file of features per shard: what its name ends with, and the front end it holds."""

    suffix: str
    front_end: FrontEndSpec


LOG_MEL_FILE = FeatureFile(".npy", log_mel.LOG_MEL)
P808_FILE = FeatureFile(".p808.npy", dnsmos.P808)
FEATURE_FILES = (LOG_MEL_FILE, P808_FILE)
"""The features that every shard holds."""


def split_sizes(clips: int) -> dict[str, int]:
    """Clips per split for that many training clips.

    Validation and test have 600 and 1,200 clips whatever the training set, so that its size can
    be varied against one test. Below 3,600 training clips they are smaller.
    """
    return {"train": clips, "val": min(600, math.ceil(clips / 6)),
            "test": min(1200, math.ceil(clips / 3))}


def set_folder(cache: str | Path, seed: int, speech_folder: str | Path | None = None,
               recipe: DataRecipe | str | int = DEFAULT) -> Path:
    """Where the data set of a seed, of a source of speech and of a recipe lives."""
    recipe = get(recipe)
    tag = sources.source_tag(speech_folder, recipe.recordings)
    return Path(cache) / "sets" / f"{tag}-r{recipe.number}.{FEATURES_VERSION}-s{seed}"


def shards(split: str, clips: int) -> list[tuple[str, int, int]]:
    """``(split, number, clips)`` of every shard of a split with that many clips."""
    return [(split, n, min(SHARD, clips - n * SHARD)) for n in range(math.ceil(clips / SHARD))]


def is_complete(folder: Path, split: str, number: int, clips: int) -> bool:
    """Whether a shard is there with at least ``clips`` clips."""
    path = folder / f"{split}-{number:04d}.jsonl"
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as lines:
        return sum(1 for _ in lines) >= clips


def write_shard(folder: Path, split: str, number: int,
                clips: Iterable[tuple[np.ndarray, dict[str, Any]]]) -> None:
    """Write the features and the manifest of a shard.

    ``clips`` gives float samples at 16 kHz and the manifest entry of each clip.
    """
    features, lines = {file: [] for file in FEATURE_FILES}, []
    for samples, entry in clips:
        for file, arrays in features.items():
            arrays.append(file.front_end.compute(samples))
        lines.append(json.dumps(entry, ensure_ascii=False))
    stem = f"{split}-{number:04d}"
    for file, arrays in features.items():
        path = folder / f"{stem}{file.suffix}"
        temporary = path.with_suffix(".partial.npy")
        np.save(temporary, np.stack(arrays))
        os.replace(temporary, path)
    temporary = folder / f"{stem}.jsonl.partial"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, folder / f"{stem}.jsonl")


def adopt_held_out(cache: str | Path, seed: int, speech_folder: str | Path | None,
                   recipe: DataRecipe) -> None:
    """Copy validation and test clips from the data sets of other recipes: they are the same.

    Only from recipes of the same recordings: the files of a user's folder may have changed
    between two recipes.
    """
    out = set_folder(cache, seed, speech_folder, recipe)
    tag = sources.source_tag(speech_folder, recipe.recordings)
    for other in RECIPES:
        if sources.source_tag(speech_folder, other.recordings) != tag:
            continue
        folder = set_folder(cache, seed, speech_folder, other)
        for manifest in sorted(path for split in ("val", "test")
                               for path in folder.glob(f"{split}-*.jsonl")):
            if not (out / manifest.name).exists():
                for suffix in (*(file.suffix for file in FEATURE_FILES), ".jsonl"):
                    target = out / manifest.with_suffix(suffix).name
                    temporary = target.with_name(target.name + ".partial")
                    shutil.copyfile(manifest.with_suffix(suffix), temporary)
                    os.replace(temporary, target)


def load_split(folder: str | Path, split: str, clips: int | None = None, *, label: Label = PESQ,
               features: FeatureFile = LOG_MEL_FILE
               ) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """``(features int8 (n, rows, cols), labels float64 (n,), manifest entries)`` of one split.

    Parameters
    ----------
    folder : of the data set
    split : one of :data:`bamac.data.sources.SPLITS`
    clips : how many, the first ones; None for all
    label : which label
    features : which front end's features

    Raises
    ------
    FileNotFoundError
        If clips are missing.
    ValueError
        If files of a shard do not fit each other, or a clip lacks the label.
    """
    folder = Path(folder)
    manifests = sorted(folder.glob(f"{split}-*.jsonl"))
    if not manifests:
        raise FileNotFoundError(f"No {split} clips in {folder}; make them with `bamac data`")
    suffix = features.suffix
    arrays, entries, want = [], [], clips or 10**9
    for path in manifests:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        array = np.load(path.with_suffix(suffix))
        if len(lines) != len(array):
            raise ValueError(f"{path} and its {suffix} must have as many clips, "
                             f"not {len(lines)} and {len(array)}")
        keep = min(len(lines), want - len(entries))
        entries += lines[:keep]
        arrays.append(array[:keep])
        if len(entries) >= want:
            break
    if clips is not None and len(entries) < clips:
        raise FileNotFoundError(f"{folder} holds {len(entries)} {split} clips, not {clips}; "
                                f"make the rest with `bamac data`")
    if any(label.key not in entry for entry in entries):
        without = ", ".join(str(r.number) for r in RECIPES if label.key not in r.labels)
        raise ValueError(f"{folder} must be of a data recipe with the label {label.key}; of recipe "
                         f"{without} only DNSMOS P.808 is known")
    return np.concatenate(arrays), np.array([e[label.key] for e in entries]), entries
