"""The front ends that turn audio into a network's integer frames, by name.

A network names the one it was trained with (:class:`bamac.ir.network.FrontEnd`). To add one, write
its module and put it in :data:`FRONT_ENDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bamac.ir.network import FrontEnd

from . import dnsmos as features_p808
from . import log_mel as features
from .audio import WINDOW

__all__ = ["FRONT_ENDS", "FrontEndSpec", "PAPER_FRONT_ENDS"]


@dataclass(frozen=True)
class FrontEndSpec:
    """One front end.

    Parameters
    ----------
    front_end : what a network that reads its frames names
    window : samples at 16 kHz that one score is computed from; shorter clips are repeated
    rows, cols : frames and mel bands of a window
    n_fft, hop : samples of a frame and between two frames
    compute : window of samples -> int8 (rows, cols)
    bits : of its signed integers
    """

    front_end: FrontEnd
    window: int
    rows: int
    cols: int
    n_fft: int
    hop: int
    compute: Callable
    bits: int = 8


def _paper_front_end(bits):
    """The paper's features, rounded to ``bits`` bits."""
    shift = 8 - bits
    kind = features.FRONT_END + (f"-{bits}bit" if shift else "")
    offset = features.OFFSET + (features.CENTRE / features.STEPS if shift else 0.0)
    return FrontEndSpec(
        FrontEnd(kind, offset, features.STEPS / (1 << shift)), WINDOW, features.FRAMES,
        features.MELS, features.N_FFT, features.HOP,
        (lambda samples: features.fewer_bits(features.features_int8(samples), bits))
        if shift else features.features_int8, bits)


PAPER_FRONT_ENDS = {bits: _paper_front_end(bits) for bits in (3, 4, 5, 6, 7, 8)}
"""By bits of the input; below 8, ``log_mel.fewer_bits`` of the int8 features."""

FRONT_ENDS = {spec.front_end.kind: spec for spec in (
    *PAPER_FRONT_ENDS.values(),
    FrontEndSpec(FrontEnd(features_p808.P808_FRONT_END, 0.0, features_p808.STEPS),
                 features_p808.CLIP_SAMPLES, features_p808.FRAMES, features_p808.MELS,
                 features_p808.N_FFT, features_p808.HOP, features_p808.features_p808_int8),
)}
