"""Stage ``frames``: every clip of the manifest decoded once into shards of JPEG frames."""

from slt.config.base import read_params, section
from slt.config.data import CorpusConfig, FramesConfig
from slt.frames import make_frames
from slt.paths import corpus_dir, frames_dir
from slt.stage import run


def main(dataset: str) -> None:
    """Decode, resize and store the frames of a dataset's clips."""
    params = read_params()
    config = section(FramesConfig, params, f"{dataset}.frames")
    corpus = section(CorpusConfig, params, f"{dataset}.corpus")
    make_frames(config, corpus_dir(dataset) / "manifest.parquet", frames_dir(dataset), corpus.max_dropped)


if __name__ == "__main__":
    run("frames", ["dataset"], main)
