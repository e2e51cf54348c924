"""Two corpora as one: ids, media and limits stay each part's own, and nothing of a part is lost uncounted."""

import copy
from pathlib import Path
from typing import Any

import pytest
from test_demo import OPTIONS
from test_video import pictures, write_video

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
        (
            {"options": {"parts": {"en": part("en", 1), "warning": part("de", 2)}}},
            "parts: the name `warning` is taken in the data report",
        ),
        ({"options": {"parts": {"en": part("en", 1), "../x": part("de", 2)}}}, "must be letters and digits"),
        (
            {"options": {"parts": {"en": {**part("en", 1), "adapter": "demmo"}, "de": part("de", 2)}}},
            r"both\.corpus\.options\.parts\.en\.adapter: no adapter `demmo`",
        ),
        (
            {"options": {"parts": {"en": {**part("en", 1), "options": {}}, "de": part("de", 2)}}},
            r"missing key `both\.corpus\.options\.parts\.en\.options\.",
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


def rows(train: str, dev: str, test: str) -> list[str]:
    return [f"1\ttrain\t{train}\tone", f"2\tdev\t{dev}\ttwo", f"3\ttest\t{test}\tthree"]


def test_a_clip_of_one_part_in_another_split_of_another_is_refused(tmp_path: Path) -> None:
    x = table(tmp_path / "x", rows("a.mp4", "b.mp4", "c.mp4"))
    y = table(tmp_path / "y", rows("c.mp4", "b.mp4", "a.mp4"))
    (tmp_path / "link").symlink_to(tmp_path / "x")  # the same folder under another name
    y["options"]["media"] = str(tmp_path / "link")
    with pytest.raises(
        DataError, match=r"^both\.corpus\.options\.parts: clip `y-1` of train is clip `x-3` of test: the same media, so"
    ):
        read_corpus(union(language="en", options={"parts": {"x": x, "y": y}}), "both", tmp_path / "out")
    z = table(tmp_path / "z", rows("a.mp4", "b.mp4", "c.mp4"))
    z["options"]["media"] = x["options"]["media"]
    reading = read_corpus(union(language="en", options={"parts": {"x": x, "z": z}}), "both", tmp_path / "out")
    assert len(reading.clips) == 6


def test_a_copy_in_another_split_of_another_part_is_found_by_its_hash(tmp_path: Path) -> None:
    parts = {name: table(tmp_path / name, rows("a.mp4", "b.mp4", "c.mp4")) for name in ("x", "y")}
    for name, part_ in parts.items():
        part_["options"]["hash_media"] = True
        for file in ("a", "b", "c"):
            (tmp_path / name / f"{file}.mp4").write_text(f"{name} {file}")
    config = union(language="en", options={"parts": parts})
    assert len(read_corpus(config, "both", tmp_path / "out").clips) == 6
    (tmp_path / "y" / "b.mp4").write_text("x a")
    with pytest.raises(DataError, match="clip `y-2` of dev is clip `x-1` of train: the same media"):
        read_corpus(config, "both", tmp_path / "out")


def test_what_a_part_lets_stand_in_several_splits_is_its_own_matter_and_its_warning_comes_first(tmp_path: Path) -> None:
    clips = tmp_path / "h"
    clips.mkdir()
    (clips / "a.mp4").touch()
    (clips / "h.csv").write_text("SENTENCE_NAME\tSENTENCE\na\tone\n")
    options = {
        "annotation": dict.fromkeys(SPLITS, str(clips / "h.csv")),
        "clips": dict.fromkeys(SPLITS, str(clips)),
        "allow_same_clips_in_splits": True,
    }
    h = {"adapter": "how2sign", "language": "en", "sign_language": "mis", "max_dropped": LIMITS, "options": options}
    x = table(tmp_path / "x", rows("a.mp4", "b.mp4", "c.mp4"))
    config = union(language="en", options={"parts": {"x": x, "h": h}})
    reading = read_corpus(config, "both", tmp_path / "out")
    warning = report(reading, config)["notes"]["warning"]
    assert warning.startswith("part `h`: 2 clips of dev and test are clips of another split")
    y = table(tmp_path / "y", rows("a.mp4", "b.mp4", "c.mp4"))
    y["options"]["media"] = str(clips)
    for file in ("b", "c"):
        (clips / f"{file}.mp4").touch()
    for parts in ({"h": h, "y": y}, {"y": y, "h": h}):  # also against the second of the splits that it stands in
        with pytest.raises(DataError, match=r"clip `.-.*a|1` of \w+ is clip"):
            read_corpus(union(language="en", options={"parts": parts}), "both", tmp_path / "out")


def test_overlaps_between_the_parts_are_counted(tmp_path: Path) -> None:
    parts = {name: table(tmp_path / name, []) for name in ("x", "y")}
    write_video(tmp_path / "x" / "a.mp4", pictures(50))
    for name, times in (("x", "0\t1"), ("y", "0.75\t2")):
        cut = [f"1\t{'train' if name == 'x' else 'test'}\ta.mp4\t{times}\tone"]
        others = {
            "x": "2\tdev\tb.mp4\t\t\ttwo\n3\ttest\tc.mp4\t\t\tthree",
            "y": "2\tdev\tb.mp4\t\t\ttwo\n3\ttrain\td.mp4\t\t\tfour",
        }
        (tmp_path / name / "clips.tsv").write_text(
            "id\tsplit\tvideo\tstart\tend\ttext\n" + "\n".join([*cut, others[name]]) + "\n"
        )
    (tmp_path / "x" / "d.mp4").touch()
    parts["y"]["options"]["media"] = str(tmp_path / "x")
    notes = read_corpus(union(language="en", options={"parts": parts}), "both", tmp_path / "out").notes
    assert notes["overlaps_between_splits"] == {"pairs": 1, "first": ["`x-1` and `y-1`: 0.25 s"]}


def test_the_demo_in_both_languages_holds_the_two_demos() -> None:
    params = read_params(ROOT / "params.yaml")
    parts = params["demo_both"]["corpus"]["options"]["parts"]
    assert parts == {"en": params["demo"]["corpus"], "de": params["demo_de"]["corpus"]}
