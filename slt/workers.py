"""Worker processes, here or on a cluster: how many there are, and that none outlives the process that started it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from slt import cluster, lifecycle
from slt.errors import ConfigError, DataError

S = TypeVar("S")
T = TypeVar("T")


def cores() -> int:
    """Cores that this process may use: fewer than the machine has under ``taskset``, Slurm or a container's cpuset."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count() -> int:
    """Processes to use: ``SLT_WORKERS``, else one per core, of the cluster where there is one.

    No parameter: results do not depend on it.
    """
    given = os.environ.get("SLT_WORKERS") or str(cluster.cores() if cluster.address() else cores())
    if not given.isdigit() or int(given) < 1:
        raise ConfigError(f"SLT_WORKERS is `{given}`; set it to a whole number of processes, or unset it")
    return int(given)


def in_parallel(function: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """``function`` of each item, in the order of the items, by single-core workers.

    Those of the cluster where ``SLT_CLUSTER`` names one, else as many processes. Unless the items are a list, they are
    read only a little ahead of the results. DataError when a worker was killed.
    """
    if cluster.address():
        yield from cluster.cluster_map(function, items)
        return
    ahead = len(items) if isinstance(items, Sequence) else 3 * workers  # a reader is faster than those who work
    pending: deque[Future[T]] = deque()
    with process_pool(workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that drops what waits in it when the block ends; DataError when a worker was killed.

    Spawned, not forked: a fork may copy a lock that a thread of Arrow, FFmpeg or OpenCV holds.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start)
    try:
        yield pool
    except BrokenProcessPool as error:
        if number := lifecycle.asked_to_stop():  # Ctrl-C reached the worker first
            raise lifecycle.Stopped(number) from error
        raise DataError(
            "a worker process was killed (out of memory?); set SLT_WORKERS lower and run the same command again: "
            "what is finished is taken up"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    signal.signal(signal.SIGINT, _leave)
    _die_with_parent()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # Ctrl-C goes to the whole group: what is to be said about it, the parent says


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # a killed parent would else leave its workers waiting for ever

    threading.Thread(target=watch, daemon=True).start()
