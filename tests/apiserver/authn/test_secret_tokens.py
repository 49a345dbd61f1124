"""Tokens that lie in Secrets: made by the controller, good while the Secret holds them, and for nothing else."""

import base64
from typing import Any

import jwt
import pytest

from pynetes.apis.core import secrets, serviceaccounts
from pynetes.apiserver.authn import legacy_tokens
from pynetes.apiserver.authn.legacy_tokens import INVALID_SINCE, LAST_USED
from pynetes.apiserver.authn.service_account import ServiceAccountTokens
from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.controllers.serviceaccounttokens import NAME, TYPE, filled
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue, tokens
from pynetes.storage.backend import Unavailable
from tests.apiserver.fakes import NOW, FakeClock, FakeObjects, obj

KEY = issue.new_key()


class World:
    """An account, a Secret that the controller has filled, and a verifier."""

    def __init__(self) -> None:
        self.objects = FakeObjects()
        self.account = self.objects.put(serviceaccounts.RESOURCE, obj(serviceaccounts.RESOURCE, "web", "shop"))
        empty = obj(secrets.RESOURCE, "t", "shop", type=TYPE)
        empty["metadata"]["annotations"] = {NAME: "web"}
        made = filled(empty, self.account, "PEM", KEY)
        assert made is not None and filled(made, self.account, "PEM", KEY) is None
        self.secret = self.objects.put(secrets.RESOURCE, made)
        self.clock = FakeClock()
        self.verifier = ServiceAccountTokens(("https://other",), (KEY.public_key(),), self.objects, self.clock)

    @property
    def token(self) -> str:
        return base64.b64decode(self.secret["data"]["token"]).decode()

    def forged(self, key: issue.Key = KEY, **changed: Any) -> str:
        claims = jwt.decode(self.token, options={"verify_signature": False})
        return tokens.sign({**claims, **changed}, key)


async def test_it_is_its_accounts() -> None:
    """Name, groups, UID; the Secret has the namespace and the authority beside it."""
    world = World()
    found = await world.verifier.authenticate(world.token, ("any",))
    assert found is not None and found.user.name == "system:serviceaccount:shop:web"
    assert found.user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert base64.b64decode(world.secret["data"]["ca.crt"]) == b"PEM"


def _gone(world: World) -> None:
    world.objects.remove(secrets.RESOURCE, Key("shop", "t"))


def _other(world: World) -> None:
    changed: Object = {**world.secret, "data": {**world.secret["data"], "token": base64.b64encode(b"x").decode()}}
    world.objects.put(secrets.RESOURCE, changed)


def _marked(world: World) -> None:
    metadata = {**world.secret["metadata"], "labels": {INVALID_SINCE: "2026-01-01"}}
    world.objects.put(secrets.RESOURCE, {**world.secret, "metadata": metadata})


def _account_gone(world: World) -> None:
    world.objects.remove(serviceaccounts.RESOURCE, Key("shop", "web"))


@pytest.mark.parametrize("change", [_gone, _other, _marked, _account_gone])
async def test_it_ends_with_what_holds_it(change: Any) -> None:
    """Deleting or changing the Secret, marking it, deleting the account: each revokes the token at once."""
    world = World()
    assert await world.verifier.authenticate(world.token, ())
    change(world)
    with pytest.raises(InvalidToken):
        await world.verifier.authenticate(world.token, ())


async def test_its_use_is_on_the_secret_once_a_day() -> None:
    """Who wants to be rid of such tokens sees which are in use."""
    world = World()
    revisions = []
    for seconds in (0, 60, 86400):
        world.clock.advance(seconds)
        assert await world.verifier.authenticate(world.token, ())
        kept = world.objects.get(secrets.RESOURCE, Key("shop", "t"))
        assert kept is not None and kept["metadata"]["labels"] == {LAST_USED: f"{world.clock.now():%Y-%m-%d}"}
        revisions.append(kept["metadata"]["resourceVersion"])
    assert revisions[0] == revisions[1] != revisions[2]


async def test_a_store_that_cannot_be_written_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account of its use is not worth refusing the token."""
    world = World()

    async def update(*_: object, **__: object) -> Object:
        raise Unavailable("away")

    monkeypatch.setattr(world.objects, "update", update)
    assert await world.verifier.authenticate(world.token, ())


def test_since_when_it_is_known() -> None:
    """As upstream says it, in its ConfigMap."""
    resource, told = legacy_tokens.tracking(NOW)
    assert resource.plural == "configmaps" and told["data"] == {"since": "2026-01-02"}


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "system:serviceaccount:kube-system:admin"},
        {"sub": "system:serviceaccount:shop:admin", f"{tokens.PREFIX}service-account.name": "admin"},
        {f"{tokens.PREFIX}secret.name": "another"},
        {f"{tokens.PREFIX}namespace": "kube-system", "sub": "system:serviceaccount:kube-system:web"},
    ],
)
async def test_other_claims_are_refused(claims: Object) -> None:
    """Even with the right signature: what counts is the very token that lies in the Secret."""
    world = World()
    with pytest.raises(InvalidToken):
        await world.verifier.authenticate(world.forged(**claims), ())


async def test_another_key_is_refused() -> None:
    """Naming the old issuer, which needs no end and no audience, helps no forger."""
    world = World()
    with pytest.raises(InvalidToken, match="no key"):
        await world.verifier.authenticate(world.forged(issue.new_key()), ())
    with pytest.raises(InvalidToken):
        await world.verifier.authenticate(tokens.sign({"iss": "https://other", "sub": "x"}, KEY), ())
