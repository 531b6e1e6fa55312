"""Clips: degraded speech of five seconds, each decided by recipe, seed, split and number.

Clips with PESQ come in pairs of one reference (:func:`make_pair`). PESQ bunches at the bottom if
severities are drawn evenly. So a target is drawn first, evenly over 1.05..4.6, and the severity is
corrected towards it. The pair's second clip is the degraded version, met during that search, whose
PESQ is farthest from the first one's. A PESQ that has been computed is then not thrown away, and a
network that hears the same words twice with different labels learns to listen to the damage.

Clips without PESQ (:func:`make_clip`) need no search and no clean reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import degrade, labels
from .material import draw_voice, split_material
from .recipes import DEFAULT, HELD_OUT, DataRecipe
from .references import is_clean, make_reference, to_int16
from .sources import SPLITS

__all__ = ["make_clip", "make_pair", "set_level"]

TARGETS = (1.05, 4.6)
"""Range of the PESQ targets."""


class _Version:
    """One degraded version of a reference and its PESQ."""

    def __init__(self, samples, steps, severity, pesq):
        self.samples, self.steps = samples, steps
        self.severity, self.pesq = severity, pesq


def _first_severity(target):
    """A guess of the severity that gives a PESQ target, before anything is measured."""
    return float(np.clip(((4.6 - target) / 3.6) ** 1.3, 0, 1)) * 0.8


class _Search:
    """Degrades one reference by one chain at several severities; the other draws stay the same."""

    def __init__(self, reference, clean, rng, material):
        self._reference, self._clean, self._material = reference, clean, material
        self.target = float(rng.uniform(*TARGETS))
        self.chain = ([] if self.target > 4.52
                      else degrade.draw_chain(rng, material.degradations.held_out))
        self._inner = int(rng.integers(2**31))
        self.versions = []

    def measure(self, severity):
        """Degrade at that severity; False if PESQ is not defined."""
        degraded, steps = degrade.degrade(self._reference, self.chain, severity,
                                          np.random.default_rng(self._inner),
                                          self._material.degradations)
        degraded = to_int16(set_level(degraded, np.random.default_rng(self._inner + 1)))
        pesq = labels.pesq_of(self._clean, degraded)
        if pesq is not None:
            self.versions.append(_Version(degraded, steps, severity, pesq))
        return pesq is not None

    def run(self, attempts=3):
        """Bisect the severity towards the target; False if PESQ is not defined."""
        severity, low, high = _first_severity(self.target), 0.0, 1.0
        for _ in range(attempts):
            if not self.measure(severity):
                return False
            pesq = self.versions[-1].pesq
            if abs(pesq - self.target) < 0.35 or not self.chain:
                break
            low, high = (severity, high) if pesq > self.target else (low, severity)
            severity = (low + high) / 2
        return True

    def best(self):
        return min(self.versions, key=lambda v: abs(v.pesq - self.target))


def _pair(reference, clean, rng, material):
    """Two degraded versions of one reference, or None where PESQ is not defined."""
    search = _Search(reference, clean, rng, material)
    if not search.run():
        return None
    first = search.best()
    second = max(search.versions, key=lambda v: abs(v.pesq - first.pesq))
    if abs(second.pesq - first.pesq) < 0.4:
        other = _Search(reference, clean, rng, material)
        if not other.run(attempts=1):
            return None
        second = other.best()
    return first, second


def make_pair(folder: str | Path, split: str, pair: int, seed: int,
              recipe: DataRecipe = DEFAULT) -> tuple[np.ndarray, list[tuple[np.ndarray, dict]]]:
    """Clips ``2 * pair`` and ``2 * pair + 1`` of a split, degraded from one reference.

    ``folder`` is what :func:`bamac.data.sources.prepare` made for that recipe, which is of the
    training clips. References of training clips vary in speed and pitch.

    Returns ``(reference int16 (80000,), [(degraded int16 (80000,), manifest entry), ...])``.
    """
    material = split_material(Path(folder), split)
    train = split == "train"
    rng = np.random.default_rng([(recipe if train else HELD_OUT).number, seed,
                                 SPLITS.index(split), pair])
    versions = None
    while versions is None:
        voice = draw_voice(material.references, rng)
        reference, files = make_reference(voice, rng, vary=train, steep=recipe.recordings.steep)
        clean = to_int16(reference)
        opinion = labels.p808_of(clean / 32768.0)
        if not (material.trusted or is_clean(clean, opinion)):
            continue
        versions = _pair(reference, clean, rng, material)
    common = {**_origin(voice, files), "reference_p808": round(float(opinion), 3)}
    return clean, [
        (version.samples, {"split": split, "index": 2 * pair + i, **common,
                           "degradations": version.steps, "severity": round(version.severity, 4),
                           "pesq": round(version.pesq, 4)})
        for i, version in enumerate(versions)]


def make_clip(folder: str | Path, index: int, seed: int,
              recipe: DataRecipe) -> tuple[np.ndarray, dict[str, Any]]:
    """Training clip ``index`` of a recipe without PESQ: ``(int16 (80000,), manifest entry)``.

    Any training talker, also those recorded at 8 kHz and those that would be no clean reference.
    Severities are spread as the first guesses for evenly drawn PESQ targets are.
    """
    material = split_material(Path(folder), "train")
    rng = np.random.default_rng([recipe.number, seed, SPLITS.index("train"), index])
    from_game = material.game_talkers and recipe.games and rng.random() < recipe.games
    voice = draw_voice(material.game_talkers if from_game else material.talkers, rng)
    reference, files = make_reference(voice, rng, vary=True, steep=recipe.recordings.steep)
    chain = degrade.draw_chain(rng) if rng.random() >= recipe.undamaged else []
    severity = _first_severity(rng.uniform(*TARGETS)) * recipe.severity_factor
    degraded, steps = degrade.degrade(reference, chain, severity, rng, material.degradations)
    return to_int16(set_level(degraded, rng)), {
        "split": "train", "index": index, **_origin(voice, files), "degradations": steps,
        "severity": round(severity, 4)}


def _origin(voice, files):
    """The part of a manifest entry that says whose recordings a clip is made of."""
    return {"voice": voice["name"], "family": voice["family"], "language": voice["language"],
            "package": voice["package"], "licence": voice["licence"], "files": files}


def set_level(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The clip at a random level, kept clear of full scale: recordings are not all at -26 dB."""
    wanted = rng.uniform(-38, -18)
    samples = samples * 10 ** ((wanted - degrade.power_db(samples)) / 20)
    peak = np.abs(samples).max()
    return samples * min(1.0, 0.98 / max(peak, 1e-9))
