"""Stage ``targets``: the teacher's sentence embedding of every clip's text."""

from slt.config.base import read_params, section
from slt.config.data import TeacherConfig
from slt.paths import corpus_dir, targets_dir
from slt.stage import run
from slt.targets import make_targets


def main(dataset: str, teacher: str) -> None:
    """Embed every clip's text with a teacher."""
    where = f"{dataset}.teachers.{teacher}"
    config = section(TeacherConfig, read_params(), where)
    make_targets(config, where, corpus_dir(dataset), targets_dir(dataset, teacher))


if __name__ == "__main__":
    run("targets", ["dataset", "teacher"], main)
