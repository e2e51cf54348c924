"""Stage ``features``: per-frame features of a frozen image backbone, or those that the corpus brings."""

from slt.config.base import lookup, read_params, section
from slt.config.data import PRECOMPUTED, FeaturesConfig
from slt.paths import corpus_dir, features_dir, frames_dir
from slt.stage import run


def main(dataset: str) -> None:
    """Run the backbone over a dataset's frames, or take the features that its clips bring."""
    params = read_params()
    config = section(FeaturesConfig, params, f"{dataset}.features")
    if config.backbone == PRECOMPUTED:
        from slt.precomputed import make_precomputed

        make_precomputed(config, corpus_dir(dataset) / "manifest.parquet", features_dir(dataset))
    else:
        from slt.features import make_features  # timm takes ten seconds to import

        size = lookup(params, f"{dataset}.frames.size")
        make_features(config, size, frames_dir(dataset), features_dir(dataset))


if __name__ == "__main__":
    run("features", ["dataset"], main)
