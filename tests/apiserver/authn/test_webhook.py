"""Webhooks that answer, lie, fall silent; and what is remembered of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from pynetes.apiserver.authn.tokens import InvalidToken
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authn.webhook import TokenWebhook, poster
from pynetes.apiserver.authz.attributes import Attributes, Verdict
from pynetes.apiserver.authz.webhook import AccessWebhook
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import FakeClock

ALICE = User("alice", uid="1", groups=("dev",))


class Webhook:
    """A server: answers with `status`, or fails."""

    def __init__(self, status: Object | None) -> None:
        self.status, self.asked = status, list[Object]()

    async def post(self, review: Object) -> Object:
        self.asked.append(review)
        if self.status is None:
            raise ConnectionError("refused")
        return {"kind": review["kind"], "status": self.status}


def tokens(webhook: Webhook, clock: FakeClock) -> TokenWebhook:
    return TokenWebhook(webhook.post, clock, seconds=120)


async def test_a_token_is_reviewed_once_in_a_while() -> None:
    """The user as the webhook says; asked again when the time is over; no token is kept."""
    clock = FakeClock()
    webhook = Webhook({"authenticated": True, "user": {"username": "alice", "groups": ["dev"]}})
    authenticator = tokens(webhook, clock)
    for _ in range(3):
        found = await authenticator.authenticate("t0ken", ("api",))
        assert found is not None and found.user == User("alice", groups=("dev",))
    assert len(webhook.asked) == 1
    await authenticator.authenticate("t0ken", ("other",))
    assert len(webhook.asked) == 2
    clock.advance(120)
    await authenticator.authenticate("t0ken", ("api",))
    assert len(webhook.asked) == 3
    assert "t0ken" not in str(authenticator._memory._found)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {"authenticated": False, "error": "t0ken is wrong"},
        {"authenticated": True},
        {"authenticated": True, "user": {"username": ""}},
        {"authenticated": True, "user": {"username": "alice"}, "audiences": ["elsewhere"]},
    ],
    ids=["silent", "refused", "nobody", "empty", "for others"],
)
async def test_no_good_answer_is_no(status: Any) -> None:
    """And no error tells the token, whatever the webhook says."""
    with pytest.raises(InvalidToken) as caught:
        await tokens(Webhook(status), FakeClock()).authenticate("t0ken", ("api",))
    assert "t0ken" not in str(caught.value)


async def test_silence_is_not_remembered() -> None:
    """The next request finds a webhook that is back."""
    webhook = Webhook(None)
    authenticator = tokens(webhook, FakeClock())
    with pytest.raises(InvalidToken):
        await authenticator.authenticate("t0ken", ())
    webhook.status = {"authenticated": True, "user": {"username": "alice"}}
    assert await authenticator.authenticate("t0ken", ())


def asked(verb: str = "get", **more: Any) -> Attributes:
    return Attributes(user=ALICE, verb=verb, resource="pods", namespace="a", **more)


async def test_access_is_asked_and_remembered_by_everything_that_matters() -> None:
    """A yes to one verb, name or user is none to another; yes and no have lives of their own."""
    clock, webhook = FakeClock(), Webhook({"allowed": True, "reason": "because"})
    authorizer = AccessWebhook(webhook.post, clock, allowed=300, denied=30)
    for _ in range(3):
        assert await authorizer.authorize(asked()) == (Verdict.ALLOW, "because")
    assert len(webhook.asked) == 1
    assert webhook.asked[0]["spec"] == {
        "user": "alice",
        "uid": "1",
        "groups": ["dev"],
        "resourceAttributes": {"namespace": "a", "verb": "get", "resource": "pods"},
    }
    webhook.status = {"allowed": False}
    assert (await authorizer.authorize(asked("delete"))).verdict is Verdict.NO_OPINION
    assert (await authorizer.authorize(asked(name="x"))).verdict is Verdict.NO_OPINION
    clock.advance(31)
    webhook.status = {"allowed": True, "denied": True}
    assert (await authorizer.authorize(asked("delete"))).verdict is Verdict.DENY
    assert (await authorizer.authorize(asked())).verdict is Verdict.ALLOW


async def test_a_silent_authorizer_has_no_opinion() -> None:
    """Nobody gets in by it, nobody whom others allow is locked out, and it is asked again."""
    webhook = Webhook(None)
    authorizer = AccessWebhook(webhook.post, FakeClock(), allowed=300, denied=30)
    assert (await authorizer.authorize(asked())).verdict is Verdict.NO_OPINION
    webhook.status = {"allowed": "yes"}
    assert (await authorizer.authorize(asked())).verdict is Verdict.NO_OPINION


def test_plain_http_is_refused(tmp_path: Path) -> None:
    """Reviews hold tokens."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "http://reviewer.example/authn"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    (tmp_path / "webhook.conf").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="must be https"):
        poster(str(tmp_path / "webhook.conf"))
