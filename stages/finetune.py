"""Stage finetune: sign2sem and sem2text joined and trained end to end, one row of the table."""

from dataclasses import asdict, replace

from slt import launch, paths
from slt.clips import load_clips
from slt.config.base import lookup, read_params, section
from slt.config.run import row_config
from slt.config.train import (
    FinetuneConfig,
    ParallelConfig,
    Sign2semConfig,
    SystemConfig,
    decoder_section,
    decoder_training,
)
from slt.feature_set import INDEX, FeatureSet
from slt.finetune import Finetune, join
from slt.gloss import gloss_vocabulary, training_glosses
from slt.model_folder import load_model, save_model, save_neighbours
from slt.ranks import led, together
from slt.stage import run
from slt.store import code_sha256, file_sha256, fingerprint, folder_sha256, publish, work_folder
from slt.targets import Targets
from slt.tokenizer import load_tokenizer
from slt.training import train


def main(row: str) -> None:
    """Train one row of the results table end to end."""
    params = read_params()
    row_ = row_config(params, row)
    dataset = row_.dataset
    system = section(SystemConfig, params, f"{dataset}.systems.{row_.system}")
    config = section(FinetuneConfig, params, f"{dataset}.finetune")
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    sign2sem = section(Sign2semConfig, params, f"{dataset}.sign2sem")
    where = f"{dataset}.decoders.{row_.decoder}"
    decoder = decoder_section(params, where)
    config = replace(config, training=decoder_training(config.training, decoder, where))
    inputs = [
        paths.features_dir(dataset),
        paths.targets_dir(dataset, row_.teacher),
        paths.sign2sem_dir(dataset, row_.teacher),
        paths.sem2text_dir(dataset, row_.teacher, row_.decoder),
    ]
    files = [paths.corpus_dir(dataset) / "manifest.parquet", inputs[0] / INDEX]
    hashes = [*(file_sha256(path) for path in files), *(folder_sha256(path) for path in inputs[1:])]
    settings = [asdict(system), asdict(config), asdict(parallel), row_.seed, sign2sem.loss, decoder.max_tokens]
    settings.append(code_sha256(__file__))
    work = work_folder("finetune", fingerprint("finetune", settings, sign2sem.encoder.positions, hashes))

    features, targets = led(FeatureSet.open, inputs[0]), Targets.open(inputs[1])
    features.read_ahead()
    positions = sign2sem.encoder.positions
    train_clips, dev_clips = (
        load_clips(dataset, split, features, targets, positions, parallel) for split in ("train", "dev")
    )
    tokenizer = load_tokenizer(inputs[3])
    glosses = None
    if system.gloss_weight:
        recipes = f"{dataset}.systems"
        systems = {name: section(SystemConfig, params, f"{recipes}.{name}") for name in lookup(params, recipes)}
        glosses = gloss_vocabulary(training_glosses(train_clips.clips, row_.system, dataset, systems))
    model = join(load_model(inputs[2]), load_model(inputs[3]), system, row_.seed, glosses)
    phase = Finetune(
        model,
        tokenizer,
        system,
        config,
        sign2sem.loss,
        positions,
        decoder.max_tokens,
        train_clips,
        dev_clips.of_languages(parallel.languages),
        row_.seed,
    )
    done = train(phase, config.training, row_.seed, work)
    if not launch.leads():
        return
    notes = {"shortened_train_clips": train_clips.shortened, **phase.notes(done)}
    save_model(work / "model", model, done, phase.select, notes)
    tokenizer.save_pretrained(work / "model")
    save_neighbours(work / "model", train_clips.texts, train_clips.sems)
    publish(work, paths.finetune_dir(row), "model")


if __name__ == "__main__":
    run("finetune", ["row"], together(main))
