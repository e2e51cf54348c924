"""How2Sign's files as the publisher ships them: quotes, a BOM, mis-decoded text, gaps, names that lead elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slt.config.data import CorpusConfig
from slt.corpora import read_corpus, report
from slt.corpora.how2sign import mend, read_annotation
from slt.errors import ConfigError, DataError
from slt.store import file_sha256

HEADER = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE\n"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "how2sign"
MISREAD = "Now you’re ready – café.".encode().decode("latin-1")


def row(name: str, text: str) -> str:
    """One row as the release writes it: tab-separated, quoted only where the text holds a quote."""
    video = name.split("_")[0]
    quoted = '"' + text.replace('"', '""') + '"' if '"' in text else text
    return f"{video}\t{video}-1-rgb_front\t{name}\t{name}-1-rgb_front\t1.5\t2.25\t{quoted}\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The publisher's layout below SLT_RAW: three CSV files, one folder of clips per split."""
    monkeypatch.setenv("SLT_RAW", str(tmp_path))
    root = tmp_path / "how2sign"
    rows = {
        "train": [row("aa_0", 'He said "go", then left.'), row("aa_1", MISREAD), row("aa_2", "  Two   blanks. ")],
        "val": [row("bb_0", '"Yes."')],
        "test": [row("cc_0", "It's fine.")],
    }
    for split, lines in rows.items():
        folder = root / f"{split}_rgb_front_clips" / "raw_videos"
        folder.mkdir(parents=True)
        (root / f"how2sign_realigned_{split}.csv").write_text(HEADER + "".join(lines), encoding="utf-8")
        for line in lines:
            (folder / (line.split("\t")[3] + ".mp4")).write_bytes(b"video " + split.encode())
    return root


def section(**options: Any) -> CorpusConfig:
    names = {"train": "train", "dev": "val", "test": "test"}
    defaults = {
        "annotation": {split: f"raw:how2sign/how2sign_realigned_{name}.csv" for split, name in names.items()},
        "clips": {split: f"raw:how2sign/{name}_rgb_front_clips/raw_videos" for split, name in names.items()},
    }
    return CorpusConfig("how2sign", "en", "ase", {"train": 9, "dev": 9, "test": 9}, {**defaults, **options})


def test_the_publishers_layout(corpus: Path) -> None:
    config = section()
    reading = read_corpus(config, "how2sign", corpus)
    assert [(clip.id, clip.split, clip.text) for clip in reading.clips] == [
        ("aa_0-1-rgb_front", "train", 'He said "go", then left.'),
        ("aa_1-1-rgb_front", "train", "Now you’re ready – café."),
        ("aa_2-1-rgb_front", "train", "Two blanks."),
        ("bb_0-1-rgb_front", "dev", '"Yes."'),
        ("cc_0-1-rgb_front", "test", "It's fine."),
    ]
    first = reading.clips[0]
    assert first.video == "raw:how2sign/train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4"
    assert (first.start, first.end, first.language, first.sign_language) == (None, None, "en", "ase")
    stat = (corpus / "train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4").stat()
    assert first.fingerprint == f"stat:{stat.st_size}:{stat.st_mtime_ns}"
    findings = report(reading, config)
    assert findings["notes"] == {"mended_texts": 1}
    assert [findings["splits"][split]["rows"] for split in ("train", "dev", "test")] == [3, 1, 1]


@pytest.mark.parametrize("change", ["bom", "commas", "crlf"])
def test_copies_of_the_annotation_read_the_same(corpus: Path, change: str) -> None:
    path = corpus / "how2sign_realigned_train.csv"
    expected, _ = read_annotation(path)
    content = path.read_text(encoding="utf-8")
    if change == "bom":
        path.write_text("\ufeff" + content, encoding="utf-8")
    elif change == "crlf":
        path.write_bytes(content.replace("\n", "\r\n").encode())
    else:
        import csv
        import io

        rows, target = list(csv.reader(io.StringIO(content), delimiter="\t")), io.StringIO()
        csv.writer(target).writerows(rows)
        path.write_text(target.getvalue(), encoding="utf-8")
    assert read_annotation(path)[0] == expected


def test_gaps_are_dropped_with_their_reason(corpus: Path) -> None:
    path = corpus / "how2sign_realigned_train.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write(row("aa_3", "No clip was cut.") + row("aa_0", "Twice.") + row("aa_2", " "))
        file.write(row("aa_4", " "))
    config = section()
    reading = read_corpus(config, "how2sign", corpus)
    assert reading.dropped == [
        ("train", "aa_3-1-rgb_front", "missing clip file: aa_3-1-rgb_front.mp4"),
        ("train", "aa_0-1-rgb_front", "duplicate id"),
        ("train", "aa_2-1-rgb_front", "duplicate id"),
        ("train", "aa_4-1-rgb_front", "empty text"),
    ]
    assert len([clip for clip in reading.clips if clip.split == "train"]) == 3
    train = report(reading, config)["splits"]["train"]
    assert train["rows"] == 7 and train["dropped"] == 4
    assert train["dropped_by_reason"] == {"missing clip file": 1, "duplicate id": 2, "empty text": 1}
    with pytest.raises(DataError, match="4 train clips were dropped"):
        report(reading, replace(config, max_dropped={"train": 3, "dev": 0, "test": 0}))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc/passwd", "a\\b", "../../how2sign/cc_0-1-rgb_front"])
