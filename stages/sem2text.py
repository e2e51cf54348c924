"""Stage sem2text: monolingual text and its SEMs to a text decoder."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from slt import launch, paths
from slt.clips import chosen_clips
from slt.config.base import read_params, section
from slt.config.data import TeacherConfig
from slt.config.train import (
    ParallelConfig,
    PretrainedDecoderConfig,
    Sem2textConfig,
    decoder_section,
    decoder_training,
)
from slt.manifest import Clip, read_manifest
from slt.model_folder import save_model
from slt.models.pretrained_decoder import Source
from slt.ranks import together
from slt.sem2text import Sem2text, Sentences, chosen_sentences, new_decoder
from slt.stage import run
from slt.store import code_sha256, file_sha256, fingerprint, folder_sha256, publish, work_folder
from slt.targets import Targets
from slt.training import train
from slt.wikipedia import WikipediaText


def main(dataset: str, teacher: str, decoder: str) -> None:
    """Train a text decoder on one teacher's embeddings of monolingual text."""
    params = read_params()
    config = section(Sem2textConfig, params, f"{dataset}.sem2text")
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    where = f"{dataset}.decoders.{decoder}"
    decoder_config = decoder_section(params, where)
    config = replace(config, training=decoder_training(config.training, decoder_config, where))
    teacher_config = section(TeacherConfig, params, f"{dataset}.teachers.{teacher}")
    inputs = [
        paths.corpus_dir(dataset) / "manifest.parquet",
        paths.wikipedia_dir(dataset, teacher),
        paths.targets_dir(dataset, teacher),
    ]
    source = None
    if isinstance(decoder_config, PretrainedDecoderConfig):
        source = Source.open(decoder_config.pretrained, f"{where}.pretrained")
    key = fingerprint(
        "sem2text",
        code_sha256(__file__),
        asdict(config),
        asdict(parallel),
        asdict(decoder_config),
        source and source.sha256,
        file_sha256(inputs[0]),
        [folder_sha256(path) for path in inputs[1:]],
    )
    work = work_folder("sem2text", key)

    clips = read_manifest(inputs[0])
    wikipedia, targets = WikipediaText.open(inputs[1]), Targets.open(inputs[2])
    texts, sems, languages = chosen_sentences(wikipedia.sentences("train"), config.monolingual, parallel.languages)
    sems = targets.space.apply(sems)
    own = chosen_clips([clip for clip in clips if clip.split == "train"], parallel)
    own_texts = [clip.text for clip in own]
    # finetune writes the corpus' sentences, whether or not they are trained on here
    vocabulary_texts = [*texts, *own_texts] if config.train_text or source is not None else texts
    if config.train_text:
        texts, sems = texts + own_texts, np.concatenate([sems, targets.matrix([clip.id for clip in own])])
        languages = languages + [clip.language for clip in own]
    dev = held_out(config, parallel.languages, clips, targets, wikipedia)
    model, tokenizer = new_decoder(
        decoder_config,
        source,
        vocabulary_texts,
        teacher_config.size,
        targets.space,
        config.seed,
        where,
        sorted({clip.language for clip in clips}),
    )
    phase = Sem2text(model, tokenizer, config, decoder_config.max_tokens, (texts, sems, languages), dev)
    done = train(phase, config.training, config.seed, work)
    if not launch.leads():
        return
    notes = {"sentences": len(texts), "cut_sentences": phase.cut, "unknown_tokens": phase.unknown}
    save_model(work / "model", model, done, phase.select, notes)
    tokenizer.save_pretrained(work / "model")
    publish(work, paths.sem2text_dir(dataset, teacher, decoder), "model")


def held_out(
    config: Sem2textConfig,
    languages: Sequence[str] | None,
    clips: Sequence[Clip],
    targets: Targets,
    wikipedia: WikipediaText,
) -> Sentences:
    """The dev sentences in these ``languages`` (None: all) and their SEMs, as ``select_on`` says whose."""
    if config.select_on == "monolingual":
        texts, sems, spoken = chosen_sentences(wikipedia.sentences("dev"), 1.0, languages)
        return texts, targets.space.apply(sems), spoken
    held = [clip for clip in clips if clip.split == "dev" and (languages is None or clip.language in languages)]
    return [clip.text for clip in held], targets.matrix([clip.id for clip in held]), [clip.language for clip in held]


if __name__ == "__main__":
    run("sem2text", ["dataset", "teacher", "decoder"], together(main))
