"""The order of the suite."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The miniature pipeline comes first: it takes minutes of one core, which the other files fill on the second."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
