"""Worker processes, here or on a cluster: how many there are, and that none outlives the process that started it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from slt import cluster, lifecycle
from slt.errors import ConfigError, DataError


def worker_count() -> int:
    """Processes to use: ``SLT_WORKERS``, else one per core, of the cluster where there is one.

    No parameter: results do not depend on it.
    """
    given = os.environ.get("SLT_WORKERS") or str(cluster.cores() if cluster.address() else os.cpu_count() or 1)
    if not given.isdigit() or int(given) < 1:
        raise ConfigError(f"SLT_WORKERS is `{given}`; set it to a whole number of processes, or unset it")
    return int(given)


def worker_pool(workers: int) -> AbstractContextManager[ProcessPoolExecutor | cluster.Cluster]:
    """A pool of single-core workers: those of the cluster where ``SLT_CLUSTER`` names one, else processes."""
    return cluster.cluster() if cluster.address() else process_pool(workers)


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
