"""Stage ``features``: per-frame features of a frozen image backbone."""

from slt.config.base import lookup, read_params, section
from slt.config.data import FeaturesConfig
from slt.features import make_features
from slt.paths import features_dir, frames_dir
from slt.stage import run


def main(dataset: str) -> None:
    """Run the backbone over a dataset's frames."""
    params = read_params()
    config = section(FeaturesConfig, params, f"{dataset}.features")
    size = lookup(params, f"{dataset}.frames.size")
    make_features(config, size, frames_dir(dataset), features_dir(dataset))


if __name__ == "__main__":
    run("features", ["dataset"], main)
