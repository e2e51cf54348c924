"""The order of the suite, and its share of the cores."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # One worker a core, so one thread a worker and each process that it starts: two on a core wait for each other, and
    # the same small training takes twice as long. Set before anything imports torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests assert of bits holds on a CPU, also where there is a GPU; those of a GPU name it.
os.environ.setdefault("SLT_DEVICE", "cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The miniature pipeline comes first: it takes minutes of one core, which the other files fill on the second."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
