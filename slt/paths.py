"""Where everything lies: raw data, work folders, and the outputs of every stage.

All outputs are relative to the current directory, the checkout that DVC runs in. Raw media and work
folders may lie elsewhere: ``SLT_RAW`` and ``SLT_WORK`` override ``data/raw`` and ``data/work``, because
git-ignored folders do not travel into the temporary checkouts of ``dvc exp run --queue``.
"""

import os
from pathlib import Path

DATA = Path("data")
STAGE_TIMES = "stage-times.jsonl"  # in the work root: the seconds of every stage that ran


def raw_root() -> Path:
    """Folder that holds one folder of raw data per dataset (``SLT_RAW``)."""
    return Path(os.environ.get("SLT_RAW", DATA / "raw"))


def work_root() -> Path:
    """Folder for unfinished work, keyed by what is being made (``SLT_WORK``)."""
    return Path(os.environ.get("SLT_WORK", DATA / "work"))


def resolve(spec: str) -> Path:
    """Path of a ``raw:<path>`` (below ``SLT_RAW``), absolute, or checkout-relative specification."""
    if spec.startswith("raw:"):
        return raw_root() / spec.removeprefix("raw:")
    return Path(spec)


def corpus_dir(dataset: str) -> Path:
    return DATA / dataset / "corpus"


def frames_dir(dataset: str) -> Path:
    return DATA / dataset / "frames"


def features_dir(dataset: str) -> Path:
    return DATA / dataset / "features"


def targets_dir(dataset: str, teacher: str) -> Path:
    return DATA / dataset / "targets" / teacher


def wikipedia_dir(dataset: str, teacher: str) -> Path:
    return DATA / dataset / "wikipedia" / teacher


def sign2sem_dir(dataset: str, teacher: str) -> Path:
    return DATA / dataset / "sign2sem" / teacher


def sem2text_dir(dataset: str, teacher: str, decoder: str) -> Path:
    return DATA / dataset / "sem2text" / f"{teacher}-{decoder}"


def ceiling_dir(dataset: str, teacher: str, decoder: str) -> Path:
    """The reconstruction of corpus text from true SEMs, beside the rows so that ``tables`` finds both."""
    return DATA / "evaluations" / "sem2text" / f"{dataset}-{teacher}-{decoder}"


def finetune_dir(row: str) -> Path:
    return DATA / "finetune" / row


def evaluation_dir(row: str) -> Path:
    return DATA / "evaluations" / "rows" / row
