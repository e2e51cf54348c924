"""Gloss supervision: the CTC loss, the vocabulary, the word error rate, and a system that learns glosses end to end."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt import conditions, paths
from slt.batching import pad_features
from slt.bootstrap import bootstrap, draw, paired_test
from slt.clips import ClipSet
from slt.conditions import system_records
from slt.config.evaluate import EvaluateConfig
from slt.config.run import Row, RunConfig
from slt.config.train import AugmentConfig, FinetuneConfig, SystemConfig, TrainingConfig
from slt.ctc import best_labels, collapse, frames_needed
from slt.decoding import Search, Translation, recognise
from slt.errors import DataError
from slt.evaluations import Info, Record, read_evaluation, write_evaluation
from slt.finetune import Finetune, join
from slt.gloss import BLANK, UNKNOWN, encode_glosses, gloss_vocabulary, training_glosses
from slt.losses import gloss_loss
from slt.manifest import Clip
from slt.metrics import no_score
from slt.model_folder import load_model, load_training, save_model
from slt.models.sign_encoder import random_transformer
from slt.models.text_decoder import sltr
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.scoring import score_folder
from slt.tables import collect, write_tables
from slt.tokenizer import train_tokenizer
from slt.training import train
from slt.translate import Result
from slt.wer import WER, errors

LINES = ["RAIN NORTH RAIN", "SNOW NORTH", "SUN SOUTH SUN", "WIND RAIN", "SOUTH SNOW NORTH", "SUN"]
TEXTS = [f"Here is the report number {i}: {line.lower()}." for i, line in enumerate(LINES)]
SYSTEM = SystemConfig("frames", 1.0, 0.0, "scratch", gloss_weight=1.0)
SYSTEMS = {
    "sign2text": SystemConfig("frames", 1.0, 0.0, "scratch"),
    "sign2glosstext": SYSTEM,
    "sign2semtext": SystemConfig("sem", 1.0, 1.0, "pretrained"),
}
EVALUATE = EvaluateConfig(beam=1, length_penalty=1.0, max_tokens=8, batch=4, resamples=200)


def clip(number: int, gloss: str | None, split: str = "train") -> Clip:
    return Clip(f"{split}-{number}", split, "en", "mis", "v.mp4", TEXTS[number], gloss=gloss)


def clip_set(split: str = "train", lines: list[Any] = LINES, frames: int = 9) -> ClipSet:
    """Clips of noise, the same noise in every split."""
    noise = np.random.default_rng(0)
    features = [noise.standard_normal((frames + i, 12)).astype(np.float16) for i in range(len(lines))]
    sems = noise.standard_normal((len(lines), 16)).astype(np.float32)
    return ClipSet([clip(i, line, split) for i, line in enumerate(lines)], features, sems, 0)


def halves() -> tuple[SignTranslator, SignTranslator, Any]:
    """Untrained sign2sem and sem2text models, and the tokenizer."""
    tokenizer = train_tokenizer(TEXTS, 300)
    ids = {"pad": tokenizer.pad_token_id, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    encoder = random_transformer(1, 32, 2, 64, 0.0, 64)
    sign2sem = SignTranslator(SignTranslatorConfig(feature_dim=12, sem_dim=16, encoder=encoder))
    decoder = sltr(1, 32, 2, 64, 0.0, len(tokenizer), 32, ids)
    return sign2sem, SignTranslator(SignTranslatorConfig(sem_dim=16, decoder=decoder, tokens=2)), tokenizer


def model_and_tokenizer(system: SystemConfig = SYSTEM) -> tuple[SignTranslator, Any]:
    sign2sem, sem2text, tokenizer = halves()
    return join(sign2sem, sem2text, system, 1, gloss_vocabulary(LINES)).eval(), tokenizer


def phase(augment: AugmentConfig, steps: int, system: SystemConfig = SYSTEM, **changes: Any) -> Finetune:
    model, tokenizer = model_and_tokenizer(system)
    training = TrainingConfig(
        lr=5e-3,
        schedule="constant",
        warmup_steps=2,
        max_steps=steps,
        micro_batch=40,
        accumulate=2,
        validate_every=steps,
        patience=None,
        weight_decay=0.0,
        clip_norm=1.0,
        label_smoothing=0.0,
        precision="float32",
    )
    config = FinetuneConfig(augment, dataclasses.replace(training, **changes))
    return Finetune(model, tokenizer, system, config, "mse", 64, 30, clip_set(), clip_set("dev"), 1)


STILL = AugmentConfig(1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(("micro_batch", "batches"), [(40, [6]), (3, [1, 1, 2, 2]), (1, [1, 1, 1, 1, 1, 1])])
def test_validation_has_no_more_frames_at_a_time_than_eight_micro_batches(
    monkeypatch: pytest.MonkeyPatch, micro_batch: int, batches: list[int]
) -> None:
    learner = phase(STILL, 3, dataclasses.replace(SYSTEM, sem_weight=1.0, memory="sem"), micro_batch=micro_batch)
    whole, encoded = learner.model.encode, list[int]()

    def encode(features: torch.Tensor, mask: torch.Tensor) -> Any:
        if not torch.is_grad_enabled():  # but for the gradients' cosine
            encoded.append(len(features))
        return whole(features, mask)

    monkeypatch.setattr(learner.model, "encode", encode)
    learner.validate()
    assert encoded == 3 * batches, "sentences, SEMs and glosses of clips of 14 to 9 frames"


@pytest.mark.parametrize(("target", "frames"), [([1], 1), ([1], 3), ([1, 2], 4), ([1, 1], 3), ([2, 2, 1], 5), ([1], 5)])
def test_ctc_loss_is_the_probability_of_all_paths_that_collapse_to_the_glosses(target: list[int], frames: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, frames, 3)
    probability = logits[0].softmax(-1)
    total = sum(
        float(torch.stack([probability[t, label] for t, label in enumerate(path)]).prod())
        for path in itertools.product(range(3), repeat=frames)
        if collapse(path) == target
    )
    loss = gloss_loss(logits, torch.tensor([frames]), torch.tensor([target]), torch.tensor([len(target)]))
    assert float(loss) == pytest.approx(-np.log(total), rel=1e-5)


def test_ctc_loss_sums_over_clips_and_ignores_padding() -> None:
    torch.manual_seed(0)
    logits, frames, lengths = torch.randn(2, 6, 4), torch.tensor([6, 4]), torch.tensor([3, 1])
    glosses = torch.tensor([[1, 2, 1], [3, 0, 0]])
    alone = [
        gloss_loss(
            logits[i : i + 1, : frames[i]], frames[i : i + 1], glosses[i : i + 1, : lengths[i]], lengths[i : i + 1]
        )
        for i in range(2)
    ]
    dirty, labels = logits.clone().requires_grad_(), glosses.clone()
    with torch.no_grad():
        dirty[1, 4:] = 1e4
    labels[1, 1:] = 2
    loss = gloss_loss(dirty, frames, labels, lengths)
    assert float(loss.detach()) == pytest.approx(float(sum(alone)), rel=1e-6)
    loss.backward()
    assert torch.equal(dirty.grad[1, 4:], torch.zeros(2, 4))


def test_ctc_loss_is_float32_under_bfloat16_autocast() -> None:
    head, states = torch.nn.Linear(8, 5), torch.randn(2, 7, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(states)
        loss = gloss_loss(logits, torch.tensor([7, 7]), torch.tensor([[1, 2], [3, 3]]), torch.tensor([2, 2]))
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    expected = gloss_loss(logits.float(), torch.tensor([7, 7]), torch.tensor([[1, 2], [3, 3]]), torch.tensor([2, 2]))
    assert torch.equal(loss, expected)


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [1, 1, 1], [1, 2, 2, 1, 1]])
def test_a_clip_with_too_few_frames_adds_zero_and_one_more_frame_is_enough(target: list[int]) -> None:
    needed, glosses, length = frames_needed(target), torch.tensor([target]), torch.tensor([len(target)])
    enough, short = torch.randn(1, needed, 3), torch.randn(1, needed - 1, 3, requires_grad=True)
    assert 0 < float(gloss_loss(enough, torch.tensor([needed]), glosses, length)) < 100
    if needed > 1:
        loss = gloss_loss(short, torch.tensor([needed - 1]), glosses, length)
        loss.backward()
        assert loss == 0 and bool((short.grad == 0).all())


def test_collapse_joins_runs_before_it_drops_blanks() -> None:
    assert collapse([0, 1, 1, 0, 1, 2, 2, 0, 0]) == [1, 1, 2]
    assert collapse([0, 0]) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_likeliest_labels_of_all(seed: int) -> None:
    scores = np.random.default_rng(seed).dirichlet([0.7, 0.5, 0.5], size=6)
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(3), repeat=6):
        spelt = tuple(collapse(path))
        totals[spelt] = totals.get(spelt, 0.0) + float(np.prod([scores[t, label] for t, label in enumerate(path)]))
    assert best_labels(np.log(scores), 1000) == list(max(totals, key=lambda spelt: totals[spelt]))


def test_a_beam_sums_over_paths_where_the_greedy_one_takes_the_likeliest() -> None:
    scores = np.log([[0.6, 0.4], [0.6, 0.4]])  # blank twice 0.36, but label 1 by any of three paths 0.64
    assert best_labels(scores, 1) == [] and best_labels(scores, 2) == [1]


def test_the_vocabulary_is_by_frequency_then_by_the_alphabet() -> None:
    vocabulary = gloss_vocabulary(LINES)
    assert vocabulary == [BLANK, UNKNOWN, "NORTH", "RAIN", "SUN", "SNOW", "SOUTH", "WIND"]
    assert gloss_vocabulary(reversed(LINES)) == vocabulary
    assert encode_glosses(["WIND FOG RAIN", ""], vocabulary) == [[7, 1, 3], []]


@pytest.mark.parametrize("special", [BLANK, UNKNOWN])
def test_a_gloss_spelt_like_the_blank_is_refused(special: str) -> None:
    with pytest.raises(DataError, match=f"a gloss `{special}`"):
        gloss_vocabulary([*LINES, f"RAIN {special}"])


@pytest.mark.parametrize("missing", [None, "", " "])
def test_a_train_clip_without_gloss_is_named_with_the_systems_that_need_none(missing: str | None) -> None:
    lines: list[Any] = [*LINES[:3], missing, missing, LINES[5]]
    clips = [clip(i, line) for i, line in enumerate(lines)]
    with pytest.raises(DataError) as error:
        training_glosses(clips, "sign2glosstext", "phoenix14t", SYSTEMS)
    message = str(error.value)
    assert "phoenix14t: 2 of 6 train clips have no gloss, the first: `train-3`" in message
    assert "`sign2glosstext`" in message
    assert message.endswith("needs no gloss: sign2text, sign2semtext")
    assert training_glosses(clips[:3], "sign2glosstext", "demo", SYSTEMS) == LINES[:3]


# From NIST's sclite (SCTK 2.4.10, `sclite -i rm -o pralign`): reference, hypothesis, #S + #D + #I. jiwer 4.0 agrees on
# all but the last three, where it counts 6, 6 and 8: a plain edit distance takes substitutions that sclite's does not.
SCLITE = [
    ("TOMORROW NORTH RAIN", "TOMORROW NORTH RAIN", 0),
    ("TOMORROW NORTH RAIN", "TOMORROW RAIN", 1),
    ("TOMORROW NORTH RAIN", "TOMORROW SOUTH RAIN SNOW", 2),
    ("TOMORROW NORTH RAIN", "", 3),
    ("RAIN", "SNOW WIND SUN", 3),
    ("NORTH NORTH RAIN", "NORTH RAIN NORTH", 2),
    ("A B C D E", "B C D E A", 2),
    ("A B A A A B C B C D", "C B B C B D B C", 7),
    ("B B C C C D D A B B", "B D A B D D B", 7),
    ("A B C D E F G G E G H I", "A B J D E K E H J L B M I", 9),
]


def test_word_errors_are_those_of_sclite() -> None:
    found = [errors(hypothesis.split(), reference.split()) for reference, hypothesis, _ in SCLITE]
    assert found == [expected for *_, expected in SCLITE]
    references, hypotheses = [pair[0] for pair in SCLITE], [pair[1] for pair in SCLITE]
    glosses = sum(len(reference.split()) for reference in references)
    assert WER.statistics(hypotheses, references).value() == pytest.approx(100 * sum(found) / glosses)


def test_wer_is_resampled_by_the_draw_of_every_other_metric() -> None:
    references, hypotheses = [pair[0] for pair in SCLITE], [pair[1] for pair in SCLITE]
    statistics, drawn = WER.statistics(hypotheses, references), draw(len(SCLITE), 200, 7)
    picked = np.random.default_rng(7).choice(len(SCLITE), size=(200, len(SCLITE)))
    wrong, length = (np.array(column) for column in zip(*statistics.values.tolist(), strict=True))
    expected = np.sort(100 * wrong[picked].sum(1) / length[picked].sum(1))
    score = bootstrap(statistics, drawn)
    assert (score.low, score.high) == pytest.approx((expected[5], expected[194]))
    assert score.signature == "nrefs:1|bs:200|seed:7|unit:gloss|clean:none|align:sclite-s4-i3-d3"
    assert paired_test(statistics, statistics, drawn).p_value == 1


def test_a_gloss_that_cannot_be_known_is_an_error_even_as_unknown() -> None:
    assert WER.statistics([f"RAIN {UNKNOWN}"], ["RAIN FOG"]).value() == 50


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [(["A"], ["A", "B"], "1 hypotheses"), (["A", "B"], ["A", " "], "reference 1 is empty"), ([], [], "nothing")],
)
def test_wer_refuses_what_has_no_rate(hypotheses: list[str], references: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        WER.statistics(hypotheses, references)


@pytest.mark.parametrize("garbage", [1e4, float("nan")])
def test_garbage_in_the_padding_does_not_reach_the_gloss_logits(garbage: float) -> None:
    model, _ = model_and_tokenizer()
    features, mask = pad_features(clip_set().features)
    dirty = features.clone()
    dirty[mask == 0] = garbage
    clean, spoilt = (model.gloss_logits(model.encode(x, mask)[0])[mask.bool()] for x in (features, dirty))
    assert torch.equal(clean, spoilt)


@pytest.mark.parametrize("beam", [1, 4])
def test_recognition_reads_real_frames_only_whatever_the_batch(beam: int) -> None:
    model, _ = model_and_tokenizer()
    clips = [array[: 1 + 2 * i] for i, array in enumerate(clip_set().features)]
    with torch.no_grad():
        model.gloss_head.weight.mul_(20)  # an untrained head hardly tells frames apart
    together, alone = recognise(model, clips, 4, beam), [recognise(model, [array], 1, beam)[0] for array in clips]
    assert together == alone
    assert sum(map(len, alone)) > len(clips)
    assert all(len(glosses) <= len(array) for glosses, array in zip(alone, clips, strict=True))


def test_a_gloss_head_leaves_the_start_of_the_other_parts_as_it_is() -> None:
    sign2sem, sem2text, _ = halves()
    plain = join(sign2sem, sem2text, SYSTEMS["sign2text"], 1).state_dict()
    glossed = join(sign2sem, sem2text, SYSTEM, 1, gloss_vocabulary(LINES)).state_dict()
    assert set(glossed) - set(plain) == {"gloss_head.weight", "gloss_head.bias"}
    assert all(torch.equal(plain[name], glossed[name]) for name in plain)


@pytest.mark.parametrize(
    ("memory", "start"), [("frames", "scratch"), ("sem", "pretrained"), ("sem+frames", "pretrained")]
)
def test_the_losses_of_a_batch_are_the_sums_over_its_clips_with_any_memory(memory: Any, start: Any) -> None:
    sign2sem, sem2text, _ = halves()
    system = SystemConfig(memory, 1.0, 1.0, start, gloss_weight=0.5)
    learner = phase(STILL, 4, system)
    learner.model = join(sign2sem, sem2text, system, 1, gloss_vocabulary(LINES)).eval()
    with torch.no_grad():
        together = learner.losses(learner.batch(list(range(6)), 0))
        alone = [learner.losses(learner.batch([i], 0)) for i in range(6)]
    assert {name: weight for name, (_, weight) in together.items()} == {
        "loss_text": 1.0,
        "loss_sem": 1.0,
        "loss_gloss": 0.5,
        "gloss_too_short": 0.0,
    }
    for name, (loss, _) in together.items():
        assert float(loss) == pytest.approx(sum(float(own[name][0]) for own in alone), rel=1e-4), name


def test_six_clips_are_learnt_saved_and_recognised_again(tmp_path: Path) -> None:
    learner = phase(STILL, 90)
    done = train(learner, learner.config.training, 1, tmp_path / "work")
    assert done.scores("dev_wer")[-1][1] < 20
    save_model(tmp_path / "model", learner.model, done, learner.select, learner.notes(done))
    training, points = load_training(tmp_path / "model")
    assert training["gloss"] == {"vocabulary": 8, "too_short_train_clips": [], "too_short_share_augmented": 0.0}
    assert (90, "dev_wer", float(f"{done.scores('dev_wer')[-1][1]:.6g}")) in points
    again = load_model(tmp_path / "model")
    assert again.config.glosses == gloss_vocabulary(LINES)
    clips = clip_set().features
    assert recognise(again, clips, 6, 1) == recognise(learner.model, clips, 6, 1)
    assert torch.equal(again.gloss_head.weight, learner.model.gloss_head.weight)


def test_a_model_without_gloss_head_has_none_after_loading(tmp_path: Path) -> None:
    sign2sem, sem2text, _ = halves()
    join(sign2sem, sem2text, SYSTEMS["sign2text"], 1).save_pretrained(tmp_path)
    assert load_model(tmp_path).config.glosses is None


def test_clips_that_augmentation_makes_too_short_are_counted(tmp_path: Path) -> None:
    learner = phase(AugmentConfig(0.2, 0.2, 0.0, 0.0), 4, validate_every=2)
    done = train(learner, learner.config.training, 1, tmp_path)
    assert learner.too_short == []
    shares = [value for _, value in done.scores("train_gloss_too_short")]
    assert len(shares) == 2 and all(0 < share <= 1 for share in shares)
    assert learner.notes(done)["gloss"]["too_short_share_augmented"] == pytest.approx(np.mean(shares), abs=1e-4)


def test_clips_that_are_too_short_as_they_are_are_named(caplog: pytest.LogCaptureFixture) -> None:
    model, tokenizer = model_and_tokenizer()
    learner = phase(STILL, 4)
    short = clip_set(frames=2)
    with caplog.at_level("WARNING"):
        learner = Finetune(model, tokenizer, SYSTEM, learner.config, "mse", 64, 30, short, clip_set("dev"), 1)
    assert learner.too_short == ["train-0"]  # three glosses in two frames; train-4 has three in six
    assert "1 train clips" in caplog.text and "train-0" in caplog.text
    batch = learner.batch([0, 1], 0)
    assert batch["gloss_too_short"].tolist() == [True, False]
    counts = learner.counts([0, 1])
    assert counts == {**counts, "loss_gloss": 5, "gloss_too_short": 2}
    assert bool(torch.isfinite(learner.losses(batch)["loss_gloss"][0]))


def test_a_dev_split_without_gloss_has_no_error_rate() -> None:
    model, tokenizer = model_and_tokenizer()
    config = phase(STILL, 4).config
    dev = clip_set("dev", [*LINES[:5], None])
    learner = Finetune(model, tokenizer, SYSTEM, config, "mse", 64, 30, clip_set(), dev, 1)
    assert "wer" not in learner.validate()[0]


def evaluated(work: Path, dev_lines: list[Any] = LINES) -> list[Record]:
    model, tokenizer = model_and_tokenizer()
    search = Search(beam=1, length_penalty=1.0, max_tokens=4, batch=4)
    sets = clip_set(), clip_set("dev", dev_lines), clip_set("test")
    return system_records(model, tokenizer, search, SYSTEM, *sets, seed=1, work=work)[0]


def test_records_keep_glosses_and_shuffling_features_shuffles_them(tmp_path: Path) -> None:
    records = evaluated(tmp_path / "work")
    own = {r.id: r for r in records if (r.split, r.condition) == ("test", "model")}
    shuffled = {r.id: r for r in records if r.condition == "shuffled_features"}
    assert [r.gloss_reference for r in own.values()] == LINES
    assert sorted(r.gloss_hypothesis for r in own.values()) == sorted(r.gloss_hypothesis for r in shuffled.values())
    assert [r.gloss_hypothesis for r in own.values()] != [r.gloss_hypothesis for r in shuffled.values()]
    assert all(r.gloss_hypothesis is None and r.gloss_reference is None for r in records if r.condition == "constant")
    info = Info("demo", "minilm", "sltr", {"gloss_free": True}, {"steps": 1, "plateaued": True}, row="x")
    write_evaluation(tmp_path, records, info, {}, [])
    assert sorted(read_evaluation(tmp_path).records, key=str) == sorted(records, key=str)


def test_what_was_decoded_before_an_interruption_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluated(tmp_path / "undisturbed" / "work")
    decode, calls = conditions.translate, []

    def interrupted(*arguments: Any, **keywords: Any) -> list[Translation]:
        calls.append(keywords["what"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(*arguments, **keywords)

    monkeypatch.setattr(conditions, "translate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "work")
    assert evaluated(tmp_path / "work") == whole
    assert calls == ["dev", "test", "test"]


def test_scores_have_a_rate_with_its_interval_or_say_why_not(tmp_path: Path) -> None:
    scores = score_folder(evaluated(tmp_path / "work", [None, *LINES[1:]]), EVALUATE)
    wer = scores["test"]["model"]["wer"]
    assert wer["n"] == 6 and wer["low"] <= wer["high"] and "unit:gloss" in wer["signature"]
    assert scores["test"]["constant"]["wer"] == no_score("no glosses: this system or control recognises none")
    assert scores["dev"]["model"]["wer"] == no_score("1 of 6 clips have no gloss, the first: dev-0")


def run_of(root: Path, glosses: bool) -> RunConfig:
    records = evaluated(root / "work")
    for name in ("a-text", "b-gloss"):
        own = name == "b-gloss" and glosses
        kept = (
            records if own else [dataclasses.replace(r, gloss_hypothesis=None, gloss_reference=None) for r in records]
        )
        provenance = {"gloss_free": True, "backbone": "b0", "weights": "x", "gloss_supervision": own}
        info = Info("demo", "minilm", "sltr", provenance, {"steps": 1, "plateaued": True}, row=name)
        write_evaluation(root / paths.evaluation_dir(name), kept, info, score_folder(kept, EVALUATE), [])
    rows = {name: Row("demo", name[2:], "minilm", "sltr", 1, None) for name in ("a-text", "b-gloss")}
    return RunConfig(("demo",), {}, {}, rows)


def test_tables_show_wer_where_a_row_has_it_and_mark_what_depends_on_gloss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(collect(run_of(tmp_path, glosses=True)), Path("metrics"))
    report, summary = Path("metrics/demo.md").read_text(), json.loads(Path("metrics/summary.json").read_text())
    systems = report.split("## Systems")[1]
    score = read_evaluation(paths.evaluation_dir("b-gloss")).scores["test"]["model"]["wer"]
    rows = {
        name: next(line for line in systems.splitlines() if line.startswith(f"| {name}"))
        for name in summary
        if name != "ceiling"
    }
    assert "gloss WER" in systems.splitlines()[2]
    assert f"{score['value']:.2f} ± {score['half_width']:.2f}" in rows["b-gloss"]
    assert "[^" in rows["b-gloss"].split("|")[1] and "[^" not in rows["a-text"].split("|")[1]
    assert "gloss-dependent: its own training reads the glosses" in report and "not gloss-free" not in report
    assert "features only" in report
    assert "- wer: `nrefs:1|bs:200" in report
    assert summary["b-gloss"]["wer"] == round(score["value"], 2) and "wer" not in summary["a-text"]

    write_tables(collect(run_of(tmp_path, glosses=False)), Path("metrics"))
    plain = Path("metrics/demo.md").read_text()
    assert not [word for word in ("WER", "wer:", "gloss-dependent", "features only") if word in plain]


def test_translate_shows_glosses_where_the_model_has_a_head() -> None:
    assert Result("v.mp4", 9, ["Rain."], [0.0], [], ["RAIN", "NORTH"]).to_json()["glosses"] == ["RAIN", "NORTH"]
    assert Result("v.mp4", 9, ["Rain."], [0.0], []).to_json()["glosses"] is None
