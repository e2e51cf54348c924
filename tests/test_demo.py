"""The demo corpus is what it claims: reproducible, disjoint, many wordings of one meaning, no way around the signs."""

import bz2
import dataclasses
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import numpy as np
import pytest

from slt import paths
from slt.config.data import CorpusConfig, WikipediaConfig
from slt.corpora import report
from slt.corpora.demo import notes, read
from slt.demo.avatar import render
from slt.demo.config import DemoConfig
from slt.demo.corpus import Demo, encode, match_key, sample, word_list, write
from slt.demo.dump import write_dump
from slt.demo.english import English
from slt.demo.german import German
from slt.demo.german_words import number as german_number
from slt.demo.grammar import Clause, Course, Meaning, Quality, Temperature, Turning, Weather, Wind
from slt.demo.inflection import noun, phrase
from slt.demo.lexicon import LEXICON, Token, minimal_pairs
from slt.demo.motion import SIGNERS, UNSEEN, plan
from slt.demo.sampling import MAX_SIGNS, MIN_SIGNS, MeaningSampler
from slt.errors import ConfigError, DataError
from slt.manifest import Clip, write_manifest
from slt.store import read_table
from slt.wikipedia import extract_sentences

TINY = DemoConfig(
    seed=3,
    train_clips=2,
    dev_clips=2,
    test_clips=2,
    sentences=60,
    references=3,
    pixels=112,
    fps=12,
    crf=23,
    zipf=1.0,
    zipf_monolingual=0.7,
    wording=0.7,
    unseen_share=0.3,
)
OPTIONS = {key: value for key, value in dataclasses.asdict(TINY).items() if key != "language"}
FULL = dataclasses.replace(TINY, train_clips=400, dev_clips=300, test_clips=300, sentences=4000)


def corpus_config(**options: object) -> CorpusConfig:
    return CorpusConfig("demo", "en", "mis", {"train": 0, "dev": 0, "test": 0}, {**OPTIONS, **options})


@pytest.fixture(scope="module")
def full() -> Demo:
    """A corpus of the default size, planned but not rendered."""
    return sample(FULL)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write(TINY, sample(TINY), folder, workers=1)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_corpus_bytes_depend_on_the_options_alone(written: Path, tmp_path: Path) -> None:
    write(TINY, sample(TINY), tmp_path / "again", workers=2)
    assert len(contents(written)) == 6 + 2
    assert contents(written) == contents(tmp_path / "again")


def test_equal_frames_are_encoded_to_equal_bytes_each_time(tmp_path: Path) -> None:
    # with x264's macroblock tree this gave several files within fifteen tries
    frames = sample(TINY).reports[0].frames(TINY)
    for i in range(15):
        encode(frames, tmp_path / f"{i}.mp4", TINY.fps, TINY.crf)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


def test_another_seed_gives_other_reports() -> None:
    other = sample(dataclasses.replace(TINY, seed=4))
    assert {r.text for r in other.reports}.isdisjoint(r.text for r in sample(TINY).reports)


def test_more_train_clips_leave_everything_else_as_it_is() -> None:
    small, large = sample(dataclasses.replace(TINY, train_clips=5)), sample(dataclasses.replace(TINY, train_clips=9))
    assert small.monolingual == large.monolingual
    assert {r.id for r in large.reports} - {r.id for r in small.reports} == {f"train-{i:04d}" for i in range(5, 9)}
    assert set(small.reports) <= set(large.reports)


def test_videos_decode_to_the_planned_frames(written: Path) -> None:
    for planned in sample(TINY).reports:
        with av.open(str(written / "videos" / f"{planned.id}.mp4")) as container:
            stream = container.streams.video[0]
            shapes = [(frame.height, frame.width, frame.format.name) for frame in container.decode(stream)]
            assert (stream.codec_context.name, stream.average_rate) == ("h264", TINY.fps)
        assert shapes == [(112, 112, "yuv420p")] * len(planned.motion(TINY))


def test_heldout_meanings_and_sentences_stand_nowhere_else(full: Demo) -> None:
    train = [r for r in full.reports if r.split == "train"]
    seen_meanings = {r.meaning.gloss for r in train} | {meaning.gloss for meaning, _ in full.monolingual}
    seen_texts = {match_key(text) for text in [*(r.text for r in train), *full.sentences]}
    for split in ("dev", "test"):
        heldout = [r for r in full.reports if r.split == split]
        assert len({r.meaning.gloss for r in heldout}) == len(heldout)
        assert seen_meanings.isdisjoint(r.meaning.gloss for r in heldout)
        assert seen_texts.isdisjoint(match_key(text) for r in heldout for text in (r.text, *r.references))
        seen_meanings |= {r.meaning.gloss for r in heldout}
        seen_texts |= {match_key(text) for r in heldout for text in (r.text, *r.references)}
    assert len({match_key(text) for text in full.sentences}) == FULL.sentences


