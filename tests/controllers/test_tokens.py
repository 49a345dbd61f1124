"""Secrets with tokens: filled, removed with their accounts; bootstrap tokens removed when their time is over."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from pynetes.apis.core import secrets
from pynetes.controllers import Config, tokencleaner
from pynetes.controllers.serviceaccounttokens import NAME, TYPE
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue
from tests.controllers.harness import running

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def account(name: str) -> Object:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def secret(name: str, of: str) -> Object:
    metadata = {"name": name, "namespace": "shop", "annotations": {NAME: of}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": TYPE}


async def test_filled_and_removed() -> None:
    """A Secret for an account gets its token; one for nobody goes, as does one whose account went."""
    config = Config(token_key=issue.new_key, root_ca=lambda: "PEM")
    async with running("serviceaccount-token", config=config) as world:
        world.api.put(account("web"))
        world.api.put(secret("t", "web"))
        world.api.put(secret("nobody", "missing"))
        await world.settle()
        assert world.get(secrets.RESOURCE, "t", "shop")["data"].keys() == {"token", "namespace", "ca.crt"}
        assert world.api.get(secrets.RESOURCE, Key("shop", "nobody")) is None
        world.api.remove(account("web"))
        await world.settle()
        assert world.api.get(secrets.RESOURCE, Key("shop", "t")) is None


@pytest.mark.parametrize(
    ("expiration", "left"),
    [
        ("2026-01-01T01:00:00Z", timedelta(hours=1)),
        ("2025-12-31T23:00:00Z", timedelta(hours=-1)),
        ("", None),
        ("tomorrow", timedelta()),
    ],
)
def test_when_a_bootstrap_token_ends(expiration: str, left: timedelta | None) -> None:
    """What cannot be read has ended; what names no end never does."""
    data = {"expiration": base64.b64encode(expiration.encode()).decode()} if expiration else {}
    assert tokencleaner.time_left({"data": data}, NOW) == left
