"""Stage sign2sem: features and target SEMs to a sign encoder."""

from dataclasses import asdict

from slt import launch, paths
from slt.clips import load_clips
from slt.config.base import read_params, section
from slt.config.data import FramesConfig, TeacherConfig
from slt.config.train import ParallelConfig, Sign2semConfig
from slt.feature_set import INDEX, FeatureSet
from slt.model_folder import save_model
from slt.ranks import led, together
from slt.sign2sem import Sign2sem, new_encoder
from slt.stage import run
from slt.store import code_sha256, file_sha256, fingerprint, folder_sha256, publish, work_folder
from slt.targets import Targets
from slt.training import train


def main(dataset: str, teacher: str) -> None:
    """Train the sign encoder of a dataset on one teacher's sentence embeddings."""
    params = read_params()
    config = section(Sign2semConfig, params, f"{dataset}.sign2sem")
    frames = section(FramesConfig, params, f"{dataset}.frames")
    parallel = section(ParallelConfig, params, f"{dataset}.parallel")
    teacher_config = section(TeacherConfig, params, f"{dataset}.teachers.{teacher}")
    manifest = paths.corpus_dir(dataset) / "manifest.parquet"
    inputs = [paths.features_dir(dataset), paths.targets_dir(dataset, teacher)]
    key = fingerprint(
        "sign2sem",
        code_sha256(__file__),
        [asdict(part) for part in (config, parallel, frames, teacher_config)],
        [file_sha256(manifest), file_sha256(inputs[0] / INDEX), folder_sha256(inputs[1])],
    )
    work = work_folder("sign2sem", key)

    features, targets = led(FeatureSet.open, inputs[0]), Targets.open(inputs[1])
    features.read_ahead()
    positions = config.encoder.positions
    train_clips, dev_clips = (
        load_clips(dataset, split, features, targets, positions, parallel) for split in ("train", "dev")
    )
    pipeline = {"frames": asdict(frames), "features": features.provenance}
    model = new_encoder(config.encoder, teacher_config, targets.space, features.dim, pipeline, config.seed)
    phase = Sign2sem(model, config, train_clips, dev_clips.of_languages(parallel.languages))
    done = train(phase, config.training, config.seed, work)
    if not launch.leads():
        return
    save_model(work / "model", model, done, phase.select, {"shortened_train_clips": train_clips.shortened})
    publish(work, paths.sign2sem_dir(dataset, teacher), "model")


if __name__ == "__main__":
    run("sign2sem", ["dataset", "teacher"], together(main))
