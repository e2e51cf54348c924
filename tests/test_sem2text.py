"""What sem2text trains on when it may not have all of the monolingual text."""

import numpy as np
import pytest

from slt.sem2text import chosen_sentences

TEXTS = [f"sentence {i}" for i in range(200)]
SEMS = np.arange(200, dtype=np.float32)[:, None]


def test_all_of_the_text_is_the_text_itself() -> None:
    texts, sems = chosen_sentences(TEXTS, SEMS, 1.0)
    assert texts is TEXTS and sems is SEMS


@pytest.mark.parametrize(("share", "count"), [(0.5, 100), (0.1, 20), (0.001, 1)])
def test_a_share_keeps_the_order_and_each_sentence_its_sem(share: float, count: int) -> None:
    texts, sems = chosen_sentences(TEXTS, SEMS, share)
    assert len(texts) == count
    assert [f"sentence {i:.0f}" for i in sems[:, 0]] == texts
    assert texts == sorted(texts, key=TEXTS.index)


def test_a_smaller_share_is_part_of_a_larger_one_and_no_prefix() -> None:
    shares = [set(chosen_sentences(TEXTS, SEMS, share)[0]) for share in (0.1, 0.3, 0.5)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] != set(TEXTS[:100])
