"""Labels: what a network learns to predict of a clip, and how clips get them.

``pesq`` is the wide-band PESQ (ITU-T P.862.2) of the degraded clip against the clean one.
``p808`` is the score that the released DNSMOS P.808 network gives the degraded clip.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import numpy as np

from .dnsmos import P808Teacher

__all__ = ["LABELS", "P808", "PESQ", "Label", "p808_of", "pesq_of"]


@dataclass(frozen=True)
class Label:
    """One kind of label.

    Parameters
    ----------
    key : its name in manifests, results and configurations
    title : its name in reports
    scale : range that holds every value, used for axes of plots
    unit : what the values are
    """

    key: str
    title: str
    scale: tuple[float, float]
    unit: str


PESQ = Label("pesq", "wide-band PESQ", (1.0, 4.7), "MOS-LQO")
P808 = Label("p808", "DNSMOS P.808", (1.0, 5.0), "MOS")
LABELS = (PESQ, P808)
"""Labels that clips of the data set have; by some recipes, training clips have P.808 alone."""


def pesq_of(reference: np.ndarray, degraded: np.ndarray) -> float | None:
    """Wide-band PESQ of int16 samples, or None where it is not defined (no utterance found)."""
    import pesq

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(pesq.pesq(16000, reference, degraded, "wb"))
    except pesq.PesqError:
        return None


@functools.cache
def _p808_teacher() -> P808Teacher:
    return P808Teacher()


def p808_of(samples: np.ndarray) -> float:
    """The released DNSMOS P.808's score of float samples at 16 kHz."""
    return _p808_teacher().score(samples)
