"""Which train clips a learning curve uses, and that clips of different languages are not mixed up."""

from dataclasses import replace

import numpy as np
import pytest

from slt.clips import ClipSet, chosen_clips
from slt.conditions import constant_sentence, derangement
from slt.config.train import ParallelConfig
from slt.errors import DataError
from slt.manifest import Clip

CLIPS = [Clip(f"clip-{i:02d}", "train", "en", "mis", "", f"sentence {i}") for i in range(20)]


def test_no_limit_means_all_clips() -> None:
    assert chosen_clips(CLIPS, ParallelConfig(None)) == CLIPS


def test_a_smaller_set_is_part_of_a_larger_one_and_no_mere_beginning() -> None:
    chosen = [chosen_clips(CLIPS, ParallelConfig(n)) for n in (5, 10, 20)]
    assert [len(clips) for clips in chosen] == [5, 10, 20]
    ids = [[clip.id for clip in clips] for clips in chosen]
    assert set(ids[0]) < set(ids[1]) < set(ids[2])
    assert all(names == sorted(names) for names in ids)  # their order stays
    assert chosen[1] != CLIPS[:10]


def test_the_choice_does_not_depend_on_the_order_of_the_manifest() -> None:
    assert {c.id for c in chosen_clips(CLIPS[::-1], ParallelConfig(7))} == {
        c.id for c in chosen_clips(CLIPS, ParallelConfig(7))
    }


def test_more_clips_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match=r"parallel\.train_clips: 21, but there are 20 train clips"):
        chosen_clips(CLIPS, ParallelConfig(21))


MIXED = [replace(clip, language="de" if i % 4 == 0 else "en") for i, clip in enumerate(CLIPS)]


def test_a_language_alone_and_then_a_part_of_it() -> None:
    german = chosen_clips(MIXED, ParallelConfig(None, ("de",)))
    assert [clip.id for clip in german] == [clip.id for clip in MIXED if clip.language == "de"]
    assert {clip.id for clip in chosen_clips(MIXED, ParallelConfig(2, ("de",)))} < {clip.id for clip in german}
    with pytest.raises(DataError, match=r"parallel\.languages: no train clip has text in `fr`; there are: de, en"):
        chosen_clips(MIXED, ParallelConfig(None, ("de", "fr")))


@pytest.mark.parametrize("seed", range(5))
def test_controls_swap_clips_of_one_language_and_leave_none_in_its_place(seed: int) -> None:
    languages = [clip.language for clip in MIXED]
    other = derangement(languages, seed)
    assert sorted(other) == list(range(20)) and all(i != j for i, j in enumerate(other))
    assert [languages[i] for i in other] == languages
    assert derangement(["en", "de"], seed) == [0, 1]  # one of a kind has to stay


def test_the_constant_sentence_is_in_the_language_that_is_asked_for() -> None:
    sems = np.zeros((20, 2), np.float32)
    sems[:, 0] = 1
    sems[4] = sems[1] = (2.0, 0.1)
    sems[8::4], sems[2::4] = (0.0, 1.0), (1.0, 0.5)
    clips = ClipSet(MIXED, [np.zeros((1, 1))] * 20, sems, 0)
    own = {language: constant_sentence(clips, language) for language in ("de", "en")}
    assert {language: clips.languages[clips.texts.index(text)] for language, text in own.items()} == {
        "de": "de",
        "en": "en",
    }
    assert constant_sentence(clips.of_languages(["en"]), "de") == own["en"]  # nothing German was trained on