def test_notes_count_an_overlap_that_is_there(full: Demo) -> None:
    counted = notes(full)
    for split in ("dev", "test"):
        assert not any(value for key, value in counted[split].items() if key.startswith(("meanings_", "sentences_")))
        assert counted[split]["signs_unseen_in_train"] < 0.03
        assert counted[split]["words_unseen_anywhere"] < 0.01
        assert counted[split]["clauses_unseen_in_train"] > 0.5
    victim = next(r for r in full.reports if r.split == "test")
    copied = dataclasses.replace(victim, id="train-9999", split="train", text=victim.references[0].upper())
    leaky = Demo([*full.reports, copied], [*full.monolingual, (victim.meaning, victim.text)])
    counted = notes(leaky)["test"]
    assert counted["meanings_in_train"] == counted["meanings_in_monolingual"] == 1
    assert counted["sentences_in_train"] == counted["sentences_in_monolingual"] == 1


def test_references_are_other_wordings_of_the_same_meaning(full: Demo) -> None:
    for number, planned in enumerate(full.reports):
        if planned.split == "train":
            assert not planned.references
            continue
        forms = {planned.text, *planned.references}
        assert len(forms) == 1 + FULL.references
        if number % 25 == 0:
            wording = English(random.Random(0), 0.0)
            sayable = {word for _ in range(400) for word in word_list(wording.sentence(planned.meaning))}
            assert all(set(word_list(form)) <= sayable for form in forms)
            others = [r.text for r in full.reports if r.meaning != planned.meaning]
            assert np.mean([set(word_list(text)) <= sayable for text in others]) < 0.01


def test_a_gloss_line_has_one_meaning_and_a_sentence_nearly_always(full: Demo) -> None:
    pairs = [(r.meaning, text) for r in full.reports for text in (r.text, *r.references)] + full.monolingual
    by_gloss: dict[str, set[Meaning]] = {}
    by_text: dict[str, set[str]] = {}
    for meaning, text in pairs:
        by_gloss.setdefault(meaning.gloss, set()).add(meaning)
        by_text.setdefault(text, set()).add(meaning.gloss)
    assert all(len(meanings) == 1 for meanings in by_gloss.values())
    assert sum(len(glosses) > 1 for glosses in by_text.values()) < 0.002 * len(by_text)


def test_sentences_are_plain_english_of_bearable_length(full: Demo) -> None:
    texts = [text for r in full.reports for text in (r.text, *r.references)] + full.sentences
    for text in texts:
        assert re.fullmatch(r"[A-Z][A-Za-z-]*(,? [A-Za-z-]+)+\.", text), text
        assert 5 <= len(text.split()) <= 30
    assert all(MIN_SIGNS <= len(r.meaning.tokens()) <= MAX_SIGNS for r in full.reports)


def test_minimal_pairs_differ_in_one_parameter() -> None:
    assert 150 <= len(LEXICON) <= 250
    assert len({sign.parameters for sign in LEXICON.values()}) == len(LEXICON)
    pairs = minimal_pairs()
    assert {"shape", "turn", "place", "move", "repeats", "hands", "mouth"} <= set(pairs)
    for parameter, found in pairs.items():
        if parameter not in ("shape", "end_shape"):
            for one, other in found:
                assert getattr(LEXICON[one], parameter) != getattr(LEXICON[other], parameter)
    assert ("RAIN", "DRIZZLE") in pairs["mouth"] and ("RAIN", "SHOWER") in pairs["shape"]


def test_every_sign_is_used_and_exists() -> None:
    sampler = MeaningSampler(random.Random(0), 0.5)
    used = {token.sign for _ in range(6000) for token in sampler.meaning().tokens()}
    assert used == set(LEXICON)


