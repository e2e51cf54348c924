"""What a system is asked to translate: the clips themselves, and the controls that tell how it does it.

Controls on test: ``oracle_sem`` gives the decoder the true SEM, ``shuffled_sem`` another clip's SEM,
``shuffled_features`` another clip's features, ``constant`` one sentence for all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slt.clips import ClipSet
from slt.config.train import SystemConfig
from slt.decoding import Search, encode_clips, recognise, translate
from slt.evaluations import Record, Sems
from slt.finetune import predicts_sem
from slt.manifest import Clip
from slt.models.translator import SignTranslator
from slt.run_log import executed
from slt.sem_metrics import cosines
from slt.store import read_json, write_json


def records(
    clips: Sequence[Clip],
    condition: str,
    hypotheses: Sequence[str],
    train: Sequence[Clip],
    glosses: Sequence[str] | None = None,
) -> list[Record]:
    """The hypotheses of one condition beside their references; ``train`` says what was seen in training.

    ``glosses`` are the gloss lines of a condition that recognises them.
    """
    signers = {clip.signer for clip in train}
    texts = {clip.text for clip in train}
    lines: Sequence[str | None] = [None] * len(clips) if glosses is None else glosses
    several = len({clip.language for clip in clips}) > 1
    return [
        Record(
            id=clip.id,
            split=clip.split,
            condition=condition,
            hypothesis=hypothesis,
            reference=clip.text,
            references=clip.references,
            signer=clip.signer,
            signer_in_train=None if clip.signer is None else clip.signer in signers,
            reference_in_train=clip.text in texts,
            gloss_hypothesis=line,
            gloss_reference=None if line is None else clip.gloss,
            language=clip.language if several else None,
        )
        for clip, hypothesis, line in zip(clips, hypotheses, lines, strict=True)
    ]


def system_records(
    model: SignTranslator,
    tokenizer: Any,
    search: Search,
    system: SystemConfig,
    train: ClipSet,
    dev: ClipSet,
    test: ClipSet,
    seed: int,
    work: Path,
) -> tuple[list[Record], Sems | None]:
    """The system's hypotheses for dev and test, its controls on test, and its predicted SEMs of test.

    What an interrupted run decoded is taken up from ``work``.
    """

    def search_all(
        clips: list[np.ndarray] | None, sems: np.ndarray | None, what: str, split: ClipSet = test
    ) -> list[str]:
        return _first_best(work, what, model, tokenizer, search, clips, sems, split.languages)

    out: list[Record] = []

    def gloss_lines(clips: list[np.ndarray], what: str) -> list[str] | None:
        if model.config.glosses is None:
            return None
        recognised = _once(work, what, lambda: recognise(model, clips, search.batch, search.beam))
        return [" ".join(glosses) for glosses in recognised]

    def add(split: ClipSet, condition: str, hypotheses: Sequence[str], glosses: Sequence[str] | None = None) -> None:
        out.extend(records(split.clips, condition, hypotheses, train.clips, glosses))

    add(dev, "model", search_all(dev.features, None, "dev", dev), gloss_lines(dev.features, "dev glosses"))
    hypotheses, glosses = search_all(test.features, None, "test"), gloss_lines(test.features, "test glosses")
    add(test, "model", hypotheses, glosses)
    other = derangement(test.languages, seed)
    # a clip's output depends on its own features alone (tested), so that swapping features swaps the outputs
    swapped = None if glosses is None else [glosses[i] for i in other]
    add(test, "shuffled_features", [hypotheses[i] for i in other], swapped)
    constants = {language: constant_sentence(train, language) for language in sorted(set(test.languages))}
    add(test, "constant", [constants[language] for language in test.languages])
    sems = None
    if predicts_sem(system):
        predicted = encode_clips(model, test.features, search.batch)
        sems = Sems(tuple(clip.id for clip in test.clips), predicted, test.sems)
        if "sem" in system.memory:
            frames = test.features if "frames" in system.memory else None
            add(test, "oracle_sem", search_all(frames, test.sems, "oracle SEM"))
            # without frames the decoder sees nothing but the SEM, so that swapping those swaps the outputs
            swapped_sems = (
                [hypotheses[i] for i in other]
                if frames is None
                else search_all(frames, predicted[other], "shuffled SEM")
            )
            add(test, "shuffled_sem", swapped_sems)
    return out, sems


def ceiling_records(
    model: SignTranslator,
    tokenizer: Any,
    search: Search,
    clips: Sequence[Clip],
    sems: np.ndarray,
    train: Sequence[Clip],
    work: Path,
) -> list[Record]:
    """Reconstructions of held-out corpus text from true SEMs (n, S), and from other sentences' as the control.

    What an interrupted run decoded is taken up from ``work``.
    """
    out = []
    for split in ("dev", "test"):
        members = [i for i, clip in enumerate(clips) if clip.split == split]
        chosen = [clips[i] for i in members]
        languages = [clip.language for clip in chosen]
        references = [clip.text for clip in chosen]
        hypotheses = _first_best(work, split, model, tokenizer, search, None, sems[members], languages, references)
        out += records(chosen, "oracle_sem", hypotheses, train)
        # as above: the output depends on the given SEM alone
        out += records(chosen, "shuffled_sem", [hypotheses[i] for i in derangement(languages, 0)], train)
    return out


def _first_best(
    work: Path,
    what: str,
    model: SignTranslator,
    tokenizer: Any,
    search: Search,
    clips: list[np.ndarray] | None,
    sems: np.ndarray | None,
    languages: Sequence[str],
    references: Sequence[str] | None = None,
) -> list[str]:
    def decode() -> list[str]:
        results = translate(
            model, tokenizer, search, clips=clips, sems=sems, what=what, languages=languages, references=references
        )
        return [result.sentences[0] for result in results]

    return _once(work, what, decode)


def _once(work: Path, what: str, make: Callable[[], list[Any]]) -> list[Any]:
    """What ``make`` gives, or gave in the run before: lists of strings, kept as JSON in the work folder."""
    path = work / "decoded" / f"{what}.json"
    if path.is_file():
        return list(read_json(path))
    made = make()
    write_json(path, made)
    executed(work, "decoded", what)
    return made


def derangement(languages: Sequence[str], seed: int) -> list[int]:
    """A permutation that leaves no item in its place (a random cycle in each language); one item alone must stay.

    Within a language, since a hypothesis depends on what it is written from and on the language that is asked for.
    """
    other = np.empty(len(languages), int)
    for language in sorted(set(languages)):
        members = np.array([i for i, own in enumerate(languages) if own == language])
        order = members[np.random.default_rng(seed).permutation(len(members))]
        other[order] = np.roll(order, 1)
    return other.tolist()


def constant_sentence(train: ClipSet, language: str) -> str:
    """The training sentence nearest to all others by SEM: the best guess without seeing the clip.

    It is in ``language``, unless nothing was trained on that has it.
    """
    own = train.of_languages([language]) if language in train.languages else train
    return own.texts[int(cosines(own.sems, own.sems).mean(1).argmax())]
