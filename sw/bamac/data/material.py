"""The material of one split: its voices, noises, music and rooms, ready to make clips of."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import degrade, sources
from .references import make_reference
from .sources import SPLITS
from .voices import GAMES, NARROW

__all__ = ["SplitMaterial", "draw_voice", "room_responses", "split_material"]

ROOMS = 40
"""Rooms per split."""


def room_responses(folder: Path, split: str) -> list[np.ndarray]:
    """Room responses of one split, float64 (12,800,), the driest first.

    They are computed once and kept in ``folder``.
    """
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


class _Piece:
    """A noise recording, read when it becomes an array."""

    def __init__(self, group, index):
        self._group, self._index = group, index
        self.name = group["files"][index]

    def __array__(self, dtype=None, copy=None):
        return sources.recording(self._group, self._index).astype(dtype or np.float64)


class _Talker:
    """A voice in the background: every call gives other five seconds of it."""

    def __init__(self, voice):
        self._voice = voice
        self.name = voice["name"]

    def __call__(self, rng):
        return make_reference(self._voice, rng)[0]


class SplitMaterial:
    """What the clips of one split are made of.

    Parameters
    ----------
    folder : of :func:`bamac.data.sources.prepare`
    split : one of :data:`bamac.data.sources.SPLITS`

    Attributes
    ----------
    trusted : whether all speech is taken as clean, as that of a user's folder is
    references : voices of clean references, those recorded at 8 kHz left out
    talkers : voices that are not from games, those recorded at 8 kHz too
    game_talkers : voices from games
    degradations : what degradations may draw on

    Raises
    ------
    SourceError
        If no voice of the split can be a reference.
    """

    def __init__(self, folder: Path, split: str) -> None:
        voices, noises = sources.load_prepared(folder)
        self.trusted = not folder.name.startswith("packages-")
        everyone = [v for v in voices.values() if v["split"] == split]
        self.references = [v for v in everyone if v["family"] != NARROW]
        if not self.references:
            raise sources.SourceError(f"No usable {split} voice in {folder}; "
                                      f"PESQ needs clean speech with pauses")
        self.talkers = [v for v in everyone if v["collection"] != GAMES]
        self.game_talkers = [v for v in everyone if v["collection"] == GAMES]

        def pieces(kind):
            group = noises.get((kind, split))
            return [_Piece(group, i) for i in range(len(group["files"]))] if group else []

        self.degradations = degrade.Material(
            talkers=[_Talker(v) for v in everyone], effects=pieces("effects"),
            music=pieces("music"), rooms=room_responses(folder, split),
            held_out=split == "test")


@functools.cache
def split_material(folder: Path, split: str) -> SplitMaterial:
    """The material of a split, read once per process."""
    return SplitMaterial(folder, split)


def draw_voice(voices: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Mapping[str, Any]:
    """One of the voices: much speech makes it likelier, but less than in proportion."""
    weights = np.array([v["seconds"] for v in voices]) ** 0.45
    return voices[int(rng.choice(len(voices), p=weights / weights.sum()))]
