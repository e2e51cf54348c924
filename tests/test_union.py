"""Two corpora as one: ids, media and limits stay each part's own, and nothing of a part is lost uncounted."""

import copy
from pathlib import Path
from typing import Any

import pytest
from test_demo import OPTIONS

from slt import paths
from slt.config.base import parse, read_params
from slt.config.data import CorpusConfig
from slt.corpora import read_corpus, report
from slt.errors import ConfigError, DataError
from slt.manifest import SPLITS

ROOT = Path(__file__).parent.parent
LIMITS = {"train": 0, "dev": 0, "test": 0}


def part(language: str, seed: int) -> dict[str, Any]:
    options = {**OPTIONS, "seed": seed, "train_clips": 3, "pixels": 64}
    named = {"adapter": "demo", "language": language, "sign_language": "mis"}
    return {**named, "max_dropped": LIMITS, "options": options}


def union(**changes: Any) -> CorpusConfig:
    options = {"parts": {"en": part("en", 1), "de": part("de", 2)}}
    section = {"adapter": "union", "language": "mul", "sign_language": "mis", "max_dropped": LIMITS, "options": options}
    return parse(CorpusConfig, copy.deepcopy({**section, **changes}), "both.corpus")


def test_every_clip_of_every_part_is_there_under_a_name_of_its_own(tmp_path: Path) -> None:
    config = union()
    reading = read_corpus(config, "both", tmp_path / "both")
    alone = {
        name: read_corpus(parse(CorpusConfig, section, name), "x", tmp_path / name).clips
        for name, section in config.options["parts"].items()  # type: ignore[attr-defined]
    }
    expected = {f"{name}-{clip.id}": clip for name, clips in alone.items() for clip in clips}
    assert {clip.id for clip in reading.clips} == set(expected)
    for clip in reading.clips:
        own = expected[clip.id]
        assert (clip.text, clip.split, clip.language, clip.fingerprint) == (
            own.text,
            own.split,
            own.language,
            own.fingerprint,
        )
        inside = Path(clip.video).relative_to(paths.corpus_dir("both"))
        assert inside.parts[0] == own.language and (tmp_path / "both" / inside).is_file()
    whole = report(reading, config)
    assert {split: whole["splits"][split]["clips"] for split in SPLITS} == {"train": 6, "dev": 4, "test": 4}
    assert whole["notes"]["de"]["splits"]["train"]["clips"] == 3
    assert reading.features is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": "en"}, "both.corpus.language: `en`, but its parts make it `mul`"),
        ({"sign_language": "mul"}, "both.corpus.sign_language: `mul`, but its parts make it `mis`"),
        ({"options": {"parts": {"en": part("en", 1)}}}, "parts must hold two corpora"),
        ({"options": {"parts": {"en": part("en", 1), "../x": part("de", 2)}}}, "must be letters and digits"),
        (
            {"options": {"parts": {"en": {**part("en", 1), "adapter": "demmo"}, "de": part("de", 2)}}},
            "no adapter `demmo`",
        ),
        (
            {"options": {"parts": {"en": {**part("en", 1), "options": {}}, "de": part("de", 2)}}},
            r"both\.corpus\.options\.parts\.en: .*missing key",
        ),
    ],
)
def test_a_union_that_does_not_fit_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_corpus(union(**changes), "both", tmp_path)


def table(folder: Path, rows: list[str]) -> dict[str, Any]:
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.mp4").touch()
    (folder / "clips.tsv").write_text("id\tsplit\tvideo\ttext\n" + "\n".join(rows) + "\n")
    options = {"manifest": str(folder / "clips.tsv"), "media": str(folder)}
    named = {"adapter": "own", "language": "en", "sign_language": "mis"}
    return {**named, "max_dropped": LIMITS, "options": options}


def test_a_part_keeps_its_own_limit_of_dropped_clips_and_they_are_named(tmp_path: Path) -> None:
    whole = ["a\ttrain\ta.mp4\tone", "b\tdev\tb.mp4\ttwo", "c\ttest\tc.mp4\tthree"]
    parts = {"x": table(tmp_path / "x", whole), "y": table(tmp_path / "y", [*whole, "d\ttrain\td.mp4\tfour"])}
    config = union(language="en", options={"parts": parts}, max_dropped={**LIMITS, "train": 5})
    with pytest.raises(
        DataError, match=r"more than both\.corpus\.options\.parts\.y\.max_dropped\.train = 0; the first: `d`"
    ):
        read_corpus(config, "both", tmp_path / "out")
    parts["y"]["max_dropped"] = {**LIMITS, "train": 1}
    config = union(language="en", options={"parts": parts}, max_dropped={**LIMITS, "train": 1})
    reading = read_corpus(config, "both", tmp_path / "out")
    assert [(split, name) for split, name, _ in reading.dropped] == [("train", "y-d")]
    assert {Path(clip.video).parent for clip in reading.clips} == {tmp_path / "x", tmp_path / "y"}
    assert report(reading, config)["splits"]["train"]["rows"] == 3


def test_the_demo_in_both_languages_holds_the_two_demos() -> None:
    params = read_params(ROOT / "params.yaml")
    parts = params["demo_both"]["corpus"]["options"]["parts"]
    assert parts == {"en": params["demo"]["corpus"], "de": params["demo_de"]["corpus"]}
