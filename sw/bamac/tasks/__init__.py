"""Tasks: what networks predict, from which frames, and which data they learn it from.

Importing the package registers the tasks that come with it. A task from outside joins them by
:func:`register`; nothing here needs to change for it.
"""

from .registry import P808_TASK, PESQ_TASK, get, names, of_metadata, register
from .task import DataSet, Task

__all__ = ["DataSet", "P808_TASK", "PESQ_TASK", "Task", "get", "names", "of_metadata", "register"]
