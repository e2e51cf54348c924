"""The published figures: typed, sourced, shipped with the package, and none of them an assertion."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
import yaml

from slt.config.base import parse
from slt.errors import ConfigError
from slt.published import UNKNOWN, Published, read_published

ROOT = Path(__file__).parent.parent
PUBLISHED = read_published()
CONTENT = yaml.safe_load((ROOT / "slt" / "published.yaml").read_text(encoding="utf-8"))


def test_the_file_is_shipped_with_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "published.yaml" in settings["package-data"]["slt"]


def test_the_tables_follow_when_a_published_figure_is_mended() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["tables"]
    assert "slt/published.yaml" in stage["deps"]


def test_every_source_is_used_and_says_how_it_was_read() -> None:
    used = {
        entry.source
        for part in (PUBLISHED.paper, PUBLISHED.claims, PUBLISHED.statements, PUBLISHED.prior)
        for entry in part
    }
    assert used == set(PUBLISHED.sources)


def test_the_papers_own_figures_are_second_hand_and_their_cells_unknown() -> None:
    """Nobody has read the paper's tables: to fill in a decoder, a teacher or a split would be a guess."""
    assert PUBLISHED.paper
    for figure in PUBLISHED.paper:
        assert PUBLISHED.sources[figure.source].reading == "second-hand"
        assert (figure.decoder, figure.teacher, figure.split) == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_no_figure_stands_twice() -> None:
    for part in (PUBLISHED.paper, PUBLISHED.prior):
        keys = [(f.corpus, f.system, f.label, f.split, f.metric, f.bounds()) for f in part]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["prior"][0].update(source="hearsay"), "no source `hearsay`"),
        (lambda c: c["prior"][0].update(corpus="csl"), "no corpus `csl`"),
        (lambda c: c["prior"][0].update(metric="rouge"), "no metric `rouge`"),
        (lambda c: c["prior"][0].update(gloss="some"), "gloss"),
        (lambda c: c["prior"][0].update(value=None), "needs a value, or low and high"),
        (lambda c: c["prior"][0].update(bleu=1.0), r"unknown key `published\.prior\[0\]\.bleu`"),
        (lambda c: c["claims"][1].update(expect="range"), "needs either low and high"),
        (lambda c: c["grid"]["how2sign"].update(clips=[9]), "clips needs two numbers"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(change, message: str) -> None:
    content = yaml.safe_load((ROOT / "slt" / "published.yaml").read_text(encoding="utf-8"))
    change(content)
    with pytest.raises(ConfigError, match=message):
        parse(Published, content, "published")


def test_entries_of_no_corpus_in_particular_belong_to_each() -> None:
    general = [claim for claim in PUBLISHED.claims if claim.corpus == UNKNOWN]
    for corpus in PUBLISHED.grid:
        own = PUBLISHED.of(corpus, "claims")
        assert [claim for claim in own if claim.corpus == UNKNOWN] == general
    assert not [figure for figure in PUBLISHED.of("how2sign", "paper") if figure.corpus == "phoenix14t"]
    assert dataclasses.asdict(PUBLISHED.paper[0])["corpus"] in PUBLISHED.grid
