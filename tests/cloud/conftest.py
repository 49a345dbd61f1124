"""One moto server for all tests of this folder."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """Its URL; skipped where moto is not installed."""
    pytest.importorskip("moto")
    pytest.importorskip("boto3")
    from tests.cloud import aws

    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.CREDENTIALS.items():
            patch.setenv(name, value)
        with aws.moto() as url:
            yield url
