"""The Pareto front of a set of points."""

from __future__ import annotations

import numpy as np

__all__ = ["front"]


def front(values):
    """Which rows of ``values`` (points, objectives) are on the Pareto front; smaller is better.

    A row is off the front if another is at most as large in every objective and smaller in one.
    Equal rows are on it together.

    Returns
    -------
    bool array (points,)
    """
    values = np.asarray(values, float)
    return np.array([not np.any((values <= row).all(axis=1) & (values < row).any(axis=1))
                     for row in values], bool)
