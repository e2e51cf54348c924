"""``scores.json`` of one evaluation: every metric of every split and condition, and the diagnostics."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from slt.bootstrap import bootstrap, draw
from slt.config.evaluate import EvaluateConfig
from slt.diagnostics import diagnose
from slt.evaluations import SEM_SPLIT, Record, Sems, check_records, check_sems
from slt.metrics import BLEU_13A, CHRF2, Statistics, corpus_statistics, no_score
from slt.wer import WER

log = logging.getLogger("slt")


def score_folder(
    records: Iterable[Record], config: EvaluateConfig, sems: Sems | None = None, *, language: str | None = None
) -> dict[str, Any]:
    """All of ``scores.json``: scores by split, condition and metric, then ``diagnostics`` and ``interval``.

    A score is ``Score.as_dict()`` or ``{"value": null, "reason": …}``. Diagnostics are of the system itself, for
    a ceiling of ``oracle_sem``; where a split has several languages, also of each. ``language`` (ISO 639-1) picks the
    list of function words. One draw serves all
    conditions and metrics of a split, in the order of ids, so that systems are compared on the same resamples.
    Raises DataError when the records contradict each other or the SEMs are of other clips.
    """
    ordered = check_records(records, "records")
    if sems is not None:
        check_sems(sems, ordered, "records")
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in ordered:
        groups.setdefault(record.split, {}).setdefault(record.condition, []).append(record)
    content: dict[str, Any] = {}
    diagnostics: dict[str, Any] = {}
    for split, conditions in groups.items():
        content[split] = {}
        for condition, group in conditions.items():
            log.info("scoring %s, %s: %d clips", split, condition, len(group))
            content[split][condition] = _scores(group, config)
        condition, group = next(iter(conditions.items()))  # check_records put the system before its controls
        own_sems = sems if split == SEM_SPLIT else None
        diagnostics[split] = {"condition": condition, **diagnose(group, config, own_sems, language)}
        languages = sorted({record.language for record in group if record.language is not None})
        if languages:
            diagnostics[split]["languages"] = {
                name: _of_language([record for record in group if record.language == name], config, own_sems, name)
                for name in languages
            }
    content["diagnostics"] = diagnostics
    content["interval"] = {
        "resamples": config.resamples,
        "seed": config.seed,
        "confidence": config.confidence,
    }
    return content


def _of_language(records: Sequence[Record], config: EvaluateConfig, sems: Sems | None, language: str) -> dict[str, Any]:
    """Scores of the part of a split whose references are in one language, as if it were the corpus."""
    found = diagnose(records, config, sems, language)
    drawn = draw(len(records), config.resamples, config.seed, config.confidence)
    texts = [record.hypothesis for record in records], [[record.reference] for record in records]
    return {
        "n": len(records),
        **{metric.name: bootstrap(metric.statistics(*texts), drawn).as_dict() for metric in (BLEU_13A, CHRF2)},
        **{key: found[key] for key in ("bleu_content", "retrieval")},
    }


def _scores(records: Sequence[Record], config: EvaluateConfig) -> dict[str, Any]:
    statistics = corpus_statistics(
        [record.hypothesis for record in records], [record.all_references() for record in records], config.bleurt
    )
    statistics[WER.name] = _wer(records)
    scores = {}
    for name, value in statistics.items():
        if isinstance(value, str):
            scores[name] = no_score(value)
        else:
            drawn = draw(value.n, config.resamples, config.seed, config.confidence)
            scores[name] = bootstrap(value, drawn).as_dict()
    return scores


def _wer(records: Sequence[Record]) -> Statistics | str:
    hypotheses = [record.gloss_hypothesis for record in records if record.gloss_hypothesis is not None]
    if not hypotheses:
        return "no glosses: this system or control recognises none"
    references = [record.gloss_reference or "" for record in records]
    missing = [record.id for record, line in zip(records, references, strict=True) if not line.split()]
    if missing:
        return f"{len(missing)} of {len(records)} clips have no gloss, the first: {missing[0]}"
    return WER.statistics(hypotheses, references)
