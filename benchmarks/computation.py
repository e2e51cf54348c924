"""Where batching, caching and counting save work: targets, batches, decoding, bootstrap, Wikipedia, an idle repro.

    python benchmarks/computation.py [--rounds N] [--lengths FILE] [--out FILE.csv] [NAME …]

Needs a finished `dvc repro` of the demo in this checkout. ``--lengths`` is a table with a column ``num_frames`` (of
a real corpus), else the demo's clips are the training clips.
"""

# ruff: noqa: T201  (what it prints is its result)

import argparse
import bz2
import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder, installed or not

from side_by_side import Sheet

import slt.decoding
import slt.training
from slt import paths
from slt.batching import epoch_steps, pad_features
from slt.bootstrap import draw, resample
from slt.clips import load_clips
from slt.config.base import read_params, section
from slt.config.data import TeacherConfig
from slt.config.evaluate import EvaluateConfig
from slt.config.train import ParallelConfig, Sign2semConfig
from slt.decoding import Search, translate
from slt.evaluations import read_evaluation
from slt.feature_set import FeatureSet
from slt.manifest import read_manifest
from slt.metrics import BLEU_13A, BLEU_MULTI, BLEU_RAW, CHRF2, SacrebleuMetric
from slt.model_folder import load_model
from slt.models.sign_encoder import SignEncoder, random_transformer
from slt.sign2sem import ClipBatches, Sign2sem, new_encoder
from slt.targets import Targets
from slt.teacher import BATCH, Teacher
from slt.tokenizer import load_tokenizer
from slt.wikipedia import WikipediaText
from slt.wikipedia_source import read_documents

DATASET, TEACHER, DECODER, ROW = "demo", "minilm", "sltr", "demo-sign2semtext"
FIXED = 32  # clips in a batch drawn at random, as the field's codebases have it
CLIPS = 640  # of a longer list of lengths: an epoch in seconds
WIDTH = 1280
STEPS = 200


