"""Tasks by name, the two of the package among them, and the task of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bamac.data import labels
from bamac.data.dataset import LOG_MEL_FILE, P808_FILE
from bamac.data.degraded_speech import DegradedSpeech
from bamac.registry import Registry

from .task import Task

__all__ = ["P808_TASK", "PESQ_TASK", "get", "names", "of_metadata", "register"]

_TASKS = Registry("Task", Task)


def register(task: Task) -> Task:
    """Make a task known by its name; returns it. See :meth:`bamac.registry.Registry.add`."""
    return _TASKS.add(task)


def get(name: str) -> Task:
    """The task of a name; raises InputError if none of that name is registered."""
    return _TASKS.get(name)


def names() -> list[str]:
    """Names of all tasks, in the order in which they were registered."""
    return _TASKS.names()


def of_metadata(metadata: Mapping[str, Any]) -> Task:
    """The task of a checkpoint's metadata, or of the configuration of a run.

    ``task`` names it. Where that is missing, the shape that ``network`` names decides, and without
    either the task is PESQ.

    Raises ValueError if no task of that name, or with a network of that shape, is registered.
    """
    if "task" in metadata:
        return get(metadata["task"])
    network = metadata.get("network", "paper")
    found = next((task for task in _TASKS.items() if task.network == network), None)
    if found is None:
        raise ValueError(f"Network must be that of a task ({', '.join(names())}), not {network!r}")
    return found


PESQ_TASK = register(Task(
    "pesq", "Wide-band PESQ (ITU-T P.862.2) of a clip of 5 s, without its reference", "paper",
    LOG_MEL_FILE.front_end, labels.PESQ, DegradedSpeech(labels.PESQ, LOG_MEL_FILE),
    shape_title="The paper's network (arXiv:2407.04578)",
    about_label="The labels are from the package `pesq`. PESQ is a model, not a human opinion. "
                "Scores hold for clips whose undamaged form is clean wide-band speech."))

P808_TASK = register(Task(
    "p808", "The score that the released DNSMOS P.808 gives a clip of 9 s", "p808",
    P808_FILE.front_end, labels.P808, DegradedSpeech(labels.P808, P808_FILE),
    shape_title="The shape of DNSMOS P.808 (`model_v8.onnx`)",
    about_label="The labels are from the released network, which is Microsoft's, as the package "
                "`speechmos` (MIT) carries it. It is another network, not listeners."))
