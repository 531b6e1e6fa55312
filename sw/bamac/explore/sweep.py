"""Runs the tasks of a sweep on an executor and keeps each result as it arrives."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bamac.files import write_text

__all__ = ["Store", "Task", "run"]


@dataclass(frozen=True)
class Task:
    """A call whose result is a mapping of plain values.

    Parameters
    ----------
    key : str
        Digest of everything that decides the result, see :meth:`Store.key`.
    call : callable
        A function of a module, so that other processes can find it.
    arguments : tuple
    """

    key: str
    call: Any
    arguments: tuple


class Store:
    """A folder of results, one file for each key.

    Parameters
    ----------
    folder : path
        Made when the first result is kept.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    @staticmethod
    def key(*parts):
        """Digest of texts, numbers and plain mappings."""
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def find(self, key):
        """A kept result, or None."""
        try:
            return json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def add(self, key, result):
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"{key}.json", json.dumps(result, sort_keys=True))


def run(tasks, executor, store, *, progress=None):
    """The results of all tasks, from the store or computed now.

    Parameters
    ----------
    tasks : sequence of Task
    executor : callable
        Returns a context manager that yields a :class:`concurrent.futures.Executor`. It is called
        again if a worker process dies.
    store : Store
        A result is kept as soon as it is there, so that an interrupted run goes on where it was.
    progress : callable(done, total), optional

    Returns
    -------
    list of dict
        In the order of the tasks. A task that raised has ``{"status": "failed", "reason": text}``;
        this is not kept, so that the next run tries again.
    """
    results = {task.key: store.find(task.key) for task in tasks}
    waiting = {task.key: task for task in tasks if results[task.key] is None}
    total = len(results)

    def finish(task, future):
        """Whether the task itself ended; a worker that dies fails all other futures too."""
        try:
            result = future.result()
            store.add(task.key, result)
        except BrokenExecutor:
            return False
        except Exception as error:
            result = _failed(f"{type(error).__name__}: {error}")
        results[task.key] = result
        del waiting[task.key]
        if progress:
            progress(total - len(waiting), total)
        return True

    if progress:
        progress(total - len(waiting), total)
    if waiting:
        with executor() as pool:
            try:
                futures = {pool.submit(task.call, *task.arguments): task
                           for task in waiting.values()}
                for future in as_completed(futures):
                    finish(futures[future], future)
            except BrokenExecutor:
                pass        # a worker died while tasks were still being handed out
    while waiting:
        _one_by_one(waiting, executor, finish)
    return [results[task.key] for task in tasks]


def _one_by_one(waiting, executor, finish):
    """Run again what a dead worker left over; a task under which a worker dies again has failed."""
    with executor() as pool:
        for task in list(waiting.values()):
            try:
                future = pool.submit(task.call, *task.arguments)
                future.exception()
            except BrokenExecutor:
                return
            if not finish(task, future):
                finish(task, _Dead())
                return


class _Dead:
    """The future of a task that ends its worker process."""

    def result(self):
        raise RuntimeError("the worker process died, perhaps for want of memory")


def _failed(reason):
    return {"status": "failed", "reason": " ".join(reason.split())}
