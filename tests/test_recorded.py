"""Recorded passes: what batches are rounded up to, that it changes nothing, and, on a GPU, that recordings are true."""

import itertools
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from slt.batching import epoch_steps
from slt.models.sign_encoder import MaskedBatchNorm, random_transformer
from slt.models.text_decoder import sltr
from slt.models.translator import SignTranslator, SignTranslatorConfig
from slt.recorded import CLIPS, FRAMES, recorded, rounded

FEATURES, SEM, WIDTH, POSITIONS, VOCABULARY = 24, 12, 16, 64, 50
IDS = {"pad": 1, "bos": 0, "eos": 2}
MEMORIES = ["frames", "sem", "sem+frames"]


def translator(memory: str, dropout: float = 0.0) -> SignTranslator:
    torch.manual_seed(0)
    encoder = random_transformer(2, WIDTH, 2, 32, dropout, POSITIONS)
    decoder = sltr(2, 32, 2, 64, dropout, VOCABULARY, 32, IDS)
    sizes = {"feature_dim": FEATURES, "sem_dim": SEM, "tokens": 3}
    return SignTranslator(SignTranslatorConfig(**sizes, encoder=encoder, decoder=decoder, memory=memory)).train()


def batch(frames: list[int], tokens: int, seed: int = 0, device: str = "cpu") -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "features": torch.randn(len(frames), max(frames), FEATURES, generator=draw).to(device),
        "mask": (torch.arange(max(frames)) < torch.tensor(frames)[:, None]).float().to(device),
        "inputs": torch.randint(3, VOCABULARY, (len(frames), tokens), generator=draw).to(device),
    }


def gradients(model: SignTranslator, features: Tensor, mask: Tensor, inputs: Tensor) -> dict[str, Tensor]:
    """Of a loss that looks at every logit and the SEM; with those two."""
    model.zero_grad(set_to_none=True)
    states, sem = model.encode(features, mask)
    logits = model.decoder.logits(*model.build_memory(sem, states, mask), inputs)
    weights = torch.linspace(-1, 1, logits[0].numel(), device=logits.device).view(logits.shape[1:])
    ((logits.float().log_softmax(-1) * weights).sum() + sem.float().square().sum()).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {**found, "logits": logits.detach().clone(), "sem": sem.detach().clone()}


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 97, 116, 300, 475, 511])
def test_a_length_is_rounded_up_by_a_sixteenth_at_most(length: int) -> None:
    assert length <= rounded(length, FRAMES) < length * (1 + 1 / FRAMES)


def test_nothing_is_rounded_beyond_the_position_table() -> None:
    assert (rounded(475, FRAMES, 479), rounded(475, FRAMES, 480)) == (475, 480)


def test_after_two_epochs_of_a_corpus_few_batches_have_a_shape_that_was_not_there() -> None:
    # like PHOENIX-2014T's lengths, as in tests/test_batching.py
    lengths = np.random.default_rng(0).lognormal(np.log(108), 0.45, 7096).clip(16, 475).astype(int).tolist()
    seen, exact = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    new: list[float] = []
    for epoch in range(4):
        batches = list(itertools.chain.from_iterable(epoch_steps(lengths, 4096, 1, 1, epoch)))
        shapes = [(len(items), max(lengths[i] for i in items)) for items in batches]
        before = len(seen)
        seen.update((rounded(clips, CLIPS), rounded(frames, FRAMES)) for clips, frames in shapes)
        exact.update(shapes)
        new.append((len(seen) - before) / len(batches))
    assert max(new[2:]) < 0.05
    assert len(seen) < 120 < len(exact)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("frames", [[33, 20, *[9] * 15], [20], [63, 3], [1, 1, 1, 1]])
def test_rounding_up_changes_neither_logits_nor_gradients_nor_running_averages(frames: list[int], memory: str) -> None:
    given = batch(frames, tokens=11)
    plain, padded = translator(memory), translator(memory)
    expected = gradients(plain, **given)
    with recorded(padded):
        found = gradients(padded, **given)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)
    for buffer, other in zip(padded.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer, other)


def test_what_has_no_clip_has_something_to_attend_to() -> None:
    """Else it is NaN with the kernels of a GPU, and a gradient of zero times that is NaN too."""
    model, masks = translator("sem+frames"), list[Tensor]()
    for part in (model.encoder.transformer, model.decoder.seq2seq):
        part.register_forward_pre_hook(lambda _, args, given: masks.append(given["attention_mask"]), with_kwargs=True)
    with recorded(model):
        gradients(model, **batch([33, 20, *[9] * 15], tokens=11))
    assert [tuple(mask.shape) for mask in masks] == [(18, 34), (18, 36)]  # of 17 clips, 33 frames, 36 positions
    assert all(bool(mask.any(1).all()) for mask in masks)


