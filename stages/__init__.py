"""One thin script per stage; started by another python than the environment's, each says so in one line."""

import sys
from types import TracebackType


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in ("", "slt", "stages"):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(
            f"{sys.executable} has no package `{missing}`: activate the environment (`. .venv/bin/activate`; "
            "`make env` builds it), or install requirements.txt\n"
        )


sys.excepthook = _explain
