"""Which of the processes that train together this one is; alone, unless :mod:`slt.ranks` has joined it to others.

Without torch, for the modules that every stage imports: the leading process alone locks, logs, draws and writes.
"""


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
