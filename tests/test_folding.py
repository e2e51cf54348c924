"""Folding a BatchNorm into its convolution changes the speed and not the features, or it is not done."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from slt.folding import fold_batch_norms


def randomised(model: nn.Module) -> nn.Module:
    """With statistics that are not those of an untrained BatchNorm, which changes nothing."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_b0", "mobilenetv3_small_050", "resnet18"])
def test_a_folded_backbone_has_no_batch_norm_and_timms_own_features(name: str) -> None:
    model = randomised(timm.create_model(name, num_classes=0))
    folded = fold_batch_norms(model, 64)
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected, given = model(images), folded(images)
    assert norms(model) > 0 and norms(folded) == 0
    torch.testing.assert_close(given, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


class Forked(nn.Module):
    """The convolution's output is used beside its BatchNorm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Any) -> Any:
        seen = self.conv(images)
        return (seen + self.norm(seen)).mean((2, 3))


def test_a_convolution_that_is_used_elsewhere_too_is_left_alone() -> None:
    model = randomised(Forked())
    assert fold_batch_norms(model, 16) is model and norms(model) == 1


def test_a_backbone_without_batch_norms_is_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norms(model, 16)(images), model(images), atol=0, rtol=0)
