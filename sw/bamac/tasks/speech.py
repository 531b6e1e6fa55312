"""The two tasks of the package: speech quality as PESQ says it, and as DNSMOS P.808 says it."""

from __future__ import annotations

from bamac.data import labels
from bamac.data.dataset import LOG_MEL_FILE, P808_FILE
from bamac.data.degraded_speech import DegradedSpeech

from .registry import register
from .task import Task

__all__ = ["P808_TASK", "PESQ_TASK"]

PESQ_TASK = register(Task(
    "pesq", "Wide-band PESQ (ITU-T P.862.2) of a clip of 5 s, without its reference", "paper",
    LOG_MEL_FILE.front_end, labels.PESQ, DegradedSpeech(labels.PESQ, LOG_MEL_FILE)))

P808_TASK = register(Task(
    "p808", "The score that the released DNSMOS P.808 gives a clip of 9 s", "p808",
    P808_FILE.front_end, labels.P808, DegradedSpeech(labels.P808, P808_FILE)))
