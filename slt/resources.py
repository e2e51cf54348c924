"""What a stage says when the machine, not the data, is at fault: full disk, no rights, no file handles, no memory."""

import errno
import re
import shutil
from pathlib import Path

AGAIN = "then run the same command again: what is finished is taken up, and nothing half-written was published"
"""what every message ends with"""

_ADVICE = {
    errno.ENOSPC: "make room, or set SLT_WORK to a folder on another disk",
    errno.EDQUOT: "raise the quota, or set SLT_WORK to a folder on another disk",
    errno.EROFS: "mount it for writing, or set SLT_WORK to another folder",
    errno.EACCES: "give this user the right to write there, or set SLT_WORK to another folder",
    errno.EPERM: "give this user the right to write there, or set SLT_WORK to another folder",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`), or lower SLT_WORKERS",
    errno.ENFILE: "raise the machine's limit on open files, or lower SLT_WORKERS",
    errno.EIO: "look at the disk",
}
_NUMBERED = re.compile(r"(?:\[errno |os error )(\d+)", re.IGNORECASE)  # as Arrow's and Rust's messages have it
_NO_MEMORY = ("can't allocate", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""how C++ libraries say so in an error of no type of its own"""
_MICRO_BATCH = "lower training.micro_batch and raise training.accumulate by the same factor"
_TEACHER = "lower SLT_WORKERS, or set SLT_DEVICE=cpu where a GPU's does not do: the teacher's batches are fixed"
_MEMORY = {
    "features": "lower features.batch or SLT_WORKERS",
    "targets": _TEACHER,
    "wikipedia": f"{_TEACHER}; wikipedia.max_sentences is what the host holds",
    "sign2sem": _MICRO_BATCH,
    "sem2text": _MICRO_BATCH,
    "finetune": _MICRO_BATCH,
    "ceiling": "lower evaluate.batch",
    "evaluate": "lower evaluate.batch",
}
"""what each stage that computes can do with less memory; the others decode and write with processes alone"""


def out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or of a GPU did not suffice."""
    # by name: this module is imported by stages that must not import torch
    by_type = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    return by_type or any(words in str(error) for words in _NO_MEMORY)


def explain(error: BaseException, stage: str = "") -> str | None:
    """One line for an error of the machine, with its number and what to change; None for any other error.

    Of a lack of memory it says what helps in this ``stage``.

    Libraries wrap the system's error (torch.save raises a RuntimeError after a failed write), so the whole chain of
    causes is looked through, and the text where a C++ or Rust library left nothing but text.
    """
    link: BaseException | None = error
    while link is not None:
        if (line := _explain(link, stage)) is not None:
            return f"{line}, {AGAIN}"
        link = link.__cause__ or link.__context__
    return None


def _explain(error: BaseException, stage: str) -> str | None:
    if out_of_memory(error):
        said = str(error).splitlines()[0] if str(error) else "host"
        return f"out of memory ({said}); free what other processes hold, or {_MEMORY.get(stage, 'lower SLT_WORKERS')}"
    number = getattr(error, "errno", None)
    if number is None and (found := _NUMBERED.search(str(error))):
        number = int(found[1])
    if number not in _ADVICE:
        return None
    name = getattr(error, "filename", None)
    return f"{error}{_room(number, name)}; {_ADVICE[number]}"


def _room(number: int, name: object) -> str:
    if number != errno.ENOSPC:
        return ""
    folder = Path(str(name)).parent if name else Path.cwd()
    while not folder.exists():
        folder = folder.parent
    return f" ({shutil.disk_usage(folder).free / 1e6:.0f} MB free in {folder})"
