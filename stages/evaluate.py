"""Stage evaluate: beam search of one row on dev and test, its controls, scores with intervals."""

from dataclasses import asdict

from slt import paths
from slt.clips import load_clips
from slt.conditions import system_records
from slt.config.base import read_params, section
from slt.config.data import CorpusConfig
from slt.config.evaluate import EvaluateConfig
from slt.config.run import row_config
from slt.config.train import ParallelConfig, Sign2semConfig, SystemConfig
from slt.decoding import Search
from slt.evaluations import Info, Point, check_clips, corpus_warning, write_evaluation
from slt.feature_set import INDEX, FeatureSet
from slt.model_folder import load_model, load_training
from slt.scoring import score_folder
from slt.stage import device_name, run
from slt.store import code_sha256, discard, file_sha256, fingerprint, folder_sha256, publish, work_folder
from slt.targets import Targets
from slt.tokenizer import load_tokenizer


def main(row: str) -> None:
    """Translate dev and test with one row's model and score it."""
    params = read_params()
    row_ = row_config(params, row)
    dataset = row_.dataset
    config = section(EvaluateConfig, params, f"{dataset}.evaluate")
    system = section(SystemConfig, params, f"{dataset}.systems.{row_.system}")
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    positions = section(Sign2semConfig, params, f"{dataset}.sign2sem").encoder.positions
    language = section(CorpusConfig, params, f"{dataset}.corpus").language
    folder = paths.finetune_dir(row)
    inputs = [paths.targets_dir(dataset, row_.teacher), folder]
    files = [paths.corpus_dir(dataset) / "manifest.parquet", paths.features_dir(dataset) / INDEX]
    settings = [asdict(part) for part in (row_, config, system, parallel)]
    hashes = [*(folder_sha256(path) for path in inputs), *(file_sha256(path) for path in files)]
    work = work_folder("evaluate", fingerprint("evaluate", code_sha256(__file__), row, settings, positions, hashes))

    features = FeatureSet.open(paths.features_dir(dataset))
    targets = Targets.open(paths.targets_dir(dataset, row_.teacher))
    train, dev, test = (
        load_clips(dataset, split, features, targets, positions, parallel) for split in ("train", "dev", "test")
    )
    model, tokenizer = load_model(folder, device_name()), load_tokenizer(folder)
    search = Search(config.beam, config.length_penalty, config.max_tokens, config.batch)
    records, sems = system_records(model, tokenizer, search, system, train, dev, test, row_.seed, work)
    training, curves = load_training(folder)
    info = Info(
        dataset=dataset,
        teacher=row_.teacher,
        decoder=row_.decoder,
        provenance={
            **features.provenance,
            "gloss_supervision": system.gloss_weight > 0,
            "decoder_source": model.decoder.source,
            **corpus_warning(paths.corpus_dir(dataset)),
        },
        training=training,
        row=row,
        system=row_.system,
        seed=row_.seed,
        baseline=row_.baseline,
    )
    check_clips(records, [*dev.clips, *test.clips], row)
    scores = score_folder(records, config, sems, language=language)
    discard(work / "out")
    write_evaluation(work / "out", records, info, scores, [Point(*point) for point in curves], sems)
    publish(work, paths.evaluation_dir(row), "out")


if __name__ == "__main__":
    run("evaluate", ["row"], main)
