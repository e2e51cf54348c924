"""PHOENIX-2014T as the files ``phoenix14t.pami0.{train,dev,test}`` that the SLTr line of work trains on.

Camgöz et al. (2020, github.com/neccam/slt) give text, gloss and 1024 features per frame in gzip-compressed pickles.
Their network was trained with gloss, so no system that reads them is gloss-free. Several copies go round under the
same names; training on the wrong one gave 11 BLEU instead of 19, so each file is told apart by size and hash.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slt import paths
from slt.config.base import parse
from slt.config.data import CorpusConfig
from slt.corpora import NAMED, ClipsInTwoSplits, Reading, check_name
from slt.corpora.phoenix14t import SHOWN, check_disjoint
from slt.errors import DataError
from slt.manifest import SPLITS, Clip
from slt.pickles import read_pickle
from slt.stage import progress
from slt.store import file_sha256

log = logging.getLogger("slt.corpora.phoenix14t_pami0")

KEYS = ("name", "signer", "gloss", "text", "sign")
# bytes and first digits of sha256 of the files that their authors restored (neccam/nslt issue 38), measured by others
OFFICIAL = {
    "train": (1_935_289_362, "196842893dd4"),
    "dev": (130_831_227, "5be78d8488ea"),
    "test": (151_327_204, "068c85c2f675"),
}
OFFICIAL_ARTEFACT = "official"
MIRROR = {
    1_449_330_684: "the Hugging Face mirror lavinal712/slt (by size): not the official features, known to score less"
}


@dataclass(frozen=True)
class Pami0Config:
    """The adapter's options, ``<dataset>.corpus.options``."""

    files: dict[str, tuple[str, ...]]
    """per split: the feature files; several hold other features of the same clips, and are joined frame by frame"""
    precision: Literal["float16", "float32"] = "float16"
    """of the converted files; the shards are float16 in any case"""

    def __post_init__(self) -> None:
        if set(self.files) != set(SPLITS) or not all(self.files.values()):
            raise ValueError(f"files needs the keys {', '.join(SPLITS)}, each with one file or more")


def read_options(config: CorpusConfig, where: str) -> Pami0Config:
    """The adapter's parameters, checked; ConfigError names the key below ``where``, the corpus section."""
    return parse(Pami0Config, config.options, f"{where}.options")


def read(config: CorpusConfig, dataset: str, out: Path) -> Reading:
    """Read the feature files and write one ``.npy`` (frames, features) per clip below ``out / "raw" / "features"``.

    Clips without text or features and repeated names are dropped with their reason. A split's features are held in
    memory while they are converted, about 7 GB for train. Raises DataError for a file that is missing, damaged or
    holds anything but such records, for a name that leads out of its folder, a clip in two splits, also under two
    names, and files to be joined that do not agree. Logs a warning, and keeps it in the notes, when a file is not the
    official one or a clip was dropped.
    """
    options = read_options(config, f"{dataset}.corpus")
    folder = out / "raw" / "features"
    published = paths.corpus_dir(dataset) / "raw" / "features"
    reading = Reading([])
    files: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    other_length: list[str] = []
    shown = ClipsInTwoSplits(by_content=True)
    for split in SPLITS:
        sources = [paths.resolve(spec) for spec in options.files[split]]
        for source in sources:
            files.append(describe(source, split))
        records = read_records(sources[0], split)
        for source in sources[1:]:
            join(records, read_records(source, split), source)
        reading.rows[split] = len(records)
        reading.annotation[split] = str(sources[0])
        names[split] = [record["name"] for record in records]
        check_disjoint(names, sources[0])
        seen: set[str] = set()
        (folder / split).mkdir(parents=True, exist_ok=True)
        for record in progress(records, f"converting {split} features", unit="clip"):
            name, sign = record["name"], record.pop("sign")
            reason = "duplicate id" if name in seen else _why_dropped(record["text"], sign)
            seen.add(name)
            if reason is not None:
                reading.dropped.append((split, name, reason))
                continue
            # not through `replacing`: the stage publishes the whole folder, and 8,000 syncs would take minutes
            features = _cast(sign, options.precision, sources[0], name)
            np.save(folder / split / f"{name}.npy", features)
            if record["num_frames"] not in (None, len(sign)):
                other_length.append(f"{name}: {len(sign)} rows of features, num_frames says {record['num_frames']}")
            clip = Clip(
                id=name,
                split=split,
                language=config.language,
                sign_language=config.sign_language,
                video="",
                text=record["text"],
                gloss=record["gloss"] or None,
                signer=record["signer"] or None,
                frames=len(sign),
                fingerprint=f"sha256:{hashlib.sha256(f'{features.shape}'.encode() + features.tobytes()).hexdigest()}",
                features=(published / split / f"{name}.npy").as_posix(),
            )
            other = shown.elsewhere(clip)
            if other is not None:
                raise DataError(
                    f"{sources[0]}: clip `{name}` of {split} has the same features as clip `{other.id}` of "
                    f"{other.split}: scores would be meaningless; get the files again"
                )
            reading.clips.append(clip)
    reading.notes["files"] = files
    reading.notes["other_length"] = {"clips": len(other_length), "first": other_length[:SHOWN]}
    if other_length:
        log.warning(
            "%s: %d clips have another number of features than frames: %s; check that its feature files are whole and "
            "of the same release",
            dataset,
            len(other_length),
            "; ".join(other_length[:NAMED]) + (" …" if len(other_length) > NAMED else ""),
        )
    reading.features = {"gloss_free": False, "files": files}
    lacking = _not_the_release(files, len(reading.dropped))
    if lacking is not None:
        reading.notes["warning"] = lacking
        log.warning("%s.corpus: %s; github.com/neccam/nslt issue 38 says where its files are", dataset, lacking)
    return reading


