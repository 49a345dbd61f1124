"""AuthorizationConfiguration under attack: silent webhooks, failing conditions, and files that would open a door."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz import configuration
from pynetes.apiserver.authz.attributes import Attributes, Verdict
from pynetes.apiserver.authz.union import Modes
from pynetes.apiserver.authz.webhook import ConditionalWebhook
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import FakeClock, FakeObjects
from tests.apiserver.harness import api

ALICE = User("alice", groups=("dev",))
NODE, RBAC = {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}


def written(folder: Path, *authorizers: Object, **more: Any) -> str:
    path = folder / "authorization.yaml"
    given = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration", **more}
    path.write_text(json.dumps({**given, "authorizers": list(authorizers)}))
    return str(path)


def webhook(folder: Path, name: str = "asked", **more: Any) -> Object:
    kubeconfig = folder / "webhook.conf"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://reviewer.example/authz"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "current-context": "c",
    }
    kubeconfig.write_text(json.dumps(document))
    settings = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(kubeconfig)},
        **more,
    }
    return {"type": "Webhook", "name": name, "webhook": settings}


class Reviewer:
    """Answers, or not."""

    def __init__(self, status: Any) -> None:
        self.status, self.asked = status, 0

    async def post(self, review: Object) -> Object:
        self.asked += 1
        if self.status is None:
            raise OSError("gone")
        if self.status == "slow":
            await asyncio.sleep(60)
        return {"kind": "SubjectAccessReview", "status": self.status}


def made(folder: Path, reviewer: Reviewer, **more: Any) -> ConditionalWebhook:
    [entry] = configuration.load(written(folder, webhook(folder, **more)))
    assert entry.webhook is not None
    return ConditionalWebhook(entry.name, entry.webhook, FakeClock(), reviewer.post)


def question(**more: Any) -> Attributes:
    return Attributes(**{"user": ALICE, "verb": "get", "resource": "pods", "namespace": "a", **more})


async def test_conditions_say_what_it_is_asked_about(tmp_path: Path) -> None:
    """What is excluded costs no question; a condition sees the review's spec, and false outweighs a failure."""
    reviewer = Reviewer({"allowed": True})
    conditions = [
        {"expression": "has(request.resourceAttributes)"},
        {"expression": "request.resourceAttributes.namespace != 'kube-system'"},
        {"expression": "!('system:serviceaccounts:kube-system' in request.groups)"},
    ]
    authorizer = made(tmp_path, reviewer, matchConditions=conditions)
    assert (await authorizer.authorize(question())).allowed
    assert reviewer.asked == 1
    for excluded in (
        question(namespace="kube-system"),
        question(user=User("x", groups=("system:serviceaccounts:kube-system",))),
        Attributes(user=ALICE, verb="get", path="/metrics"),
    ):
        assert (await authorizer.authorize(excluded)).verdict is Verdict.NO_OPINION
    assert reviewer.asked == 1


@pytest.mark.parametrize(("policy", "verdict"), [("Deny", Verdict.DENY), ("NoOpinion", Verdict.NO_OPINION)])
async def test_silence_and_failing_conditions(policy: str, verdict: Verdict, tmp_path: Path) -> None:
    """Neither ever allows; the policy says whether the next authorizer may."""
    for status in (None, "slow", {"allowed": "yes"} if policy == "NoOpinion" else None):
        authorizer = made(tmp_path, Reviewer(status), failurePolicy=policy, timeout="10ms")
        assert (await authorizer.authorize(question())).verdict is verdict
    condition = [{"expression": "request.extra['missing'].size() > 0"}]
    authorizer = made(tmp_path, Reviewer({"allowed": True}), failurePolicy=policy, matchConditions=condition)
    assert (await authorizer.authorize(question())).verdict is verdict


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"timeout": "31s"}, "at most 30s"),
        ({"failurePolicy": "Allow"}, "must be NoOpinion or Deny"),
        ({"subjectAccessReviewVersion": "v1beta1"}, "must be v1"),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "relative"}}, "absolute path"),
        ({"matchConditions": [{"expression": "request.user"}]}, "must evaluate to bool"),
        ({"matchConditions": [{"expression": "object.x == 1"}]}, "undeclared reference"),
        ({"magic": True}, "unknown or not supported"),
    ],
)
def test_what_cannot_be_enforced_is_refused(change: Object, text: str, tmp_path: Path) -> None:
    """A webhook that is half understood would let somebody in."""
    with pytest.raises(ValueError, match=text):
        configuration.load(written(tmp_path, webhook(tmp_path, **change)))


def test_types_and_names(tmp_path: Path) -> None:
    """At least one; each name once; ABAC is not there; a type other than Webhook once."""
    for entries, text in (
        ((), "at least one"),
        ((RBAC, {"type": "RBAC", "name": "again"}), "the type 'RBAC'"),
        ((RBAC, {**NODE, "name": "rbac"}), "the name 'rbac'"),
        (({"type": "ABAC", "name": "old"},), "must be one of"),
        (({"type": "Webhook", "name": "w"},), "webhook: required"),
    ):
        with pytest.raises(ValueError, match=text):
            configuration.load(written(tmp_path, *entries))


async def test_webhooks_come_and_go_but_the_rules_stay(tmp_path: Path) -> None:
    """A change of the file counts; one that takes RBAC away, or puts AlwaysAllow in its place, does not."""
    clock, objects = FakeClock(), FakeObjects()
    path = written(tmp_path, NODE, RBAC)
    modes = Modes.configured(path, objects, clock)
    assert modes.by_rules and not (await modes.authorize(question())).allowed
    for wrong in (({"type": "AlwaysAllow", "name": "open"},), (NODE,), (NODE, RBAC, {"type": "x", "name": "x"})):
        written(tmp_path, *wrong)
        clock.advance(2)
        assert not (await modes.authorize(question())).allowed
    written(tmp_path, RBAC, NODE, {"type": "AlwaysAllow", "name": "open"})
    clock.advance(2)
    assert (await modes.authorize(question())).allowed
    assert modes.by_rules


async def test_the_server_runs_by_the_file(tmp_path: Path) -> None:
    """And refuses two sources of the same decision."""
    path = written(tmp_path, NODE, RBAC)
    async with api(authorization_config=path) as server:
        assert (await server.get("/api/v1/namespaces/default/secrets")).status == 403
        assert (await server.get("/healthz")).status == 200
    with pytest.raises(ValueError, match="excludes"):
        async with api(authorization_config=path, authorization_mode=("RBAC",)):
            pass
