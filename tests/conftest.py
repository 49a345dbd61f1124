"""Fixtures that every test may use."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

#: Also where Pynetes is not installed; the asynchronous `cluster` below hides the plugin's.
pytest_plugins = ["pynetes.testing.plugin", "pytester"]

#: One commit gives one result; `pytest --hypothesis-profile=explore` looks for what has not been tried.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("same")

if TYPE_CHECKING:
    from pynetes.testing.cluster import Cluster


@pytest.fixture
async def cluster() -> AsyncIterator["Cluster"]:
    """A whole cluster in this process, with two scripted nodes."""
    from pynetes.testing.cluster import Cluster  # here, so that tests that need none do not wait for the import

    async with Cluster(nodes=2) as running:
        yield running
