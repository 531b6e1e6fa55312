"""Where a sweep runs: worker processes of this machine, or a Dask cluster.

Both are a :class:`concurrent.futures.Executor`, so the sweep itself knows neither.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from bamac.plugins import load_plugins

from .points import ExploreError

__all__ = ["dask_executor", "process_executor"]


def _begin():
    # Ctrl-C ends a worker, and what it has started, at once: the sweep keeps what is finished
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    load_plugins()


@contextmanager
def process_executor(jobs):
    """An executor of ``jobs`` processes, each with one thread for linear algebra."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    saved = {name: os.environ.get(name) for name in threads}
    os.environ.update(threads)
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"),
                               initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def dask_executor(address, version, *, timeout="10s"):
    """An executor on the Dask cluster whose scheduler is at ``address``.

    Parameters
    ----------
    version : callable
        Called here and on every worker; the results must be equal.

    Raises
    ------
    ExploreError
        If the package ``distributed`` is missing, no scheduler answers, there is no worker, or a
        worker has another version of this package or none.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ExploreError("--dask needs the package distributed: "
                           "pip install 'bamac[dask]'") from None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExploreError(f"No Dask scheduler answers at {address}: {error}") from None
    with client:
        _check_workers(client, address, version)
        client.run(load_plugins)
        with client.get_executor() as executor:
            yield executor


def _check_workers(client, address, version):
    try:
        found = client.run(version)
    except Exception as error:      # whatever a worker raised, most often ModuleNotFoundError
        raise ExploreError(f"A worker of {address} cannot run bamac: "
                           f"{type(error).__name__}: {error}") from None
    if not found:
        raise ExploreError(f"Dask cluster {address} has no workers")
    for worker, text in found.items():
        if text != version():
            raise ExploreError(f"Worker {worker} must have bamac {version()}, not {text}")