def test_afterwards_and_in_validation_a_model_computes_as_it_did() -> None:
    model, given = translator("frames").eval(), batch([20, 9], tokens=5)
    with recorded(model):
        within = gradients(model, **given)
        assert "frame_states" in vars(model.encoder) and "logits" in vars(model.decoder)
    assert not {"frame_states", "logits"} & {*vars(model.encoder), *vars(model.decoder)}
    assert torch.equal(within["logits"], gradients(model, **given)["logits"])


def test_a_decoder_that_does_not_do_the_same_each_time_is_left_as_it_is() -> None:
    saving, dropping = translator("frames"), translator("frames")
    saving.decoder.seq2seq.gradient_checkpointing_enable({"use_reentrant": False})
    dropping.decoder.seq2seq.get_decoder().layerdrop = 0.1  # M2M-100's is 0.05
    for model in (saving, dropping):
        with recorded(model):
            assert "frame_states" in vars(model.encoder) and "logits" not in vars(model.decoder)


@pytest.mark.parametrize("frames", [2, 40])
def test_normalising_without_selecting_frames_is_normalising(frames: int) -> None:
    draw = torch.Generator().manual_seed(0)
    values = 3 * torch.randn(5, frames, WIDTH, generator=draw) + 2
    mask = batch([frames, 1, 2, 1, frames], 1)["mask"]
    ours, theirs = MaskedBatchNorm(WIDTH).train(), MaskedBatchNorm(WIDTH).train()
    for _ in range(2):
        torch.testing.assert_close(ours.without_selecting(values, mask), theirs(values, mask))
    for buffer, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(buffer, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("rounds", [False, True], ids=["float32", "bfloat16"])
def test_a_recorded_training_is_the_training_that_is_not_recorded(
    rounds: bool, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays, replay = list[torch.cuda.CUDAGraph](), torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    torch.backends.cuda.enable_cudnn_sdp(False)
    # each of two shapes plain, recorded, and replayed with weights that have changed since; two micro-batches a step
    steps = [[[20, 20, 17], [62, 3]], [[20, 19, 12], [62, 50]], [[20, 4, 4], [62, 62]], [[20, 20, 20], [62, 7]]]

    def train(within: bool) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        model = translator(memory).cuda().train()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        seen = list[dict[str, Tensor]]()
        with recorded(model) if within else nullcontext():
            for number, step in enumerate(steps):
                total: dict[str, Tensor] = {}
                for at, frames in enumerate(step):
                    with torch.autocast("cuda", torch.bfloat16, enabled=rounds):
                        made = gradients(model, **batch(frames, 9 + at, number, "cuda"))
                    for name, value in made.items():
                        key = f"{name} {at}" if name in ("logits", "sem") else name
                        total[key] = value + total.get(key, 0)
                for name, parameter in model.named_parameters():
                    parameter.grad = total.get(name)
                optimiser.step()
                seen.append(total)
        return seen, model.state_dict()

    (expected, weights), (found, others) = train(within=False), train(within=True)
    # of encoder and decoder, two shapes, forward and backward, in all steps but the first
    assert (len(replays), len({id(graph) for graph in replays})) == (24, 8)
    tolerance = 5e-2 if rounds else 1e-4
    for ours, theirs in zip([*found, others], [*expected, weights], strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            size = max(1.0, float(theirs[name].abs().max()))
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=tolerance * size, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_recorded_dropout_is_drawn_anew_and_follows_the_seed(caplog: pytest.LogCaptureFixture) -> None:
    model, given = translator("frames", dropout=0.3).cuda().train(), batch([20, 20], 9, device="cuda")
    with recorded(model):
        made = []
        for seed in (1, 1, 1, 2, 1):
            torch.manual_seed(seed)
            made.append(gradients(model, **given)["logits"])
    plain, first, second, other, again = made
    assert torch.equal(first, second) and torch.equal(second, again) and not torch.equal(second, other)
    torch.testing.assert_close(plain, first, rtol=1e-3, atol=1e-3)  # not recorded yet: the same draw
    assert not caplog.records  # which would say that it could not be recorded
