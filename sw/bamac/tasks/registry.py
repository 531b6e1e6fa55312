"""Tasks by name, and the task of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .task import Task

__all__ = ["get", "names", "of_metadata", "register"]

_TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known by its name; returns it.

    Raises
    ------
    TypeError
        If ``task`` is not a :class:`bamac.tasks.Task`.
    ValueError
        If the name belongs to another task already.
    """
    if not isinstance(task, Task):
        raise TypeError(f"Task must be a bamac.tasks.Task, not {task!r}")
    if _TASKS.setdefault(task.name, task) != task:
        raise ValueError(f"Task must have a name of its own, not {task.name!r}")
    return task


def get(name: str) -> Task:
    """The task of a name; raises ValueError if none of that name is registered."""
    if name not in _TASKS:
        raise ValueError(f"Task must be one of {', '.join(_TASKS)}, not {name!r}")
    return _TASKS[name]


def names() -> list[str]:
    """Names of all tasks, in the order in which they were registered."""
    return list(_TASKS)


def of_metadata(metadata: Mapping[str, Any]) -> Task:
    """The task of a checkpoint's metadata, or of the configuration of a run.

    ``task`` names it. Where that is missing, the shape that ``network`` names decides, and without
    either the task is PESQ.

    Raises ValueError if no task of that name, or with a network of that shape, is registered.
    """
    if "task" in metadata:
        return get(metadata["task"])
    network = metadata.get("network", "paper")
    found = next((task for task in _TASKS.values() if task.network == network), None)
    if found is None:
        raise ValueError(f"Network must be that of a task ({', '.join(_TASKS)}), not {network!r}")
    return found