def targets(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    params = read_params()
    teacher = Teacher.load(section(TeacherConfig, params, f"{DATASET}.teachers.{TEACHER}"), "teacher")
    clips = read_manifest(paths.corpus_dir(DATASET) / "manifest.parquet")
    once = list(dict.fromkeys(text for clip in clips for text in (clip.text, *clip.references)))

    def ours(texts: list[str]) -> int:
        teacher.encode(texts)
        return len(texts)

    def encode(texts: list[str]) -> None:
        teacher.model.encode(texts, prompt=teacher.effective_prompt, batch_size=BATCH, show_progress_bar=False)

    def bare(texts: list[str]) -> int:
        encode(texts)
        return len(texts)

    def in_file_order(texts: list[str]) -> int:
        for at in range(0, len(texts), BATCH):  # a call each: within one, encode sorts by length
            encode(texts[at : at + BATCH])
        return len(texts)

    for texts in (once, [*once, *once[::4]]):
        repeated = 1 - len(once) / len(texts)
        sides = {
            "Teacher.encode": partial(ours, texts),
            "SentenceTransformer.encode": partial(bare, texts),
            f"the same of {BATCH} sentences at a time, in file order": partial(in_file_order, texts),
        }
        sheet.add(f"targets, {len(texts)} sentences, {repeated:.0%} of them repeated", sides, rounds, "sentences/s")


def batches(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    """One epoch of forward and backward passes of a sign encoder, over the same clips."""
    import torch

    config = section(Sign2semConfig, read_params(), f"{DATASET}.sign2sem").encoder
    torch.manual_seed(0)
    sizes = random_transformer(config.layers, config.width, config.heads, config.ffn, 0.0, max(lengths))
    model = SignEncoder(WIDTH, 384, sizes)
    ours = epoch_steps(lengths, round(FIXED * np.mean(lengths)), 1, 0, 0)
    order = np.random.default_rng(0).permutation(len(lengths)).tolist()
    at_random = [[order[at : at + FIXED]] for at in range(0, len(order), FIXED)]
    frames = np.random.default_rng(0).standard_normal((max(lengths), WIDTH)).astype(np.float16)

    def epoch(steps: list[list[list[int]]]) -> Callable[[], int]:
        def run() -> int:
            for step in steps:
                model.zero_grad()
                for items in step:
                    features, mask = pad_features([frames[: lengths[i]] for i in items])
                    model(features, mask)[1].square().mean().backward()
            return len(lengths)

        return run

    def padding(steps: list[list[list[int]]]) -> float:
        return 1 - sum(lengths) / sum(max(lengths[i] for i in items) * len(items) for step in steps for items in step)

    kinds = {f"steps of {FIXED} clips of like lengths": ours, f"random batches of {FIXED}": at_random}
    for name, steps in kinds.items():
        sheet.note(f"padding, {name}", 100 * padding(steps), "% of frames")
        sheet.note(f"clips a step, {name}", len(lengths) / len(steps), "clips")
    sides = {name: epoch(steps) for name, steps in kinds.items()}
    sheet.add(f"training epoch, {len(lengths)} clips of {np.mean(lengths):.0f} frames", sides, rounds, "clips/s")


def dev_scores(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    """Sign2sem of the demo, as many clips and steps either way: do batches of like lengths cost dev scores?"""
    params = read_params()
    own = section(Sign2semConfig, params, f"{DATASET}.sign2sem")
    positions, parallel = own.encoder.positions, section(ParallelConfig, params, f"{DATASET}.parallel")
    teacher = section(TeacherConfig, params, f"{DATASET}.teachers.{TEACHER}")
    features, targets = FeatureSet.open(paths.features_dir(DATASET)), Targets.open(paths.targets_dir(DATASET, TEACHER))
    train_clips, dev = (
        load_clips(DATASET, split, features, targets, positions, parallel) for split in ("train", "dev")
    )
    augmented = ClipBatches(train_clips, own.augment, positions, seed=0).lengths(0)
    steps = len(epoch_steps(augmented, own.training.micro_batch, own.training.accumulate, 0, 0))
    size = round(len(augmented) / steps)

    def at_random(
        lengths: list[int], micro_batch: int, accumulate: int, seed: int, epoch: int
    ) -> list[list[list[int]]]:
        order = np.random.default_rng([seed, epoch]).permutation(len(lengths))
        return [[items.tolist()] for items in np.array_split(order, steps)]

    print(f"dev of sign2sem after {STEPS} steps of {size} clips, {rounds} seeds")
    for name, batches in ((f"{size} clips of like lengths", epoch_steps), (f"{size} clips at random", at_random)):
        found: dict[str, list[float]] = {}
        for seed in range(1, rounds + 1):
            training = replace(own.training, max_steps=STEPS, validate_every=STEPS)
            config = replace(own, training=training, seed=seed)
            model = new_encoder(config.encoder, teacher, targets.space, features.dim, {}, seed)
            with tempfile.TemporaryDirectory() as folder, mock.patch.object(slt.training, "epoch_steps", batches):
                done = slt.training.train(Sign2sem(model, config, train_clips, dev), training, seed, Path(folder))
            for _, series, value in done.curves:
                found.setdefault(series, []).append(value)
        for series in ("dev_spearman", "dev_cosine", "dev_retrieval1"):
            middle, spread = np.mean(found[series]), np.std(found[series], ddof=min(1, rounds - 1))
            sheet.note(f"{series}, {name}, mean of {rounds} seeds", float(middle), "")
            sheet.note(f"{series}, {name}, standard deviation of {rounds} seeds", float(spread), "")


def decoding(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    params = read_params()
    config = section(EvaluateConfig, params, f"{DATASET}.evaluate")
    positions = section(Sign2semConfig, params, f"{DATASET}.sign2sem").encoder.positions
    parallel = section(ParallelConfig, params, f"{DATASET}.parallel")
    features = FeatureSet.open(paths.features_dir(DATASET))
    dev = load_clips(
        DATASET, "dev", features, Targets.open(paths.targets_dir(DATASET, TEACHER)), positions, parallel
    ).features
    folder = paths.finetune_dir(ROW)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    search = Search(config.beam, config.length_penalty, config.max_tokens, config.batch)

    def ours() -> int:
        translate(model, tokenizer, search, clips=dev)
        return len(dev)

    def in_file_order(lengths: list[int], batch: int, positions: int | None = None) -> list[list[int]]:
        return [list(range(at, min(at + batch, len(lengths)))) for at in range(0, len(lengths), batch)]

    def bare() -> int:
        with mock.patch.object(slt.decoding, "_by_length", in_file_order):
            return ours()

    def uncached() -> int:
        with mock.patch.object(model.decoder, "generate", partial(model.decoder.generate, use_cache=False)):
            return ours()

    what = f"decoding {len(dev)} clips"
    sheet.add(what, {"sorted by length": ours, "in file order": bare}, rounds, "clips/s")
    sheet.add(what, {"keys and values kept": ours, "computed anew at each token": uncached}, rounds, "clips/s")
    _written_from_sems(sheet, rounds, search)


def _written_from_sems(sheet: Sheet, rounds: int, search: Search) -> None:
    """Held-out Wikipedia sentences, whose lengths differ more than the demo's own."""
    folder = paths.sem2text_dir(DATASET, TEACHER, DECODER)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    texts, sems, _ = WikipediaText.open(paths.wikipedia_dir(DATASET, TEACHER)).sentences("dev")

    def written(search: Search, references: list[str] | None) -> int:
        translate(model, tokenizer, search, sems=sems, references=references)
        return len(texts)

    what = f"decoding {len(texts)} SEMs of Wikipedia sentences"
    ours = partial(written, search, texts)
    unordered, scored = partial(written, search, None), partial(written, replace(search, scores=True), texts)
    sheet.add(what, {"sorted by reference": ours, "in file order": unordered}, rounds, "sentences/s")
    sheet.add(what, {"sentences alone": ours, "with the scores of beams": scored}, rounds, "sentences/s")


def bootstrap(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    from sacrebleu.significance import _bootstrap_resample

    systems = [read_evaluation(path) for path in sorted(Path("data/evaluations/rows").iterdir())]
    records = [evaluation.select("test", "model") for evaluation in systems][:5]
    while len(records) < 5:
        records.append(records[0])
    metrics: list[tuple[SacrebleuMetric, int | None]] = [
        (BLEU_13A, 1),
        (BLEU_MULTI, None),
        (BLEU_RAW, 1),
        (CHRF2, 1),
    ]
    texts = [
        (metric, [r.hypothesis for r in system], [r.all_references()[:references] for r in system])
        for metric, references in metrics
        for system in records
    ]
    kept = [(metric, metric.statistics(hypotheses, refs)) for metric, hypotheses, refs in texts]
    listed = [(metric.make(), statistics.values.tolist()) for metric, statistics in kept]

    def ours() -> int:
        draw.cache_clear()
        for _, statistics in kept:
            resample(statistics, draw(statistics.n))
        return len(kept)

    def bare() -> int:
        for metric, values in listed:
            _bootstrap_resample(values, metric, 1000)
        return len(kept)

    apart = max(
        float(np.abs(resample(statistics, draw(statistics.n)) - [s.score for s in theirs]).max())
        for (_, statistics), theirs in (
            (pair, _bootstrap_resample(values, metric, 1000)[1])
            for pair, (metric, values) in zip(kept, listed, strict=True)
        )
    )
    sheet.note("largest difference of a resampled score to sacrebleu's", apart, "points")
    what = f"1,000 resamples, 5 systems, {len(metrics)} metrics, {len(records[0])} sentences"
    sheet.add(f"{what}, statistics given", {"resample": ours, "sacrebleu's own": bare}, rounds, "scores/s")

    def ours_from_text() -> int:
        draw.cache_clear()
        for metric, hypotheses, refs in texts:
            statistics = metric.statistics(hypotheses, refs)
            resample(statistics, draw(statistics.n))
        return len(texts)

    def bare_from_text() -> int:
        for metric, hypotheses, refs in texts:
            streams = [list(stream) for stream in zip_longest(*refs)]
            metric.make().corpus_score(hypotheses, streams, n_bootstrap=1000)
        return len(texts)

    sides = {"statistics and resample": ours_from_text, "sacrebleu's corpus_score": bare_from_text}
    sheet.add(f"{what}, from text", sides, rounds, "scores/s")


def wikipedia(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    source = paths.resolve(read_params()[DATASET]["wikipedia"]["source"])

    def unpacked() -> int:
        with bz2.open(source) as file:
            return sum(len(part) for part in iter(lambda: file.read(2**20), b""))

    size = unpacked()

    def articles() -> int:
        assert sum(len(document.text) for document in read_documents([source]))
        return size  # the bytes of XML that both sides unpack

    sides = {"articles out of XML": articles, "bz2": unpacked}
    sheet.add("reading a dump, unpacked bytes a second", sides, rounds, "bytes/s")


def repro(sheet: Sheet, rounds: int, lengths: list[int]) -> None:
    """DVC's own work when there is nothing to do, beside what Python takes to import and start it."""

    def dvc(*arguments: str) -> Callable[[], int]:
        def run() -> int:
            said = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=True)
            assert "Running stage" not in said.stdout
            return 1

        return run

    sides = {"dvc repro": dvc("repro"), "dvc version": dvc("version")}
    sheet.add("a pipeline that is up to date", sides, rounds, "runs/s")


BENCHMARKS = {each.__name__: each for each in (targets, batches, dev_scores, decoding, bootstrap, wikipedia, repro)}


def read_lengths(path: Path | None) -> list[int]:
    if path is None:
        clips = read_manifest(paths.corpus_dir(DATASET) / "manifest.parquet", "train")
        features = FeatureSet.open(paths.features_dir(DATASET))
        return [features.lengths[clip.id] for clip in clips]
    with path.open(newline="", encoding="utf-8") as file:
        lengths = [int(row["num_frames"]) for row in csv.DictReader(file, delimiter="\t")]
    return np.random.default_rng(0).permutation(lengths)[:CLIPS].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=Path)
    parser.add_argument("--out", type=Path, help="keep the ratios as CSV, with the machine's description")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    sheet, lengths = Sheet(), read_lengths(arguments.lengths)
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name](sheet, arguments.rounds, lengths)
    if arguments.out:
        sheet.save(arguments.out)


if __name__ == "__main__":
    main()