def _not_the_release(files: list[dict[str, Any]], dropped: int) -> str | None:
    """Which files are not the official ones, and how many of their clips were dropped; None for all of the release."""
    others = [f"{each['file']} is {each['artefact']}" for each in files if each["artefact"] != OFFICIAL_ARTEFACT]
    if dropped:
        others.append(f"{dropped} clips dropped")
    return f"not PHOENIX-2014T as its authors give its features: {', '.join(others)}" if others else None


def describe(path: Path, split: str) -> dict[str, Any]:
    """Name, bytes, sha256 of a feature file and which of the known artefacts it is; DataError when it is missing."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file of {split} features; github.com/neccam/nslt issue 38 says where its authors put "
            "them; set SLT_RAW or correct corpus.options.files"
        )
    size, sha256 = path.stat().st_size, file_sha256(path)
    bytes_, prefix = OFFICIAL[split]
    if size == bytes_ and sha256.startswith(prefix):
        artefact = OFFICIAL_ARTEFACT
    else:
        artefact = MIRROR.get(size, "unknown: neither the official file nor a known copy")
    return {"split": split, "file": path.name, "bytes": size, "sha256": sha256, "artefact": artefact}


def read_records(path: Path, split: str) -> list[dict[str, Any]]:
    """The records of one file: name (without the leading ``<split>/``), signer, gloss, text, sign (frames, features).

    ``num_frames`` is what the record says of its length; None where it does not, as it need not.

    Raises DataError for a file that is no gzip-compressed pickle of such records, naming the first that does not fit.
    """
    log.info("reading %s", path)
    found = read_pickle(path)
    if not isinstance(found, list) or not found:
        raise DataError(f"{path}: holds a {type(found).__name__}, expected a list of records; get the file again")
    records = []
    for number, record in enumerate(found):
        missing = [key for key in KEYS if not isinstance(record, dict) or key not in record]
        if missing:
            raise DataError(f"{path}: record {number} lacks {', '.join(missing)}; this is no file of sign features")
        wrong = [key for key in KEYS[:-1] if not isinstance(record[key], str)]
        if wrong or not isinstance(record["sign"], np.ndarray):
            raise DataError(f"{path}: record {number}: {(*wrong, 'sign')[0]} is of another type than in the release")
        part, _, name = record["name"].strip().rpartition("/")
        if part != split or not name:
            raise DataError(
                f"{path}: record {number} is named `{record['name']}`, expected `{split}/<name>`: it leads out of the "
                f"folder of clips, or this is not the {split} file"
            )
        check_name(name, f"{path}: the name")
        texts = {key: " ".join(record[key].split()) for key in ("signer", "gloss", "text")}
        frames = record.get("num_frames")
        frames = frames if isinstance(frames, int) else None
        records.append({"name": name, **texts, "sign": record["sign"], "num_frames": frames})
    return records


def join(records: list[dict[str, Any]], others: list[dict[str, Any]], path: Path) -> None:
    """Append the features of ``others``, read from ``path``, to those of the same clips in ``records``, in place.

    Raises DataError unless both hold the same names, texts, glosses, signers and numbers of frames.
    """
    by_name = {record["name"]: record for record in others}
    if len(by_name) != len(others) or set(by_name) != {record["name"] for record in records}:
        raise DataError(f"{path}: does not hold the same clips as the file it is to be joined with")
    for record in records:
        other = by_name[record["name"]]
        differing = [key for key in ("signer", "gloss", "text") if record[key] != other[key]]
        if differing or record["sign"].ndim != 2 or other["sign"].shape[:1] != record["sign"].shape[:1]:
            raise DataError(
                f"{path}: clip `{record['name']}`: {(*differing, 'sign')[0]} does not agree with the file it is to be "
                "joined with"
            )
        record["sign"] = np.concatenate([record["sign"], other["sign"]], axis=1)


def _why_dropped(text: str, sign: np.ndarray) -> str | None:
    if not text:
        return "empty text"
    return None if sign.size else "no features"


def _cast(sign: np.ndarray, precision: str, path: Path, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # found below
        cast = sign.astype(precision)
    if sign.ndim != 2 or not np.isfinite(cast).all():
        raise DataError(
            f"{path}: clip `{name}`: features of shape {sign.shape}, expected finite numbers of (frames, features)"
        )
    return cast
