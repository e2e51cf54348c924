"""The folder of an evaluation: what the evaluate stage hands to `tables`, its writer, its reader, its checks.

One folder holds one system (``data/evaluations/rows/<row>``) or one ceiling, the reconstruction of corpus text
from true SEMs (``data/evaluations/sem2text/<dataset>-<teacher>-<decoder>``), as five files:

* ``hypotheses.jsonl``: one :class:`Record` a line, ordered by split, condition and id;
* ``scores.json``: what :func:`slt.scoring.score_folder` returns;
* ``info.json``: :class:`Info`, with the sha256 of ``hypotheses.jsonl``;
* ``curves.csv``: ``step,series,value`` of the training;
* ``sems.npz``: predicted and true SEMs of the test split, where the system predicts any.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slt.arrays import read_npz
from slt.config.base import parse
from slt.errors import ConfigError, DataError, StoreError
from slt.manifest import Clip
from slt.store import canonical, file_sha256, read_json, replacing, write_json

SPLITS = ("dev", "test")
CONDITIONS = ("model", "oracle_sem", "shuffled_sem", "shuffled_features", "constant")
SEM_SPLIT = "test"


@dataclass(frozen=True)
class Record:
    """One hypothesis beside what it should have been.

    ``condition`` is ``model`` or the control that wrote the hypothesis. ``references`` holds further correct
    translations, as in the manifest; whether ``reference`` is repeated there makes no difference.
    ``reference_in_train`` says that this very sentence is also the text of a training clip. ``gloss_hypothesis`` is the
    gloss line of a system that recognises glosses, ``gloss_reference`` the corpus' own where the clip has one.
    ``language`` is the reference's where the split has several, else None, and then not in the file.
    """

    id: str
    split: str
    condition: str
    hypothesis: str
    reference: str
    references: tuple[str, ...]
    signer: str | None
    signer_in_train: bool | None
    reference_in_train: bool
    gloss_hypothesis: str | None = None
    gloss_reference: str | None = None
    language: str | None = None

    def all_references(self) -> list[str]:
        """The reference, then the further ones, each once."""
        return list(dict.fromkeys([self.reference, *self.references]))


@dataclass(frozen=True)
class Info:
    """What was evaluated. ``row``, ``system`` and ``baseline`` are None for a ceiling.

    ``provenance`` holds at least ``gloss_free`` (None: unknown), for a row also ``backbone`` and ``weights``, and
    ``corpus_warning`` where :func:`corpus_warning` has one; ``training`` at least ``steps`` and ``plateaued``.
    """

    dataset: str
    teacher: str
    decoder: str
    provenance: dict[str, Any]
    training: dict[str, Any]
    row: str | None = None
    system: str | None = None
    seed: int | None = None
    baseline: str | None = None
    hypotheses_sha256: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for part, keys in (("provenance", ("gloss_free",)), ("training", ("steps", "plateaued"))):
            missing = [key for key in keys if key not in getattr(self, part)]
            if missing:
                raise ValueError(f"{part} lacks {', '.join(missing)}")


@dataclass(frozen=True)
class Sems:
    """Sentence embeddings of the test clips: ``predicted`` and ``true``, both clips × size, rows as in ``ids``."""

    ids: tuple[str, ...]
    predicted: np.ndarray
    true: np.ndarray

    def __post_init__(self) -> None:
        if self.predicted.ndim != 2 or self.predicted.shape != self.true.shape or len(self.ids) != len(self.true):
            raise DataError(
                f"SEMs of {len(self.ids)} ids do not fit: predicted {self.predicted.shape}, true {self.true.shape}"
            )
        for name, array in (("predicted", self.predicted), ("true", self.true)):
            bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
            if len(bad):
                raise DataError(f"the {name} SEM of clip {self.ids[bad[0]]} is not finite ({len(bad)} such clips)")


@dataclass(frozen=True)
class Point:
    """One value of a training curve; ``series`` is, for example, ``dev_bleu`` or ``train_loss_sem``."""

    step: int
    series: str
    value: float


@dataclass(frozen=True)
class Evaluation:
    """A folder as read: ``name`` is the row, or ``<dataset>-<teacher>-<decoder>`` of a ceiling."""

    name: str
    info: Info
    records: list[Record]
    scores: dict[str, Any]
    curves: list[Point]
    sems: Sems | None

    def select(self, split: str, condition: str) -> list[Record]:
        """Records of one split and condition, ordered by id; empty when there are none."""
        return [record for record in self.records if (record.split, record.condition) == (split, condition)]


def corpus_warning(corpus: Path) -> dict[str, str]:
    """``{"corpus_warning": …}`` where the data report in a ``corpus`` folder has one, as of a rehearsal, or nothing."""
    warning = read_json(corpus / "report.json")["notes"].get("warning")
    return {"corpus_warning": warning} if warning else {}


def write_evaluation(
    folder: Path,
    records: Iterable[Record],
    info: Info,
    scores: dict[str, Any],
    curves: Iterable[Point],
    sems: Sems | None = None,
) -> None:
    """Write the five files; ``info.hypotheses_sha256`` is filled in here.

    Raises DataError when the records contradict each other (:func:`check_records`) or the SEMs are of other clips.
    """
    name = info.row or folder.name
    records = check_records(records, name)
    if sems is not None:
        check_sems(sems, records, name)
    with replacing(folder / "hypotheses.jsonl") as temporary:
        text = "".join(canonical(_as_dict(record)) + "\n" for record in records)
        temporary.write_text(text, encoding="utf-8")
    if sems is not None:
        with replacing(folder / "sems.npz") as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                ids=np.array(sems.ids, dtype=np.str_),
                predicted=sems.predicted.astype(np.float32),
                true=sems.true.astype(np.float32),
            )
    with replacing(folder / "curves.csv") as temporary:
        temporary.write_text(csv_text(["step", "series", "value"], map(dataclasses.astuple, curves)), encoding="utf-8")
    write_json(folder / "scores.json", scores)
    sha256 = file_sha256(folder / "hypotheses.jsonl")
    content = dataclasses.asdict(dataclasses.replace(info, hypotheses_sha256=sha256))
    if info.row is None:
        content = {key: value for key, value in content.items() if key not in ("row", "system", "baseline")}
    write_json(folder / "info.json", content)


def _as_dict(record: Record) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(record).items() if key != "language" or value is not None}


def read_evaluation(folder: Path) -> Evaluation:
    """Read a folder back, whole.

    Raises DataError when a file is missing or the records contradict each other, StoreError when a file is
    damaged or ``hypotheses.jsonl`` is not the file that was scored.
    """
    info_path = folder / "info.json"
    try:
        info = parse(Info, read_json(info_path), info_path.name)
    except ConfigError as error:
        raise StoreError(f"{info_path}: not what evaluate writes ({error}); run `dvc repro` again") from error
    path = folder / "hypotheses.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it (`dvc repro`) first")
    if file_sha256(path) != info.hypotheses_sha256:
        raise StoreError(f"{path}: changed since it was scored (sha256 differs from info.json); run `dvc repro`")
    name = info.row or folder.name
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: a hypothesis may hold U+2028
        rows = [json.loads(line) for line in lines if line]
        records = [Record(**{**row, "references": tuple(row["references"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: not what evaluate writes ({error}); run `dvc repro` again") from error
    records = check_records(records, name)
    sems = _read_sems(folder / "sems.npz")
    if sems is not None:
        check_sems(sems, records, name)
    return Evaluation(name, info, records, read_json(folder / "scores.json"), _read_curves(folder), sems)


def _read_sems(path: Path) -> Sems | None:
    if not path.is_file():
        return None
    try:
        ids, predicted, true = read_npz(path, ("ids", "predicted", "true"))
        return Sems(tuple(map(str, ids)), predicted, true)
    except (DataError, TypeError) as error:  # the latter of ids that are no list
        raise StoreError(f"{path}: unreadable ({error}); delete it and run `dvc repro` to rebuild it") from error


def _read_curves(folder: Path) -> list[Point]:
    path = folder / "curves.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it (`dvc repro`) first")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [Point(int(row["step"]), row["series"], float(row["value"])) for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a table of step,series,value ({error}); run `dvc repro` again") from error


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated text with ``\\n`` line ends on every system."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def check_records(records: Iterable[Record], name: str) -> list[Record]:
    """The records in canonical order: split, condition (model first), id.

    Raises DataError naming ``name`` and the clips when a clip appears twice or in two splits, when the
    conditions of a split cover different clips, or when they disagree on a clip's reference.
    """
    records = list(records)
    if not records:
        raise DataError(f"{name}: no hypothesis at all; is the dev or test split empty?")
    for record in records:
        if record.split not in SPLITS or record.condition not in CONDITIONS:
            raise DataError(
                f"{name}: clip {record.id}: split `{record.split}`, condition `{record.condition}`;"
                f" known are {', '.join(SPLITS)} and {', '.join(CONDITIONS)}"
            )
    records.sort(key=lambda r: (SPLITS.index(r.split), CONDITIONS.index(r.condition), r.id))
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    split_of: dict[str, str] = {}
    for record in records:
        group = groups.setdefault((record.split, record.condition), {})
        if record.id in group:
            raise DataError(f"{name}: {record.split}: clip {record.id} has two `{record.condition}` hypotheses")
        group[record.id] = record
        if split_of.setdefault(record.id, record.split) != record.split:
            raise DataError(f"{name}: clip {record.id} is in {split_of[record.id]} and in {record.split}")
    for split in SPLITS:
        first: tuple[str, dict[str, Record]] | None = None
        for (group_split, condition), group in groups.items():
            if group_split != split:
                continue
            if first is None:
                first = (condition, group)
            else:
                same_clips(first[1].values(), group.values(), f"{name} ({first[0]})", f"{name} ({condition})", split)
    return records


def same_clips(a: Iterable[Record], b: Iterable[Record], name_a: str, name_b: str, split: str) -> None:
    """Check that two systems were scored on the same clips against the same references.

    Raises DataError naming both systems and the clips: figures on different clips cannot be compared.
    """
    first, second = ({record.id: record for record in records} for records in (a, b))
    _same_ids(set(first), set(second), name_a, name_b, split)
    for clip_id, record in first.items():
        if record.all_references() != second[clip_id].all_references():
            raise DataError(
                f"{split}: {name_a} and {name_b} have different references for clip {clip_id}:"
                f" {record.all_references()} and {second[clip_id].all_references()}"
            )


def check_clips(records: Iterable[Record], clips: Iterable[Clip], name: str) -> None:
    """Check that every condition and split of ``records`` covers exactly the manifest's clips of that split.

    ``clips`` may hold any splits; those without a record at all are not asked for. Raises DataError naming the
    clips that are missing, unknown, or scored against another text than the manifest's.
    """
    texts: dict[str, dict[str, str]] = {}
    for clip in clips:
        texts.setdefault(clip.split, {})[clip.id] = clip.text
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for record in check_records(records, name):
        groups.setdefault((record.split, record.condition), {})[record.id] = record
    for (split, condition), group in groups.items():
        expected = texts.get(split, {})
        _same_ids(set(expected), set(group), "the manifest", f"{name} ({condition})", split)
        for clip_id, record in group.items():
            if record.reference != expected[clip_id]:
                raise DataError(
                    f"{name}: {split}: clip {clip_id} is scored against {record.reference!r},"
                    f" the manifest has {expected[clip_id]!r}"
                )


def check_sems(sems: Sems, records: Iterable[Record], name: str) -> None:
    """Check that the SEMs are those of the test clips, each once; DataError names the clips that differ."""
    if len(set(sems.ids)) != len(sems.ids):
        twice = next(clip_id for i, clip_id in enumerate(sems.ids) if clip_id in sems.ids[:i])
        raise DataError(f"{name}: clip {twice} has two SEMs")
    expected = {record.id for record in records if record.split == SEM_SPLIT}
    _same_ids(expected, set(sems.ids), f"{name} (hypotheses)", f"{name} (SEMs)", SEM_SPLIT)


def _same_ids(a: set[str], b: set[str], name_a: str, name_b: str, split: str) -> None:
    if a == b:
        return
    parts = []
    for missing, name in ((sorted(a - b), name_b), (sorted(b - a), name_a)):
        if missing:
            shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            parts.append(f"{name} lacks {len(missing)} of them: {shown}")
    raise DataError(
        f"{split}: {name_a} and {name_b} do not hold the same clips; {'; '.join(parts)}; evaluate both again"
    )
