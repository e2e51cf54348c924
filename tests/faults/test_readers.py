"""A damaged file is read, or refused by one error that names it: never a traceback, a hang, a crash or a silent lie.

Forty mutants of each format; `benchmarks/mutants.py` makes more of them and counts.
"""

import gzip
import random
from collections.abc import Iterator

import mutation
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import ACCEPTED, BARE, CRASHED, EQUAL, FAILURES, HUNG, KINDS, UNNAMED, Mutation, Reader, Watched, mutate
from readers import FAULTY, READERS

MUTANTS = 40
SHARES = st.floats(0, 1, exclude_max=True)
MUTATIONS = st.lists(st.builds(Mutation, st.sampled_from(KINDS), SHARES, SHARES, st.integers(0, 2**16)), min_size=1)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("readers")) as process:
        yield process


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused_by_name(reader: Reader, watched: Watched) -> None:
    valid = watched.valid(reader)

    @settings(
        max_examples=MUTANTS,
        derandomize=True,  # the suite asks the same of everyone; the benchmark draws anew
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations=MUTATIONS, keep_header=st.booleans())
    def check(mutations: list[Mutation], keep_header: bool) -> None:
        outcome = watched.outcome(reader, mutate(valid, mutations[:3], keep_header))
        assert outcome.kind not in FAILURES, f"{outcome.kind}: {outcome.detail}"

    check()


def test_half_of_the_mutants_get_past_the_magic_bytes() -> None:
    valid = bytes(range(256)) * 4
    for seed in range(200):
        changed = mutate(valid, [Mutation.draw(random.Random(seed))], keep_header=True)
        assert changed[:16] == valid[:16] and len(changed) >= 16
    first_line = b"name|signer|text\n"
    assert mutate(first_line + valid, [Mutation("truncate", 0.0, 0.0, 0)], keep_header=True) == first_line


def test_each_kind_of_mutation_changes_what_it_says() -> None:
    body = bytes(range(100))
    assert Mutation("truncate", 0.5, 0.0, 0).apply(body) == body[:50]
    assert Mutation("insert", 0.5, 0.0, 0).apply(body) == body[:50] + b"\0" + body[50:]
    assert Mutation("duplicate", 0.5, 0.0, 0).apply(body) == body[:51] + body[50:]
    assert Mutation("replace", 0.5, 0.0, 1).apply(body) == body[:50] + b"\xff" + body[51:]
    flipped = Mutation("flip", 0.5, 0.0, 3).apply(body)
    assert [a ^ b for a, b in zip(flipped, body, strict=True)] == [0] * 50 + [8] + [0] * 49


@pytest.mark.parametrize(
    ("letter", "kind"), [("b", BARE), ("u", UNNAMED), ("h", HUNG), ("c", CRASHED), ("a", ACCEPTED), ("v", EQUAL)]
)
def test_every_failure_is_seen(letter: str, kind: str, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "SECONDS", 3.0)
    assert watched.outcome(FAULTY, letter.encode()).kind == kind


def test_the_inside_of_a_packed_file_gets_a_right_checksum(watched: Watched) -> None:
    reader = next(reader for reader in READERS if reader.packed)
    valid = watched.valid(reader)
    assert watched.outcome(reader, valid).kind == EQUAL
    assert watched.outcome(reader, valid.replace(b"REGEN", b"SONNE")).kind == "read different"
    assert gzip.decompress((watched._place(reader) / reader.file).read_bytes()) != valid
