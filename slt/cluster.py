"""Shards made by a Ray cluster instead of this machine's processes, where SLT_CLUSTER gives its address.

Plain tasks, one a shard, not Ray Data: shards are files that are written beside, renamed and taken up by name, whereas
a dataset streams rows through blocks of its own cut and names its files itself. Scheduling, GPUs and the replacement of
lost workers come from Ray's tasks either way.

Every node needs this checkout, its environment, and raw, work and output folders under the same paths: a shared file
system. An environment variable and no parameter, since the bytes of the results are the same.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import slt
from slt.errors import ConfigError, DataError

T = TypeVar("T")

RETRIES = 3
"""times that a shard whose worker was lost is given to another one"""


def address() -> str | None:
    """Where the cluster's head is (``SLT_CLUSTER``: host:port, or ``auto`` for the one on this machine), if any."""
    return os.environ.get("SLT_CLUSTER") or None


def cores() -> int:
    """Cores of all nodes together."""
    return int(_ray().cluster_resources().get("CPU", 0))


def device() -> str:
    """The torch device of tasks that compute: ``SLT_DEVICE``, else cuda when a node has a GPU, else cpu."""
    return os.environ.get("SLT_DEVICE") or ("cuda" if _ray().cluster_resources().get("GPU") else "cpu")


class Cluster:
    """A pool like those of concurrent.futures, whose tasks run on the nodes."""

    def __init__(self, cpus: int, gpus: int) -> None:
        """Every task is given ``cpus`` cores and ``gpus`` GPUs; ConfigError when no node has as many."""
        ray = _ray()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            raise ConfigError(
                f"SLT_CLUSTER {address()}: no node has {cpus} cores and {gpus} GPUs for a task; start nodes that have, "
                "or set OMP_NUM_THREADS (threads of a task on CPU) or SLT_DEVICE"
            )
        # a worker keeps its model from task to task: Ray ends those with a GPU after each, unless told
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": RETRIES, "max_calls": 0}
        self._remote = ray.remote(**options)(_run)
        settings = {k: v for k, v in os.environ.items() if k.startswith("SLT_") and k != "SLT_CLUSTER"}
        self._place = Path.cwd(), _code(), {**settings, "SLT_DEVICE": device()}

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """``function(*arguments)`` on some node; its own errors, or DataError when its workers are lost for good."""
        future: Future[T] = Future()
        done = self._remote.remote(*self._place, function, arguments).future()
        done.add_done_callback(functools.partial(_hand_on, future))
        return future


@contextmanager
def cluster(cpus: int = 1, gpus: int = 0) -> Iterator[Cluster]:
    """The cluster as a pool; what still runs on it when the block ends is given up."""
    pool = Cluster(cpus, gpus)
    try:
        yield pool
    finally:
        _ray().shutdown()


def _ray() -> Any:
    """The library, connected."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"SLT_CLUSTER is {address()}, but Ray is not installed; `pip install -r requirements-cluster.txt`, "
            "or unset it"
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(address=address(), logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"SLT_CLUSTER is {address()}: no cluster answers there ({str(error).splitlines()[0]}); start one with "
                "`ray start --head`, correct the address, or unset it"
            ) from error
    return ray


def _code() -> str:
    return str(Path(slt.__file__).resolve())


def _run(folder: Path, code: str, environment: dict[str, str], function: Callable[..., T], arguments: Any) -> T:
    """A task, in a worker: where and with what settings the stage itself runs."""
    if _code() != code:
        raise ConfigError(
            f"node {os.uname().nodename} imports slt from {_code()}, the stage from {code}; let every node have the "
            "checkout and its environment under the same path"
        )
    os.chdir(folder)
    os.environ.update(environment)
    return function(*arguments)


def _hand_on(future: "Future[Any]", done: "Future[Any]") -> None:
    from ray.exceptions import RayTaskError

    error = done.exception()
    if error is None:
        future.set_result(done.result())
    elif isinstance(error, RayTaskError):
        future.set_exception(error.cause)
    else:
        future.set_exception(
            DataError(
                f"a shard was given up after {RETRIES} new attempts, each on a worker that was lost (out of memory?): "
                f"{str(error).splitlines()[0]}; run the same command again: what is finished is taken up"
            )
        )
