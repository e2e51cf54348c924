"""The SEM losses against their definitions."""

import numpy as np
import pytest
import torch
from torch import nn

from slt.losses import gradient_cosine, sem_loss, text_loss
from slt.sem_metrics import sem_figures


def test_siamese_is_the_mean_over_pairs_and_blind_to_rotation() -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(5, 6), torch.randn(5, 6)
    expected = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                ours = torch.cosine_similarity(predicted[i], predicted[j], dim=0)
                expected += (ours - torch.cosine_similarity(target[i], target[j], dim=0)) ** 2 / 4
    assert sem_loss("siamese", predicted, target) == pytest.approx(float(expected), rel=1e-5)
    rotation = torch.linalg.qr(torch.randn(6, 6))[0]
    assert sem_loss("siamese", target @ rotation, target) == pytest.approx(0, abs=1e-6)
    assert sem_loss("mse", target @ rotation, target) > 1


def test_siamese_of_one_clip_is_zero_not_nan() -> None:
    assert sem_loss("siamese", torch.randn(1, 6), torch.randn(1, 6)) == 0


def test_mse_and_cosine_sum_over_clips() -> None:
    predicted, target = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert sem_loss("mse", predicted, target) == pytest.approx(2.0)
    assert sem_loss("cosine", torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]] * 2)) == 1.0


def test_text_loss_ignores_padding() -> None:
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([[1, 2, -100], [3, -100, -100]])
    kept = nn.functional.cross_entropy(torch.stack([logits[0, 0], logits[0, 1], logits[1, 0]]), torch.tensor([1, 2, 3]))
    assert text_loss(logits, labels, 0.0) == pytest.approx(float(3 * kept), rel=1e-5)


def test_gradient_cosine_of_opposed_losses_is_minus_one() -> None:
    weight = nn.Parameter(torch.randn(4))
    assert gradient_cosine([weight.sum(), -2 * weight.sum()], [weight]) == pytest.approx(-1)


def test_sem_figures_of_true_constant_and_rotated_sems() -> None:
    draw = np.random.default_rng(0)
    true = draw.standard_normal((50, 8))
    assert sem_figures(true, true) == pytest.approx({"spearman": 1, "retrieval1": 1, "cosine": 1})
    assert sem_figures(np.ones((50, 8)), true)["spearman"] == 0
    assert sem_figures(np.zeros((50, 8)), true)["retrieval1"] == 0  # ties count against the prediction
    assert sem_figures(np.repeat(true, 2, 0), np.repeat(true, 2, 0))["retrieval1"] == 1  # clips of one sentence
    rotated = sem_figures(true @ np.linalg.qr(draw.standard_normal((8, 8)))[0], true)
    assert rotated["spearman"] == pytest.approx(1) and rotated["retrieval1"] < 0.5
