"""Units of work on a Ray cluster instead of this machine's processes, where SLT_CLUSTER gives its address.

Ray Data schedules them, keeps workers that hold a model, and replaces lost ones. A dataset's rows are our own units (a
shard, a batch of articles), one a block, since a shard is the file that is written beside, renamed, checked and taken
up by name: what flows through the dataset is a unit's description and its small record, never frames or features.

Every node needs this checkout, its environment, and raw, work and output folders under the same paths: a shared file
system. An environment variable and no parameter, since the bytes of the results are the same.
"""

import itertools
import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import slt
from slt.errors import ConfigError, DataError

S = TypeVar("S")
T = TypeVar("T")

RETRIES = 3
"""times that a unit whose worker was lost is given to another one"""
WINDOW = 64
"""units a worker of a stream that are in memory at once; so many that the wait for a window's last ones is short"""


def address() -> str | None:
    """Where the cluster's head is (``SLT_CLUSTER``: host:port, or ``auto`` for the one on this machine), if any."""
    return os.environ.get("SLT_CLUSTER") or None


def cores() -> int:
    """Cores of all nodes together."""
    return int(_ray().cluster_resources().get("CPU", 0))


def device() -> str:
    """The torch device of units that compute: ``SLT_DEVICE``, else cuda when a node has a GPU, else cpu."""
    return os.environ.get("SLT_DEVICE") or ("cuda" if _ray().cluster_resources().get("GPU") else "cpu")


def computing(threads: int) -> tuple[int, int]:
    """Cores and GPUs of a worker that computes: one of each, or without GPUs as many cores as the stage has threads."""
    return (1, 1) if device().startswith("cuda") else (threads, 0)


def cluster_map(
    function: Callable[[S], T], items: Iterable[S], cpus: int = 1, gpus: int = 0, stay: bool = False
) -> Iterator[T]:
    """``function`` of each item, in the order of the items, each with ``cpus`` cores and ``gpus`` GPUs of some node.

    A list is one dataset; anything else is read a window at a time, so that it is never whole in memory. Workers that
    ``stay`` are there for the whole dataset and keep what ``function`` loads, each doing one unit at a time.

    Raises the first error of ``function`` as soon as it is known, DataError when a unit's workers are lost for good,
    ConfigError when no node has as many cores and GPUs. What still runs when the iteration ends is given up.
    """
    ray = _ray()
    try:
        places = _places(ray, cpus, gpus)
        unit = _Unit(function, Path.cwd(), _code(), _settings())
        for window in [items] if isinstance(items, Sequence) else _windows(items, WINDOW * places):
            if window:
                yield from _dataset(ray, unit, window, cpus, gpus, min(places, len(window)) if stay else None)
    finally:
        ray.shutdown()


def _places(ray: Any, cpus: int, gpus: int) -> int:
    """How many workers of this size the nodes have room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    rooms = [
        [int(node.get(kind, 0) // size) for kind, size in (("CPU", cpus), ("GPU", gpus)) if size] for node in nodes
    ]
    places = sum(map(min, rooms))
    if not places:
        raise ConfigError(
            f"SLT_CLUSTER {address()}: no node has {cpus} cores and {gpus} GPUs for a worker; start nodes that have, "
            "or set OMP_NUM_THREADS (threads of a worker on CPU) or SLT_DEVICE"
        )
    return places


def _windows(items: Iterable[S], size: int) -> Iterator[list[S]]:
    """Lists of at most ``size`` items; a thread reads the next one while one is worked on."""
    rest = iter(items)
    with ThreadPoolExecutor(1) as reader:
        window = list(itertools.islice(rest, size))
        while window:
            following = reader.submit(list, itertools.islice(rest, size))
            yield window
            window = following.result()


def _dataset(ray: Any, unit: "_Unit[S, T]", items: Sequence[S], cpus: int, gpus: int, stay: int | None) -> Iterator[T]:
    """Results in order, from a dataset with a block a unit; ``stay``: size of a pool that is there for all of them."""
    workers: dict[str, Any] = {"fn": _work, "fn_args": (unit,), "max_retries": RETRIES}
    if stay:
        # one unit in flight, so that a lost worker costs no attempt of units that only waited for it
        pool = ray.data.ActorPoolStrategy(size=stay, max_tasks_in_flight_per_actor=1)
        workers = {"fn": _Worker, "fn_constructor_args": (unit,), "compute": pool, "max_task_retries": RETRIES}
    units = ray.data.from_items(
        [{"unit": i, "work": pickle.dumps(item)} for i, item in enumerate(items)], override_num_blocks=len(items)
    )
    with warnings.catch_warnings():  # there is no other way to bound retries yet; hence ray < 2.64 in pyproject.toml
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
        results = units.map(**workers, num_cpus=cpus, num_gpus=gpus)
    early: dict[int, T] = {}
    turn = 0
    try:
        for row in results.iter_rows():
            error, result = pickle.loads(row["result"])
            if error is not None:
                raise error
            early[row["unit"]] = result
            while turn in early:
                yield early.pop(turn)
                turn += 1
    except ray.exceptions.RayTaskError:
        raise  # an error in this module: those of the units are results
    except ray.exceptions.RayError as error:
        raise DataError(
            f"work was given up after {RETRIES} new attempts, each on a worker that was lost (out of memory?): "
            f"{str(error).splitlines()[0]}; run the same command again: what is finished is taken up"
        ) from error


def _ray() -> Any:
    """The library, connected; of Ray Data, only what warns is heard."""
    try:
        import ray
        import ray.data
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
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # the other one writes Ray's own log file
            handler.addFilter(_warns)
    return ray


def _warns(record: logging.LogRecord) -> bool:
    """Errors are raised as well, and said once by the stage; that there are no bars was asked for."""
    return record.levelno == logging.WARNING and not record.getMessage().startswith("Progress bars disabled")


def _code() -> str:
    return str(Path(slt.__file__).resolve())


def _settings() -> dict[str, str]:
    """The variables of this process that its workers are given."""
    return {**{name: value for name, value in os.environ.items() if name.startswith("SLT_")}, "SLT_DEVICE": device()}


@dataclass(frozen=True)
class _Unit(Generic[S, T]):
    """What a worker does with each item, where and with what settings the stage itself runs."""

    function: Callable[[S], T]
    folder: Path
    code: str
    settings: dict[str, str]

    def __call__(self, item: S) -> T:
        if _code() != self.code:
            raise ConfigError(
                f"node {os.uname().nodename} imports slt from {_code()}, the stage from {self.code}; let every node "
                "have the checkout and its environment under the same path"
            )
        os.chdir(self.folder)
        os.environ.update(self.settings)
        os.environ.pop("SLT_CLUSTER", None)  # a worker does its unit itself
        return self.function(item)


def _work(row: dict[str, Any], unit: _Unit[Any, Any]) -> dict[str, Any]:
    """A row ``unit, work`` becomes ``unit, result``: a pickled (error, result), one of which is None."""
    error = result = None
    try:
        result = unit(pickle.loads(row["work"]))
    except Exception as raised:  # for the stage to raise: Ray would wrap it and write its own account of it
        raised.add_note(traceback.format_exc())
        error = raised
    return {"unit": row["unit"], "result": pickle.dumps((error, result))}


class _Worker:
    """A worker that stays."""

    def __init__(self, unit: _Unit[Any, Any]) -> None:
        self.unit = unit

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return _work(row, self.unit)
