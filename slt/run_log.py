"""What was really computed, attempt by attempt: one line a shard, training step or evaluation, kills included.

A run that was killed and taken up must end with the same bytes, and must not have started from zero: the second can
only be told from a count. The log is no result: it stays in the work root and nothing reads it but people and
`benchmarks/kills.py`.
"""

import json
import os
import time
from pathlib import Path

RUN_LOG = "run-log.jsonl"


def executed(work: Path, what: str, name: str | int) -> None:
    """Append that this process has just made ``name`` (a shard's file, a step's number) for the work folder's key.

    One write of one line to ``<work root>/<stage>/run-log.jsonl``: a SIGKILL loses at most the entry it interrupts.
    """
    entry = {"key": work.name, what: name, "process": os.getpid(), "time": round(time.time(), 3)}
    log = os.open(work.parent / RUN_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, (json.dumps(entry) + "\n").encode())
    finally:
        os.close(log)
