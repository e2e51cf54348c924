"""The experiment ``transfer``: models that were trained on one corpus translate, and are held against, another one's.

Nothing is trained here, and no stage of the pipeline does it: what DVC made of the two corpora is fetched, the tested
corpus' clips go through the other's model, and the scores are those that the evaluate stage computes.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slt import paths
from slt.batching import subsample
from slt.conditions import records
from slt.config.base import section
from slt.config.data import PRECOMPUTED, CorpusConfig, FramesConfig
from slt.config.evaluate import EvaluateConfig
from slt.config.train import SystemConfig
from slt.decoding import Search, encode_clips, translate
from slt.errors import DataError
from slt.evaluations import SEM_SPLIT, SPLITS, Evaluation, Info, Point, Record, Sems, read_evaluation, write_evaluation
from slt.experiments import Trial
from slt.experiments_axes import Params
from slt.experiments_unseen import check_unseen
from slt.feature_set import FeatureSet
from slt.finetune import predicts_sem
from slt.manifest import Clip, read_manifest
from slt.model_folder import load_model, load_training
from slt.models.translator import SignTranslator
from slt.scoring import score_folder
from slt.sem_space import SemSpace
from slt.stage import device_name
from slt.targets import Targets
from slt.tokenizer import load_tokenizer

SAME_FRAMES = ("size", "fit", "stride")
SAME_FEATURES = ("backbone", "weights_sha256", "pool", "dim")
SAME_PRECOMPUTED = ("backbone", "weights", "dim")  # their hash is of the features themselves
SAME_TEACHER = ("sha256", "prompt", "normalize")
log = logging.getLogger("slt.experiments")


def transfer_folders(trial: Trial) -> list[Path]:
    """What :func:`transferred` reads of a trial's revision."""
    corpora = (trial.corpus, trial.dataset)
    return [
        *(paths.corpus_dir(name) / "manifest.parquet" for name in corpora),
        *(paths.targets_dir(name, trial.teacher) for name in corpora),
        paths.features_dir(trial.dataset),
        *(paths.finetune_dir(row) for row in trial.rows.values()),
    ]


def transferred(trial: Trial, params: Params, root: Path) -> dict[str, Evaluation]:
    """Evaluations by system of the rows of ``trial.corpus`` on the dev and test clips of ``trial.dataset``.

    ``root`` holds the files that :func:`transfer_folders` names. True SEMs are the tested texts' in the space that the
    row was trained in. Raises DataError when frames, features or teacher of the two corpora are not the same, or when
    the one's train split holds clips that are tested.
    """
    dataset = trial.dataset
    clips = read_manifest(root / paths.corpus_dir(dataset) / "manifest.parquet")
    train = read_manifest(root / paths.corpus_dir(trial.corpus) / "manifest.parquet", "train")
    check_unseen(trial, clips, train)
    features = FeatureSet.open(root / paths.features_dir(dataset))
    targets, theirs = (Targets.open(root / paths.targets_dir(name, trial.teacher)) for name in (dataset, trial.corpus))
    _check_same("teacher", targets.provenance, theirs.provenance, SAME_TEACHER, trial)
    frames = asdict(section(FramesConfig, params, f"{dataset}.frames"))
    evaluations = {}
    for system, row in trial.rows.items():
        folder = root / paths.finetune_dir(row)
        model = load_model(folder, device_name())
        _check_same("frames", frames, model.config.pipeline["frames"], SAME_FRAMES, trial)
        keys = SAME_PRECOMPUTED if features.provenance["backbone"] == PRECOMPUTED else SAME_FEATURES
        _check_same("features", features.provenance, model.config.pipeline["features"], keys, trial)
        heldout = {split: [clip for clip in clips if clip.split == split and clip.id in features] for split in SPLITS}
        log.info("%s of %s on %s", row, trial.corpus, dataset)
        recipe = section(SystemConfig, params, f"{trial.corpus}.systems.{system}")
        evaluations[system] = _evaluate(trial, params, system, recipe, model, folder, heldout, train, features, targets)
    return evaluations


def _evaluate(
    trial: Trial,
    params: Params,
    system: str,
    recipe: SystemConfig,
    model: SignTranslator,
    folder: Path,
    heldout: dict[str, list[Clip]],
    train: list[Clip],
    features: FeatureSet,
    targets: Targets,
) -> Evaluation:
    config = section(EvaluateConfig, params, f"{trial.dataset}.evaluate")
    language = section(CorpusConfig, params, f"{trial.dataset}.corpus").language
    search = Search(config.beam, config.length_penalty, min(config.max_tokens, model.decoder.longest), config.batch)
    tokenizer, positions = load_tokenizer(folder), model.config.encoder["max_position_embeddings"]
    found: list[Record] = []
    sems = None
    for split, clips in heldout.items():
        arrays = [subsample(features.get(clip.id), positions) for clip in clips]
        languages = [_written(model, clip.language) for clip in clips]
        results = translate(model, tokenizer, search, clips=arrays, what=f"{trial.name} {split}", languages=languages)
        found += records(clips, "model", [result.sentences[0] for result in results], train)
        if split == SEM_SPLIT and predicts_sem(recipe):
            ids = [clip.id for clip in clips]
            space = SemSpace.from_json(model.config.sem_space)
            sems = Sems(tuple(ids), encode_clips(model, arrays, config.batch), space.apply(targets.raw(ids)))
    training, curves = load_training(folder)
    info = Info(
        dataset=trial.dataset,
        teacher=trial.teacher,
        decoder=trial.decoder,
        provenance={
            **features.provenance,
            "gloss_supervision": recipe.gloss_weight > 0,
            "decoder_source": model.decoder.source,
            "trained_on": trial.corpus,
        },
        training=training,
        row=trial.rows[system],
        system=system,
        seed=trial.seed,
    )
    scores = score_folder(found, config, sems, language=language)
    out = folder.with_name(f"{folder.name}.transferred")
    write_evaluation(out, found, info, scores, [Point(*point) for point in curves], sems)
    return read_evaluation(out)


def _written(model: SignTranslator, language: str) -> str:
    """The language to ask for: the text's own, unless the model has others alone."""
    return language if language in model.decoder.prompts else next(iter(model.decoder.prompts), language)


def _check_same(what: str, ours: dict[str, Any], theirs: dict[str, Any], keys: tuple[str, ...], trial: Trial) -> None:
    for key in keys:
        if ours.get(key) != theirs.get(key):
            raise DataError(
                f"{trial.name}: {what} of {trial.dataset} and of {trial.corpus} differ in `{key}` ({ours.get(key)},"
                f" {theirs.get(key)}): what was trained on the one cannot be held against the other"
            )