@pytest.mark.parametrize(("one", "other"), [("ONE", "TWO"), ("RAIN", "SNOW"), ("WARM", "HOT"), ("WIND", "GUST")])
def test_a_minimal_pair_can_be_seen(one: str, other: str) -> None:
    first, second = (
        render(plan([Token(sign)], SIGNERS[0], 12, np.random.default_rng(0)), 112, np.random.default_rng(1))
        for sign in (one, other)
    )
    count = min(len(first), len(second)) - 1
    visible = np.abs(first[:count].astype(int) - second[:count]).max(axis=3) > 40
    assert visible.sum(axis=(1, 2)).max() > 25  # pixels


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.name)
def test_negation_is_shown_by_the_head_alone(signer: object) -> None:
    clips = []
    for negated in (False, True):
        tokens = [Token("TOMORROW"), Token("NORTH"), Token("DRY", negated=negated)]
        motion = plan(tokens, signer, 12, np.random.default_rng(5))  # type: ignore[arg-type]
        clips.append((motion, render(motion, 112, np.random.default_rng(6))))
    (still, still_frames), (shaken, frames) = clips
    np.testing.assert_array_equal(still.hands, shaken.hands)
    assert not still.shake.any() and np.abs(shaken.shake).max() > 2
    changed = np.abs(still_frames.astype(int) - frames).max(axis=(0, 3)) > 0
    rows, columns = np.nonzero(changed)
    assert rows.size > 100
    assert rows.max() < 60 and columns.min() > 25 and columns.max() < 87  # head and neck only
    first_two_signs = int(np.nonzero(shaken.shake)[0][0])
    assert first_two_signs > 8
    np.testing.assert_array_equal(still_frames[:first_two_signs], frames[:first_two_signs])


def test_intensity_moves_further_and_changes_the_face() -> None:
    weak, plain, strong = (
        plan([Token("RAIN", intensity=i)], SIGNERS[0], 12, np.random.default_rng(0)) for i in (-1, 0, 1)
    )
    reach = [float(np.ptp(motion.hands[2:-2, 0, 1])) for motion in (weak, plain, strong)]
    assert reach[0] < reach[1] < reach[2]
    assert strong.face[:, 3].max() == 1.0 and plain.face[:, 3].max() == 0.0  # puffed cheeks
    assert len(weak) == len(plain) == len(strong)


def test_one_signer_appears_in_test_only(full: Demo) -> None:
    signers = {split: {r.signer.name for r in full.reports if r.split == split} for split in ("train", "dev", "test")}
    assert len(signers["train"]) >= 5
    assert signers["train"] == signers["dev"] == signers["test"] - {UNSEEN.name}
    share = np.mean([r.signer is UNSEEN for r in full.reports if r.split == "test"])
    assert abs(share - FULL.unseen_share) < 0.1


def test_length_and_signer_do_not_tell_the_meaning(full: Demo) -> None:
    """A nearest neighbour over (length, signer) finds the meaning of a test clip no better than chance."""
    lengths = {r.id: len(r.motion(FULL)) for r in full.reports}
    assert 45 <= np.mean(list(lengths.values())) <= 65
    train = [r for r in full.reports if r.split == "train"]
    test = [r for r in full.reports if r.split == "test" and r.signer is not UNSEEN]
    vectors = {r.id: bag(r.meaning) for r in full.reports}
    rng = np.random.default_rng(0)
    gallery = np.stack([vectors[r.id] for r in test])

    def mean_rank(neighbours: list[str]) -> float:
        """Mean rank, 0 to 1, of the true test meaning by its likeness to what the probe proposes."""
        ranks = []
        for number, neighbour in enumerate(neighbours):
            likeness = gallery @ vectors[neighbour] + 1e-6 * rng.random(len(gallery))
            ranks.append(np.mean(likeness > likeness[number]))
        return float(np.mean(ranks))

    probe = [
        min(train, key=lambda r: (r.signer is not clip.signer, abs(lengths[r.id] - lengths[clip.id]))).id
        for clip in test
    ]
    oracle = [max(train, key=lambda r: float(vectors[r.id] @ vectors[clip.id])).id for clip in test]
    # 0.5 is chance; four standard errors of a mean of uniform ranks
    tolerance = 4 * np.sqrt(1 / 12 / len(test))
    assert abs(mean_rank(probe) - 0.5) < tolerance
    assert mean_rank(oracle) < 0.1  # the measure would notice a probe that knows the meaning


def bag(meaning: Meaning) -> np.ndarray:
    """Unit vector of the signs of a meaning, (signs,)."""
    names = list(LEXICON)
    vector = np.zeros(len(names))
    for token in meaning.tokens():
        vector[names.index(token.sign)] += 1
    return vector / np.linalg.norm(vector)


