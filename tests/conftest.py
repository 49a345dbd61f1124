"""Fixtures that every test may use."""

from collections.abc import AsyncIterator

import pytest

from pynetes.testing.cluster import Cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A whole cluster in this process, with two scripted nodes."""
    async with Cluster(nodes=2) as running:
        yield running
