"""How a stage ends before its end: signals that let it keep its work; no stage outlives the DVC that started it.

The first SIGTERM (pre-emption) or SIGINT (Ctrl-C) asks: a training loop writes a checkpoint at its next step, anything
else stops where it is, since shards are written beside and renamed. The second one ends the process at once. Not so one
of several that a launcher started, which repeats a signal that they may have had already, and kills them in the end.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from slt import PARENT, launch

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # for the checkpoint of an orphan


class Stopped(SystemExit):
    """A stage that was asked to stop; its exit code is the shell's 128 + signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class _State:
    asked: int | None = None
    deferring = False


def asked_to_stop() -> int | None:
    """The signal that asked this process to stop, inside :func:`deferred`; None while there was none."""
    return _State.asked


@contextmanager
def deferred() -> Iterator[None]:
    """Within this block a first signal is noted, not raised: the block asks :func:`asked_to_stop` and stops itself.

    One that the block did not ask for stops the process where the block ends.
    """
    _State.deferring = True
    try:
        yield
    finally:
        _State.deferring = False
    if _State.asked is not None:
        raise Stopped(_State.asked)


def handle_signals() -> None:
    """Install the handlers; call once, in the main thread of a stage."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _State.asked is not None:
        if launch.world() == 1:
            os._exit(128 + number)
        return
    _State.asked = number
    if not _State.deferring:
        raise Stopped(number)


def die_with_parent() -> None:
    """Stop this process (SIGTERM, then SIGKILL) when the process that started it, or its launcher, is gone.

    A killed `dvc repro` leaves its stage running, and the next one would start a second copy into the same
    output (seen with DVC 3.67). Polling, not PR_SET_PDEATHSIG: that fires when the starting *thread* ends.
    """

    starter = int(os.environ.get(launch.STARTER, PARENT))

    def watch() -> None:
        while os.getppid() == PARENT and _exists(starter):
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
