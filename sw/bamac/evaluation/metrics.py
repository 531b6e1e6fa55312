"""Agreement between scores and labels.

Both are of any shape and of as many values, two at least; other ones raise ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["agreement", "agreement_lines", "pcc", "rmse", "srcc"]


def _pair(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(scores, np.float64).ravel()
    labels = np.asarray(labels, np.float64).ravel()
    if scores.shape != labels.shape or scores.size < 2:
        raise ValueError(f"Scores and labels must be two or more each and as many, "
                         f"not {scores.size} and {labels.size}")
    return scores, labels


def pcc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Pearson's linear correlation; NaN if either side is constant."""
    scores, labels = _pair(scores, labels)
    scores, labels = scores - scores.mean(), labels - labels.mean()
    norm = np.sqrt((scores**2).sum() * (labels**2).sum())
    return float((scores * labels).sum() / norm) if norm else float("nan")


def srcc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Spearman's rank correlation; ties share their mean rank."""
    from scipy.stats import rankdata

    scores, labels = _pair(scores, labels)
    return pcc(rankdata(scores), rankdata(labels))


def rmse(scores: ArrayLike, labels: ArrayLike) -> float:
    """Root of the mean squared difference."""
    scores, labels = _pair(scores, labels)
    return float(np.sqrt(((scores - labels) ** 2).mean()))


def agreement(scores: ArrayLike, labels: ArrayLike) -> dict[str, Any]:
    """All three, with the number of clips and the labels' standard deviation to compare RMSE with.

    Correlations that are undefined (a side is constant) are None.
    """
    linear, rank = pcc(scores, labels), srcc(scores, labels)
    return {"clips": int(np.size(labels)),
            "pcc": None if np.isnan(linear) else round(linear, 4),
            "srcc": None if np.isnan(rank) else round(rank, 4),
            "rmse": round(rmse(scores, labels), 4),
            "label_std": round(float(np.std(labels)), 4)}


def agreement_lines(report: Mapping[str, Any]) -> list[str]:
    """A training report's agreement on validation and test voices, as lines for a terminal."""
    lines = [f"{'clips':24}{'n':>6}{'PCC':>8}{'SRCC':>8}{'RMSE':>8}{'label std':>11}"]
    for split, title in (("val", "validation voices"), ("test", "test voices")):
        rows = [(title, report[split]["all"])]
        rows += [(f"  {name}", row) for name, row in report[split].get("family", {}).items()]
        for name, row in rows:
            both = "".join("    none" if row[key] is None else f"{row[key]:8.3f}"
                           for key in ("pcc", "srcc"))
            lines.append(f"{name:24}{row['clips']:6}{both}{row['rmse']:8.3f}"
                         f"{row['label_std']:11.3f}")
    return lines
