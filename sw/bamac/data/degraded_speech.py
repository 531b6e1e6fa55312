"""The data set as a task uses it: with one label and one front end's features chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import build as data_build
from . import recipes
from .dataset import DEFAULT_CACHE, FeatureFile
from .labels import Label

__all__ = ["DegradedSpeech"]


@dataclass(frozen=True)
class DegradedSpeech:
    """Access to the data set of degraded speech (:mod:`bamac.data.build`).

    Parameters
    ----------
    label : which label is learnt
    features : which features the network reads
    """

    label: Label
    features: FeatureFile

    def sizes(self, clips: int) -> dict[str, int]:
        """Clips per split for that many training clips."""
        return data_build.split_sizes(clips)

    def build(self, cache: str | Path = DEFAULT_CACHE, **options: Any) -> Path:
        """Make what is missing and return the folder; ``options`` are those of ``build``."""
        return data_build.build(cache, **options)

    def folder(self, training: Mapping[str, Any], cache: str | Path = DEFAULT_CACHE) -> Path:
        """The folder with the clips of a run, by the configuration in its metadata or report.

        ``training`` has ``data_seed`` and ``speech_folder``, and may have ``data_recipe``.
        """
        return data_build.set_folder(cache, training["data_seed"], training["speech_folder"],
                                     recipes.number_of(training))

    def load(self, folder: str | Path, split: str, clips: int | None = None
             ) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """``(features, labels, entries)`` of a split: :func:`bamac.data.dataset.load_split`."""
        return data_build.load_split(folder, split, clips, label=self.label,
                                     features=self.features)
