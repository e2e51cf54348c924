"""Which of the processes that train together this one is; alone, unless :mod:`slt.ranks` has joined it to others.

Without torch, for the modules that every stage imports: the leading process alone locks, logs, draws and writes.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from slt import PARENT
from slt.errors import ConfigError

STARTER = "SLT_STARTER"
"""the variable that tells processes who started their launcher, which is not their own parent"""


class _State:
    rank = 0
    world = 1


def join(rank: int, world: int) -> None:
    """From now on this process is number ``rank`` (from 0) of ``world``."""
    _State.rank, _State.world = rank, world


def rank() -> int:
    return _State.rank


def world() -> int:
    """How many processes train together."""
    return _State.world


def leads() -> bool:
    """Whether this process, the first or the only one, writes what all of them have made."""
    return _State.rank == 0


def through_launcher() -> None:
    """Start this command again through the launcher that ``SLT_LAUNCH`` names, if any, in place of this process.

    So what DVC starts trains with several processes, and DVC, which waits for this process, gets their output. Nothing
    happens in a process that a launcher has started. ConfigError when there is no such program.
    """
    given = os.environ.get("SLT_LAUNCH", "")
    if "RANK" in os.environ or "WORLD_SIZE" in os.environ:
        return
    example = "name a launcher as in SLT_LAUNCH='torchrun --standalone --nproc-per-node 2', or unset it"
    try:
        command = shlex.split(given)
    except ValueError as error:
        raise ConfigError(f"SLT_LAUNCH is `{given}`, which no shell can read ({error}); {example}") from error
    if not command:
        return
    # the environment's own launcher first: `.venv/bin/dvc` may have been started with nothing activated
    environments = Path(sys.executable).parent
    program = shutil.which(command[0], path=os.pathsep.join([str(environments), os.environ.get("PATH", os.defpath)]))
    if program is None:
        raise ConfigError(
            f"SLT_LAUNCH is `{given}`, but neither {environments} nor PATH has a program `{command[0]}`; {example}"
        )
    variables = {name: value for name, value in os.environ.items() if name != "SLT_LAUNCH"}
    try:
        os.execve(program, [*command, *sys.orig_argv[1:]], {**variables, STARTER: str(PARENT)})
    except OSError as error:
        raise ConfigError(f"SLT_LAUNCH is `{given}`, but {program} cannot be started ({error}); {example}") from error
