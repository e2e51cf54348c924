"""Scoring of anyone's output files: plain lines as sacrebleu reads them, or JSONL whose lines carry ids.

A name that ends in ``.jsonl`` is JSONL: one object a line with ``id`` and ``hypothesis`` or ``reference`` (or both,
as in the ``hypotheses.jsonl`` of the evaluate stage). Anything else is plain text, read exactly as sacrebleu's
command line does: UTF-8, a line ends at ``\\n`` and nowhere else, white space at its end is dropped.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt.bootstrap import bootstrap, draw, paired_test
from slt.config.evaluate import IntervalConfig
from slt.diagnostics import bucket_names, diagnose_text
from slt.errors import DataError
from slt.metrics import BLEU_13A, BLEU_RAW, CHRF2, Statistics, bleurt_statistics, no_score
from slt.reports import Notes, markdown_table, score_cell, signed_difference

TITLES = {"bleu": "BLEU", "bleu_raw": "BLEU, raw tokens", "chrf": "chrF", "bleurt": "BLEURT"}
KEYS = ("split", "condition")
BOM = "\ufeff"

log = logging.getLogger("slt")


@dataclass(frozen=True)
class Selection:
    """Which lines of a JSONL file count: those with this split and this condition, where lines carry the keys."""

    split: str = "test"
    condition: str = "model"


@dataclass(frozen=True)
class Texts:
    """Sentences of one file in its order; ``ids`` is None for plain lines. Lines are kept for messages."""

    path: Path
    texts: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    rows: tuple[dict[str, Any], ...] = ()

    def name(self, index: int) -> str:
        """How a message calls a sentence: by its line in plain text, by its id in JSONL."""
        return f"line {index + 1}" if self.ids is None else f"id {self.ids[index]}"


def score_files(
    hypotheses: Path,
    references: Sequence[Path] = (),
    baseline: Path | None = None,
    *,
    config: IntervalConfig,
    bleurt: str | None = None,
    language: str | None = None,
    selection: Selection | None = None,
    all_references: bool = False,
) -> dict[str, Any]:
    """Scores with intervals, diagnostics, and paired tests against a baseline, as a JSON-able dictionary.

    Without reference files the hypotheses' own ``reference`` keys are taken; ``all_references`` adds the further ones
    under ``references``. BLEU and chrF are against all references, as on sacrebleu's command line; BLEURT and the
    diagnostics are against the first. Sentences are in the order of the reference file (JSONL), so that two systems
    meet the same resamples.

    Raises DataError that names the file, and the line or id, for what cannot be scored: no sentence, not UTF-8, a
    broken line, an id that is missing or stands twice, different numbers of lines, a blank reference.
    """
    selection = selection or Selection()
    system = read_texts(hypotheses, "hypothesis", selection)
    if references:
        streams = [read_texts(path, "reference", selection) for path in references]
        own = _streams(streams, all_references)
    else:
        if system.ids is None:
            raise DataError(f"{hypotheses}: plain lines hold no reference; name the reference file with --ref")
        streams = [_own_references(system)]
        own = _streams(streams, all_references)
    texts = {"hyp": _aligned(system, streams[0])}
    if baseline is not None:
        other = read_texts(baseline, "hypothesis", selection)
        if not references:
            _same_references(streams[0], other, all_references)
        texts["baseline"] = _aligned(other, streams[0])
    found = {name: _statistics(hypothesis, own, bleurt) for name, hypothesis in texts.items()}
    n = len(own)
    drawn = draw(n, config.resamples, config.seed, config.confidence)

    def scores(name: str) -> dict[str, Any]:
        return {
            metric: no_score(value) if isinstance(value, str) else bootstrap(value, drawn).as_dict()
            for metric, value in found[name].items()
        }

    first = [several[0] for several in own]
    content: dict[str, Any] = {
        "hypotheses": str(hypotheses),
        "references": [str(stream.path) for stream in streams],
        "n": n,
        "interval": {"resamples": config.resamples, "seed": config.seed, "confidence": config.confidence},
        "scores": scores("hyp"),
        "diagnostics": diagnose_text(texts["hyp"], first, config, language),
    }
    if baseline is not None:
        tests = {}
        for metric, value in found["hyp"].items():
            beside = found["baseline"][metric]
            if isinstance(value, Statistics) and isinstance(beside, Statistics):
                tests[metric] = paired_test(value, beside, drawn).as_dict()
        content["baseline"] = {"hypotheses": str(baseline), "scores": scores("baseline"), "tests": tests}
    return content


def _statistics(hypotheses: list[str], references: list[list[str]], bleurt: str | None) -> dict[str, Statistics | str]:
    return {
        "bleu": BLEU_13A.statistics(hypotheses, references),
        "bleu_raw": BLEU_RAW.statistics(hypotheses, references),
        "chrf": CHRF2.statistics(hypotheses, references),
        "bleurt": bleurt_statistics(hypotheses, [own[0] for own in references], bleurt),
    }


def read_texts(path: Path, key: str, selection: Selection) -> Texts:
    """The sentences of a file, in JSONL those under ``key``; DataError names the file and the line at fault."""
    lines = _lines(path)
    if path.suffix.lower() == ".jsonl":
        return _read_jsonl(path, lines, key, selection)
    if not lines:
        raise DataError(f"{path}: empty; there is nothing to score")
    if all(line.startswith('{"') for line in lines):
        raise DataError(f"{path}: its lines are JSON, but its name says plain text; rename it to end in .jsonl")
    if lines[0].startswith(BOM):
        log.warning("%s: begins with a byte order mark, which is scored as a part of the first sentence", path)
    return Texts(path, tuple(line.rstrip() for line in lines))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: unreadable ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8; convert it first, as with `iconv -t utf-8`") from error
    lines = text.split("\n")  # not splitlines: a sentence may hold U+2028 or a lone carriage return
    return lines[:-1] if lines[-1] == "" else lines


def _read_jsonl(path: Path, lines: list[str], key: str, selection: Selection) -> Texts:
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, set[str]] = {name: set() for name in KEYS}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.removeprefix(BOM) if number == 1 else line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {number} is no JSON ({error.msg} at column {error.colno})") from error
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, brackets without end
            raise DataError(f"{path}: line {number} is no JSON that can be read ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("id"), str | int):
            raise DataError(
                f"{path}: line {number} has no id that is text or a whole number; each line is an object like"
                f' {{"id": …, "{key}": …}}'
            )
        if not isinstance(row.get(key), str):
            raise DataError(f"{path}: line {number} (id {row['id']}) has no text under `{key}`")
        for name in KEYS:
            if name in row:
                seen[name].add(str(row[name]))
        if any(row.get(name, wanted) != wanted for name, wanted in zip(KEYS, _wanted(selection), strict=True)):
            continue
        clip_id = str(row["id"])
        if clip_id in rows:
            raise DataError(f"{path}: line {number}: id {clip_id} stands twice")
        rows[clip_id] = row
    if not rows:
        held = "; ".join(f"{name} {', '.join(sorted(values))}" for name, values in seen.items() if values)
        if held:
            wanted = ", ".join(f"{name} {value}" for name, value in zip(KEYS, _wanted(selection), strict=True))
            raise DataError(f"{path}: no line of {wanted}; it holds {held}: choose with --split and --condition")
        raise DataError(f"{path}: empty; there is nothing to score")
    return Texts(path, tuple(row[key].rstrip() for row in rows.values()), tuple(rows), tuple(rows.values()))


def _wanted(selection: Selection) -> tuple[str, str]:
    return selection.split, selection.condition


def _own_references(system: Texts) -> Texts:
    """The ``reference`` keys beside the hypotheses; DataError names the first line without one."""
    for row in system.rows:
        if not isinstance(row.get("reference"), str):
            raise DataError(f"{system.path}: id {row['id']} has no `reference`; name the reference file with --ref")
    texts = tuple(row["reference"].rstrip() for row in system.rows)
    return Texts(system.path, texts, system.ids, system.rows)


def _streams(streams: list[Texts], all_references: bool) -> list[list[str]]:
    """All references of each sentence, in the order of the first stream."""
    columns = [streams[0].texts, *(_aligned(stream, streams[0]) for stream in streams[1:])]
    for stream in streams:
        blank = next((i for i, text in enumerate(stream.texts) if not text.strip()), None)
        if blank is not None:
            raise DataError(f"{stream.path}: {stream.name(blank)} is a blank reference; mend it, or drop the sentence")
    own = [list(several) for several in zip(*columns, strict=True)]
    if all_references:
        for references, row in zip(own, streams[0].rows, strict=False):
            further = [text.rstrip() for text in _further(row, streams[0].path)]
            references += [text for text in dict.fromkeys(further) if text and text not in references]
    return own


def _further(row: dict[str, Any], path: Path) -> list[str]:
    further = row.get("references") or []
    if not isinstance(further, list) or not all(isinstance(text, str) for text in further):
        raise DataError(f"{path}: id {row['id']}: `references` is no list of texts")
    return further


def _aligned(texts: Texts, order: Texts) -> list[str]:
    """The sentences in the order of another file; DataError names the first one that only one of them has."""
    if texts.ids is None or order.ids is None:
        if texts.ids is not order.ids:
            plain, other = (texts, order) if texts.ids is None else (order, texts)
            raise DataError(
                f"{plain.path} has plain lines and {other.path} has ids; give both as JSONL or both as plain lines"
            )
        if len(texts.texts) != len(order.texts):
            raise DataError(f"{texts.path} has {len(texts.texts)} lines, {order.path} has {len(order.texts)}")
        return list(texts.texts)
    position = {clip_id: i for i, clip_id in enumerate(texts.ids)}
    for lacking, having in ((texts, order), (order, texts)):
        held = set(lacking.ids or ())
        missing = [clip_id for clip_id in having.ids or () if clip_id not in held]
        if missing:
            raise DataError(f"{lacking.path} lacks id {missing[0]}, which {having.path} has ({len(missing)} such ids)")
    return [texts.texts[position[clip_id]] for clip_id in order.ids]


def _same_references(own: Texts, baseline: Texts, all_references: bool) -> None:
    """DataError when the baseline's file was written against other references than the system's."""
    if baseline.ids is None:
        return  # _aligned says what is wrong
    theirs = {str(row["id"]): row for row in baseline.rows}
    for row in own.rows:
        other = theirs.get(str(row["id"]), row)
        keys = ("reference", "references") if all_references else ("reference",)
        if any(other.get(key, row.get(key)) != row.get(key) for key in keys):
            raise DataError(
                f"{own.path} and {baseline.path} have different references for id {row['id']}; "
                "name the reference file with --ref"
            )


def report(content: dict[str, Any]) -> str:
    """The content of :func:`score_files` to be read in a terminal."""
    notes = Notes()
    interval, systems = content["interval"], {content["hypotheses"]: content["scores"]}
    if "baseline" in content:
        systems[f"baseline: {content['baseline']['hypotheses']}"] = content["baseline"]["scores"]
    lines = [
        f"{content['n']} sentences; ± is half of the {100 * interval['confidence']:g}% interval of"
        f" {interval['resamples']} bootstrap resamples (seed {interval['seed']})",
        "",
    ]
    rows = [[name, *(score_cell(scores[metric], notes) for metric in TITLES)] for name, scores in systems.items()]
    lines += markdown_table(["file", *TITLES.values()], rows)
    if "baseline" in content:
        tests = content["baseline"]["tests"]
        rows = [[TITLES[name], signed_difference(test), f"{test['p_value']:.4f}"] for name, test in tests.items()]
        lines += markdown_table(["paired bootstrap", "difference to the baseline", "p (one tail)"], rows)
    found = content["diagnostics"]
    kept = [name for name in bucket_names() if found["bleu_by_length"][name]["n"]]
    header = ["words in the reference", *(f"{name} (n={found['bleu_by_length'][name]['n']})" for name in kept)]
    lines += markdown_table(header, [["BLEU", *(score_cell(found["bleu_by_length"][name]["bleu"]) for name in kept)]])
    output = found["output"]
    header = ["output", "BLEU, content words", "length ratio", "empty", "distinct", "distinct references"]
    ratio = "–" if output["length_ratio"] is None else f"{output['length_ratio']:.2f}"
    shares = [f"{output[key]:.1%}" for key in ("empty", "distinct", "distinct_references")]
    lines += markdown_table(header, [["", score_cell(found["bleu_content"], notes), ratio, *shares]])
    for name, score in (*content["scores"].items(), ("bleu_content", found["bleu_content"])):
        if score["value"] is not None:
            lines.append(f"{name}: {score['signature']}")
    return "\n".join([*lines, *notes.lines()])
