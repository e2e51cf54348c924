"""What every stage script shares: arguments, logging, one clear line for an expected error, a log of seconds."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from slt import launch, lifecycle, resources
from slt.errors import ConfigError, SltError
from slt.paths import STAGE_TIMES, work_root

T = TypeVar("T")
log = logging.getLogger("slt")


def configure_logging() -> None:
    """Log to stderr, one line per event, libraries at warning level."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(os.environ.get("SLT_LOG", "INFO").upper())


def run(name: str, keys: list[str], main: Callable[..., None]) -> None:
    """Run a stage's ``main`` with one ``--key VALUE`` option per key and exit; the process's whole life.

    An SltError, a full disk or a lack of memory becomes one line on stderr and exit code 2; a stage stopped by SIGTERM
    or Ctrl-C exits with 128 + signal, its work kept. The seconds taken are appended to ``stage-times.jsonl`` in the
    work root: they are no result, so they stay out of ``metrics/``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=main.__doc__)
    for key in keys:
        parser.add_argument(f"--{key}", required=True, help=f"the {key}, as named in params.yaml")
    arguments = vars(parser.parse_args())
    configure_logging()
    label = "@".join([name, "-".join(arguments.values())] if arguments else [name])
    started = time.time()
    lifecycle.handle_signals()
    if "DVC_STAGE" in os.environ:  # started by hand, a stage may outlive its shell: that is what nohup is for
        lifecycle.die_with_parent()
    try:
        main(**arguments)
    except lifecycle.Stopped as stopped:
        log.warning("%s: stopped by %s; the same command goes on from here", label, stopped.signal.name)
        raise
    except SltError as error:
        log.error("%s: %s", label, error)
        sys.exit(2)
    except Exception as error:
        line = resources.explain(error, name)
        if line is None:
            raise
        log.error("%s: %s", label, line)
        log.debug("%s", label, exc_info=error)
        sys.exit(2)
    seconds = round(time.time() - started, 1)
    log.info("%s: done in %.1f s", label, seconds)
    work_root().mkdir(parents=True, exist_ok=True)
    with (work_root() / STAGE_TIMES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"stage": label, "seconds": seconds, "finished": round(time.time())}) + "\n")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterable[T]:
    """A progress bar with rate and time left; silent when stderr is no terminal, and but for the leading process."""
    from tqdm import tqdm

    silent = not sys.stderr.isatty() or not launch.leads()
    return tqdm(items, desc=what, total=total, unit=unit, disable=silent, dynamic_ncols=True)


def device_name() -> str:
    """The torch device to use: ``SLT_DEVICE``, else cuda when there is one, else cpu. No param: results agree.

    Raises ConfigError when ``SLT_DEVICE`` is no device, or a GPU that torch does not find.
    """
    import torch

    given = os.environ.get("SLT_DEVICE")
    if not given:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(given)
    except RuntimeError as error:
        raise ConfigError(f"SLT_DEVICE is `{given}`; set it to cpu, cuda or cuda:1, or unset it") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(
            f"SLT_DEVICE is `{given}`, but torch {torch.__version__} finds {count} GPUs; look at `nvidia-smi` and"
            " CUDA_VISIBLE_DEVICES, or set SLT_DEVICE to cpu, or unset it"
        )
    return given


def compiles() -> bool:
    """Whether backbone and training go through ``torch.compile``: ``SLT_COMPILE=1``. No param: results agree.

    Off by default: compiling takes minutes, which short runs do not win back. ConfigError for any other value.
    """
    return _switch("SLT_COMPILE", "compile backbone and training")


def records() -> bool:
    """Whether a GPU's training passes are recorded (:mod:`slt.recorded`): unless ``SLT_RECORD=0``. No param, as above.

    ConfigError for any other value.
    """
    return _switch("SLT_RECORD", "record a GPU's training passes", default=True)


def _switch(name: str, what: str, default: bool = False) -> bool:
    given = os.environ.get(name, "")
    if given not in ("", "0", "1"):
        raise ConfigError(f"{name} is `{given}`; set it to 1 to {what}, to 0 not to, or unset it")
    return given == "1" if given else default