def test_dump_is_a_mediawiki_export(written: Path) -> None:
    space = "{http://www.mediawiki.org/xml/export-0.10/}"
    root = ET.fromstring(bz2.decompress((written / "wikipedia.xml.bz2").read_bytes()))
    assert root.tag == f"{space}mediawiki" and root.get("version") == "0.10"
    pages = root.findall(f"{space}page")
    assert [page.findtext(f"{space}id") for page in pages] == [str(i + 1) for i in range(len(pages))]
    assert {page.findtext(f"{space}ns") for page in pages} >= {"0", "10", "14"}
    text = pages[1].find(f"{space}revision/{space}text")
    assert text is not None and text.text is not None
    assert text.get("bytes") == str(len(text.text.encode()))
    assert "{{Weather report" in text.text and "[[Category:" in text.text and "== " in text.text


def test_reader_of_dumps_finds_every_sentence_as_it_is(
    full: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dump(tmp_path / "dump.xml.bz2", full.sentences, seed=1)
    raw = bz2.decompress((tmp_path / "dump.xml.bz2").read_bytes()).decode()
    assert "#REDIRECT" in raw and "<title>Talk:" in raw and "'''" in raw and "&lt;ref&gt;" in raw and "&lt;!--" in raw
    clips = [Clip(r.id, r.split, "en", "mis", "x", r.text, references=r.references) for r in full.reports]
    write_manifest(tmp_path / "manifest.parquet", clips)
    config = WikipediaConfig("dump.xml.bz2", 10**6, 4, 40, False, 10)
    extraction = extract_sentences(config, tmp_path / "manifest.parquet", "demo")
    assert read_table(extraction.folder / "sentences.parquet")["text"].to_pylist() == full.sentences


def test_adapter_returns_clips_as_they_will_lie(tmp_path: Path) -> None:
    reading = read(corpus_config(), "demo", tmp_path)
    assert report(reading, corpus_config())["splits"]["test"]["clips"] == 2
    for clip in reading.clips:
        published = paths.corpus_dir("demo")
        assert Path(clip.video).parent == published / "raw" / "videos"
        assert (tmp_path / Path(clip.video).relative_to(published)).is_file()
        assert clip.fingerprint is not None and re.fullmatch("sha256:[0-9a-f]{64}", clip.fingerprint)
        assert len(clip.references) == (0 if clip.split == "train" else 3)
    rows = (tmp_path / "raw" / "annotation.tsv").read_text().splitlines()
    assert len(rows) == 1 + len(reading.clips)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": 63}, "pixels must be even and at least 64"),
        ({"sede": 1}, r"unknown key `demo\.corpus\.options\.sede`; did you mean `seed`"),
        ({"zipf": "much"}, r"demo\.corpus\.options\.zipf"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(corpus_config(**options), "demo", tmp_path)


def test_more_references_than_there_are_wordings_is_an_error() -> None:
    with pytest.raises(DataError, match="ask for fewer"):
        sample(dataclasses.replace(TINY, references=400))


# --- German ---

GERMAN = dataclasses.replace(FULL, language="de")
RAIN_IN_THE_NORTH = Clause(Weather("RAIN", intensity=1), None, (("NORTH",),))


def usual(meaning: Meaning) -> str:
    """The most usual German wording."""
    return German(random.Random(0), 500.0).sentence(meaning)


@pytest.fixture(scope="module")
def german() -> Demo:
    return sample(GERMAN)


@pytest.mark.parametrize(
    ("meaning", "sentence"),
    [
        (Meaning("single", "TOMORROW", (RAIN_IN_THE_NORTH,)), "Morgen regnet es im Norden stark."),
        (
            Meaning("contrast", "MONDAY", (RAIN_IN_THE_NORTH, Clause(Quality("DRY"), None, (("COAST",),)))),
            "Am Montag regnet es im Norden stark, während es an der Küste trocken ist.",
        ),
        (
            Meaning("addition", None, (RAIN_IN_THE_NORTH, Clause(Temperature("MAXIMUM", 1, 21)))),
            "Es regnet im Norden stark mit Höchstwerten von eins bis einundzwanzig Grad.",
        ),
        (
            Meaning("addition", "TODAY", (Clause(Quality("WARM", "BECOME")), Clause(Wind(-1, ("SOUTH", "WEST"))))),
            "Heute wird es wärmer mit schwachem Südwestwind.",
        ),
        (
            Meaning(
                "sequence", None, (Clause(Turning("RAIN", "SNOW"), "NOON"), Clause(Course("SNOW", "STOP"), "NIGHT"))
            ),
            "Am Mittag geht Regen in Schnee über, in der Nacht hört der Schnee auf.",
        ),
    ],
)
def test_german_words_stand_in_german_order(meaning: Meaning, sentence: str) -> None:
    assert usual(meaning) == sentence


@pytest.mark.parametrize(
    ("text", "gender", "forms"),
    [
        ("Regen", "m", ("starker Regen", "starken Regen", "starkem Regen", "keinen starken Regen")),
        ("Hitze", "f", ("starke Hitze", "starke Hitze", "starker Hitze", "keine starke Hitze")),
        ("Eis", "n", ("starkes Eis", "starkes Eis", "starkem Eis", "kein starkes Eis")),
        ("Schauer", "p", ("starke Schauer", "starke Schauer", "starken Schauern", "keine starken Schauer")),
        ("Tornados", "p", ("starke Tornados", "starke Tornados", "starken Tornados", "keine starken Tornados")),
    ],
)
def test_noun_phrases_are_inflected(text: str, gender: str, forms: tuple[str, ...]) -> None:
    head = noun(text, gender)  # type: ignore[arg-type]
    found = phrase(head, "stark")
    assert (found.nom, found.acc, found.dat, phrase(head, "stark", none=True).acc) == forms


def test_german_numerals() -> None:
    named = {
        0: "null",
        1: "ein",
        17: "siebzehn",
        21: "einundzwanzig",
        30: "dreißig",
        -6: "minus sechs",
        100: "einhundert",
    }
    assert {value: german_number(value) for value in named} == named
    assert len({german_number(value) for value in range(-99, 100)}) == 199


def test_both_languages_have_the_same_signs_and_each_its_own_words(full: Demo, german: Demo) -> None:
    assert len(german.reports) == len(full.reports) and len(german.sentences) == GERMAN.sentences
    texts = [text for r in german.reports for text in (r.text, *r.references)] + german.sentences
    for text in texts:
        assert re.fullmatch(r"[A-ZÄÖÜ][A-Za-zÄÖÜäöüß-]*(,? [A-Za-zÄÖÜäöüß-]+)+\.", text), text
        assert 5 <= len(text.split()) <= 30
    english = {text for r in full.reports for text in (r.text, *r.references)} | set(full.sentences)
    assert english.isdisjoint(texts)
    counted = notes(german)["test"]
    assert counted["sentences_in_train"] == counted["meanings_in_monolingual"] == 0
    # one random stream words and samples, so that only what is drawn first is equal
    assert sum(a.meaning == b.meaning for a, b in zip(full.reports, german.reports, strict=True)) > 900


def test_a_german_sentence_means_one_thing_nearly_always(german: Demo) -> None:
    by_text: dict[str, set[str]] = {}
    pairs = [(r.meaning, text) for r in german.reports for text in (r.text, *r.references)] + german.monolingual
    for meaning, text in pairs:
        by_text.setdefault(text, set()).add(meaning.gloss)
    assert sum(len(glosses) > 1 for glosses in by_text.values()) < 0.002 * len(by_text)


def test_reader_of_dumps_finds_every_german_sentence_as_it_is(
    german: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dump(tmp_path / "dump.xml.bz2", german.sentences, seed=1, language="de")
    raw = bz2.decompress((tmp_path / "dump.xml.bz2").read_bytes()).decode()
    assert "<title>Diskussion:" in raw and "[[Kategorie:" in raw and 'xml:lang="de"' in raw
    clips = [Clip(r.id, r.split, "de", "mis", "x", r.text, references=r.references) for r in german.reports]
    write_manifest(tmp_path / "manifest.parquet", clips)
    config = WikipediaConfig("dump.xml.bz2", 10**6, 4, 40, False, 10)
    extraction = extract_sentences(config, tmp_path / "manifest.parquet", "demo_de")
    assert read_table(extraction.folder / "sentences.parquet")["text"].to_pylist() == german.sentences


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dataclasses.replace(corpus_config(), language="fr"), "worded in en and de, not `fr`"),
        (corpus_config(language="de"), "the language stands in demo.corpus alone"),
    ],
)
def test_the_language_is_said_once_and_known(config: CorpusConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(config, "demo", tmp_path)
