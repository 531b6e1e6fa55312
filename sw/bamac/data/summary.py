"""What a data set holds: hours, voices, languages, damage, and how its labels are spread."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .degrade import TEST_ONLY, TEST_ONLY_CODECS
from .labels import LABELS
from .sources import SPLITS

__all__ = ["EDGES", "leaks", "manifest", "summarise"]

EDGES = np.round(np.arange(1.0, 4.76, 0.25), 2)
"""Edges of the histogram of labels, 15 bins."""


def manifest(folder: str | Path, split: str, clips: int | None = None) -> list[dict[str, Any]]:
    """The manifest entries of a split in order, all of them or the first ``clips``."""
    entries = []
    for path in sorted(Path(folder).glob(f"{split}-*.jsonl")):
        entries += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return entries[:clips]


def _materials(entries):
    """Everything of which the splits must not share anything, by kind."""
    steps = [step for entry in entries for step in entry["degradations"]]
    return {
        "voices": {e["voice"] for e in entries},
        "recordings": {(e["voice"], name) for e in entries for name in e["files"]},
        "noise recordings and babble voices": {name for step in steps
                                               for name in step.get("sources", ())},
    }


def leaks(folder: str | Path) -> list[str]:
    """What occurs in more than one split, or in training though it is held out; [] if nothing.

    Every item is a sentence. Rooms are computed per split from seeds of their own.
    """
    entries = {split: manifest(folder, split) for split in SPLITS}
    found = []
    materials = {split: _materials(entries[split]) for split in SPLITS}
    for i, one in enumerate(SPLITS):
        for other in SPLITS[i + 1:]:
            for kind, names in materials[one].items():
                shared = sorted(map(str, names & materials[other][kind]))
                if shared:
                    found.append(f"{one} and {other} share {kind}: {', '.join(shared[:5])}")
    for split in ("train", "val"):
        steps = [step for entry in entries[split] for step in entry["degradations"]]
        held = sorted({s["kind"] for s in steps if s["kind"] in TEST_ONLY}
                      | {s["codec"] for s in steps if s.get("codec") in TEST_ONLY_CODECS})
        if held:
            found.append(f"{split} has damage that is held out for the test: {', '.join(held)}")
    test_only = ({e["language"] for e in entries["test"]}
                 - {e["language"] for e in entries["train"]} - {"unknown"})
    if entries["test"] and not test_only and {e["language"] for e in entries["test"]} != {
            "unknown"}:
        found.append("train has every language of the test; one must be unseen")
    return found


def summarise(folder: str | Path, sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Counts per split, of its first ``sizes[split]`` clips.

    Clips, hours, voices, languages, licences, damage, and a histogram of each label, all
    zeros where no clip has it.
    """
    result = {}
    for split in SPLITS:
        entries = manifest(folder, split, sizes[split])
        if not entries:
            continue
        result[split] = {
            "clips": len(entries), "hours": round(len(entries) * 5 / 3600, 2),
            "voices": dict(Counter(e["voice"] for e in entries).most_common()),
            "languages": dict(Counter(e["language"] for e in entries).most_common()),
            "licences": dict(Counter(e["licence"] for e in entries).most_common()),
            "damage": dict(Counter(step["kind"] for e in entries
                                   for step in e["degradations"]).most_common()),
            "codecs": dict(Counter(step["codec"] for e in entries for step in e["degradations"]
                                   if "codec" in step).most_common()),
            "noises": dict(Counter(step["noise"] for e in entries for step in e["degradations"]
                                   if "noise" in step).most_common()),
            "undamaged": sum(not e["degradations"] for e in entries),
            **{label.key: np.histogram([e[label.key] for e in entries if label.key in e],
                                       EDGES)[0].tolist() for label in LABELS}}
    return result
