"""Which train clips a learning curve uses."""

import pytest

from slt.clips import chosen_clips
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
