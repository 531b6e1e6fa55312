"""Agreement of a network's scores with the labels of clips, over all of them and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from bamac.data.degrade import TEST_ONLY, TEST_ONLY_CODECS
from bamac.nn.network import Network
from bamac.nn.predict import predict

from .metrics import agreement

__all__ = ["clip_groups", "evaluate_features", "evaluate_scores", "level_of"]

SMALLEST_GROUP = 10
"""Groups of fewer clips are left out."""


def clip_groups(manifest: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """``{title: {name: indices}}`` of a manifest's clips, for results per group.

    A clip belongs to every degradation in its chain, so the groups of ``degradation`` overlap.
    ``novelty`` tells clips whose kinds of damage all occur in training from those with a family or
    a codec that only the test has.
    """
    groups = {"family": {}, "voice": {}, "language": {}, "degradation": {}, "novelty": {}}
    for i, entry in enumerate(manifest):
        kinds = [step["kind"] for step in entry["degradations"]]
        new = any(step["kind"] in TEST_ONLY or step.get("codec") in TEST_ONLY_CODECS
                  for step in entry["degradations"])
        names = {"family": [entry.get("family")], "voice": [entry.get("voice")],
                 "language": [entry.get("language")], "degradation": kinds or ["none"],
                 "novelty": ["unseen damage" if new else "seen damage"]}
        for title, found in names.items():
            for name in dict.fromkeys(n for n in found if n):
                groups[title].setdefault(name, []).append(i)
    return {title: {name: np.array(rows) for name, rows in sorted(group.items())}
            for title, group in groups.items()}


def level_of(network: Network) -> str:
    """The level of the chain at which :func:`bamac.nn.predict.predict` scores a network."""
    return "qat" if network.int8 else "float"


def evaluate_scores(scores: np.ndarray, labels: np.ndarray, manifest: Sequence[Mapping[str, Any]],
                    level: str,
                    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], Any]]
                    = MappingProxyType({})) -> dict[str, Any]:
    """PCC, SRCC and RMSE of ``scores`` (n,) over all clips, and per group of at least ten.

    ``level`` of the chain gave the scores; it is named in the result. The groups are those of
    :func:`clip_groups`. ``metrics`` are further measures by name, functions of scores and labels.
    """
    def measured(rows: np.ndarray | slice) -> dict[str, Any]:
        return {**agreement(scores[rows], labels[rows]),
                **{name: metric(scores[rows], labels[rows]) for name, metric in metrics.items()}}

    result = {"level": level, "all": measured(slice(None))}
    for title, group in clip_groups(manifest).items():
        result[title] = {name: measured(rows) for name, rows in group.items()
                         if len(rows) >= SMALLEST_GROUP}
    return result


def evaluate_features(network: Network, features: np.ndarray, labels: np.ndarray,
                      manifest: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """:func:`evaluate_scores` of a PyTorch network on int8 features (n, rows, cols)."""
    return evaluate_scores(predict(network, features), labels, manifest, level_of(network))