def test_a_name_that_leads_out_of_its_folder_is_refused(corpus: Path, name: str) -> None:
    path = corpus / "how2sign_realigned_test.csv"
    path.write_text(f"SENTENCE_NAME\tSENTENCE\n{name}\tText.\n", encoding="utf-8")
    with pytest.raises(DataError, match="leads out of the folder"):
        read_corpus(section(), "how2sign", corpus)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column SENTENCE_NAME and SENTENCE, found: nothing"),
        (HEADER.encode(), "no row below its header"),
        (b"SENTENCE_NAME\tTEXT\na\tb\n", "no column SENTENCE, found: SENTENCE_NAME, TEXT"),
        (b"name|signer|gloss\na|b|c\n", "no column SENTENCE_NAME and SENTENCE"),
        ("SENTENCE_NAME\tSENTENCE\na\tcafé\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_an_annotation_that_is_none_is_named(corpus: Path, content: bytes, message: str) -> None:
    (corpus / "how2sign_realigned_val.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_corpus(section(), "how2sign", corpus)
    assert "how2sign_realigned_val.csv" in str(caught.value)


def test_missing_files_say_what_to_do(corpus: Path) -> None:
    (corpus / "how2sign_realigned_val.csv").unlink()
    with pytest.raises(DataError, match=r"how2sign_realigned_val\.csv: no such annotation; download"):
        read_corpus(section(), "how2sign", corpus)
    with pytest.raises(DataError, match=r"nowhere: no such folder of train clips"):
        read_corpus(section(clips=dict.fromkeys(("train", "dev", "test"), "raw:nowhere")), "how2sign", corpus)


def test_options_are_checked(corpus: Path) -> None:
    with pytest.raises(ConfigError, match=r"how2sign\.corpus\.options\.hash_medium`; did you mean `hash_media`"):
        read_corpus(section(hash_medium=True), "how2sign", corpus)
    with pytest.raises(ConfigError, match="clips needs the keys train, dev, test"):
        read_corpus(section(clips={"train": "x"}), "how2sign", corpus)


def test_one_clip_in_two_splits_is_refused_unless_asked_for(corpus: Path) -> None:
    same = {
        "annotation": dict.fromkeys(("train", "dev", "test"), "raw:how2sign/how2sign_realigned_train.csv"),
        "clips": dict.fromkeys(("train", "dev", "test"), "raw:how2sign/train_rgb_front_clips/raw_videos/"),
    }
    with pytest.raises(DataError, match="stands in both train and dev"):
        read_corpus(section(**same), "how2sign", corpus)
    config = section(**same, allow_same_clips_in_splits=True, hash_media=True)
    reading = read_corpus(config, "how2sign", corpus)
    assert [clip.id for clip in reading.clips][::3] == [f"{s}/aa_0-1-rgb_front" for s in ("train", "dev", "test")]
    assert len({clip.video for clip in reading.clips}) == 3
    notes = report(reading, config)["notes"]
    assert notes["same_clips_in_splits"] == 6 and "never how well it translates" in notes["warning"]
    clip = corpus / "train_rgb_front_clips/raw_videos/aa_0-1-rgb_front.mp4"
    assert reading.clips[0].fingerprint == f"sha256:{file_sha256(clip)}"


@pytest.mark.parametrize("text", ["Plain.", "café", "naïve – “quoted”", "Ã", "ñ"])
def test_good_text_is_not_mended(text: str) -> None:
    assert mend(text) == text
    assert mend(text.encode().decode("latin-1")) == text


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared How2Sign files")
def test_the_releases_own_files() -> None:
    val, mended_val = read_annotation(SHARED / "how2sign_realigned_val.csv")
    test, mended_test = read_annotation(SHARED / "how2sign_realigned_test.csv")
    assert (len(val), len(test), mended_val, mended_test) == (1741, 2357, 2, 23)
    assert len({sentence.name for sentence in val}) == 1741
    assert not any("â\x80" in sentence.text or '""' in sentence.text for sentence in val + test)
    sample, _ = read_annotation(SHARED / "clips.tsv")
    assert len(sample) == 74 and sum(sentence.frames or 0 for sentence in sample) == 12662
