"""What every stage shares: the device that it computes on."""

import pytest
import torch

from slt.errors import ConfigError
from slt.stage import device_name


def pretend(monkeypatch: pytest.MonkeyPatch, given: str, gpus: int) -> None:
    """A machine with so many GPUs, and what the user asks for."""
    monkeypatch.setenv("SLT_DEVICE", given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("given", "gpus", "message"),
    [
        ("gpu", 1, r"SLT_DEVICE is `gpu`; set it to cpu, cuda or cuda:1"),
        ("cuda", 0, r"SLT_DEVICE is `cuda`, but torch \S+ finds 0 GPUs; look at `nvidia-smi`"),
        ("cuda:2", 2, r"SLT_DEVICE is `cuda:2`, but torch \S+ finds 2 GPUs"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, given: str, gpus: int, message: str
) -> None:
    pretend(monkeypatch, given, gpus)
    with pytest.raises(ConfigError, match=message):
        device_name()


@pytest.mark.parametrize(
    ("given", "gpus", "device"),
    [("", 0, "cpu"), ("", 1, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda"), ("cuda:1", 2, "cuda:1")],
)
def test_a_gpu_is_used_where_there_is_one_unless_told(
    monkeypatch: pytest.MonkeyPatch, given: str, gpus: int, device: str
) -> None:
    pretend(monkeypatch, given, gpus)
    assert device_name() == device
