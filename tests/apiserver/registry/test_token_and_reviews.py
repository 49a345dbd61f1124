"""TokenRequest and the reviews: what is issued, to whom it is bound, and what the server says about users."""

import jwt
import pytest

from pynetes.apis.authentication import tokenreviews
from pynetes.apis.authorization import localsubjectaccessreviews, selfsubjectrulesreviews, subjectaccessreviews
from pynetes.apis.core import nodes, pods, serviceaccounts
from pynetes.apis.rbac import rolebindings, roles
from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.authn.service_account import Issuer, ServiceAccountTokens
from pynetes.apiserver.authn.union import Authentication
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Context
from pynetes.apiserver.registry import reviews, token
from pynetes.apiserver.registry.call import Call
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.pki import issue
from tests.apiserver.fakes import FakeClock, FakeObjects, context, obj

ISSUER = "https://kubernetes.default.svc"
ALICE = User("alice", groups=("system:authenticated",))
NOWHERE = Key("", "")


@pytest.fixture
def ctx() -> Context:
    """An account `web` in shop, a pod of its on n1, and a server that issues and verifies."""
    objects, clock = FakeObjects(), FakeClock()
    issuer = Issuer(ISSUER, issue.private_pem(issue.new_key()))
    tokens = ServiceAccountTokens((ISSUER,), (issuer.public_key,), objects, clock)
    authentication = Authentication(tokens=(tokens,), audiences=(ISSUER,))
    objects.put(serviceaccounts.RESOURCE, obj(serviceaccounts.RESOURCE, "web", "shop"))
    objects.put(nodes.RESOURCE, obj(nodes.RESOURCE, "n1"))
    spec = {"serviceAccountName": "web", "nodeName": "n1", "containers": []}
    objects.put(pods.RESOURCE, obj(pods.RESOURCE, "web-0", "shop", spec=spec))
    return context(objects, clock=clock, issuer=issuer, authentication=authentication)


async def admit(_: Attributes) -> None:
    """No policies here."""


def call(resource: Resource, spec: Object, *, key: Key = NOWHERE, user: User = ALICE) -> Call:
    return Call(user=user, verb="create", resource=resource, key=key, body={"spec": spec}, admit=admit)


async def ask(ctx: Context, spec: Object, name: str = "web") -> Object:
    return (await token.create(ctx, call(serviceaccounts.RESOURCE, spec, key=Key("shop", name)))).body


def claims(answer: Object) -> Object:
    found: Object = jwt.decode(answer["status"]["token"], options={"verify_signature": False})
    return found


POD = {"apiVersion": "v1", "kind": "Pod", "name": "web-0"}


async def test_defaults(ctx: Context) -> None:
    """An hour, for this server."""
    answer = await ask(ctx, {})
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer["status"]["expirationTimestamp"] == "2026-01-02T04:04:05Z"


async def test_bound_to_a_pod(ctx: Context) -> None:
    """The token tells its pod and the pod's node, by name and UID."""
    private = claims(await ask(ctx, {"boundObjectRef": POD}))["kubernetes.io"]
    assert (private["pod"]["name"], private["node"]["name"]) == ("web-0", "n1")


async def test_pods_default_token_is_extended(ctx: Context) -> None:
    """Only what a kubelet asks for a pod lives longer than promised, and notes when it should have been renewed."""
    answer = await ask(ctx, {"boundObjectRef": POD, "expirationSeconds": 3607})
    found = claims(answer)
    assert found["exp"] - found["iat"] == 365 * 24 * 3600
    assert found["kubernetes.io"]["warnafter"] - found["iat"] == 3607
    assert answer["status"]["expirationTimestamp"] == "2026-01-02T04:04:12Z"
    for spec in (
        {"boundObjectRef": POD, "expirationSeconds": 3607, "audiences": ["vault"]},
        {"expirationSeconds": 3607},
    ):
        found = claims(await ask(ctx, spec))
        assert found["exp"] - found["iat"] == 3607


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"expirationSeconds": 60}, 422),
        ({"expirationSeconds": 0}, 422),
        ({"expirationSeconds": (1 << 32) + 1}, 422),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "nope"}}, 404),
        ({"boundObjectRef": {**POD, "uid": "another"}}, 409),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "x"}}, 400),
    ],
)
async def test_refused(ctx: Context, spec: Object, code: int) -> None:
    """Too short, too long, or bound to what is not there."""
    with pytest.raises(StatusError) as caught:
        await ask(ctx, spec)
    assert caught.value.code == code


@pytest.mark.parametrize("place", ("name", "namespace"))
async def test_request_for_another_account(ctx: Context, place: str) -> None:
    """Name and namespace in the body must be those of the path, whether or not the account exists."""
    asked = call(serviceaccounts.RESOURCE, {}, key=Key("shop", "gone"))
    asked.body["metadata"] = {place: "b"}
    with pytest.raises(StatusError) as caught:
        await token.create(ctx, asked)
    text = f'metadata.{place}: Invalid value: "b": must match the service account {place} if specified'
    assert str(caught.value) == f'TokenRequest.authentication.k8s.io "gone" is invalid: {text}'


async def test_what_cannot_be_bound_is_told_as_go_writes_it(ctx: Context) -> None:
    """Group, version and kind."""
    with pytest.raises(StatusError, match="cannot bind token to object of type /v1, Kind=ConfigMap"):
        await ask(ctx, {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}})


async def test_pod_of_another_account(ctx: Context) -> None:
    """A token is not bound to a pod that runs as somebody else."""
    ctx.objects.put(serviceaccounts.RESOURCE, obj(serviceaccounts.RESOURCE, "other", "shop"))  # type: ignore[attr-defined]
    with pytest.raises(StatusError, match="running with different serviceaccount name"):
        await ask(ctx, {"boundObjectRef": POD}, name="other")


async def test_token_review(ctx: Context) -> None:
    """A good token is told with its user; a bad one with nothing but that it is bad."""
    issued = (await ask(ctx, {}))["status"]["token"]
    status = (await reviews.token_review(ctx, call(tokenreviews.RESOURCE, {"token": issued}))).body["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:shop:web"
    assert "system:authenticated" in status["user"]["groups"]
    for spec in ({"token": issued + "x"}, {"token": issued, "audiences": ["vault"]}, {"token": "nonsense"}):
        status = (await reviews.token_review(ctx, call(tokenreviews.RESOURCE, spec))).body["status"]
        assert "authenticated" not in status
        assert status["user"] == {}


async def test_access_reviews(ctx: Context) -> None:
    """The answer is what the user would get, within the namespace that was asked about."""
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    ctx.objects.put(roles.RESOURCE, obj(roles.RESOURCE, "r", "shop", rules=rules))  # type: ignore[attr-defined]
    binding = obj(
        rolebindings.RESOURCE,
        "b",
        "shop",
        roleRef={"kind": "Role", "name": "r"},
        subjects=[{"kind": "User", "name": "bob"}],
    )
    ctx.objects.put(rolebindings.RESOURCE, binding)  # type: ignore[attr-defined]
    for namespace, allowed in (("shop", True), ("other", False)):
        spec = {"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}
        answer = await reviews.subject_access_review(ctx, call(subjectaccessreviews.RESOURCE, spec))
        assert answer.body["status"]["allowed"] is allowed
    spec = {"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "other"}}
    local = call(localsubjectaccessreviews.RESOURCE, spec, key=Key("shop", ""))
    with pytest.raises(StatusError, match=r"must match metadata\.namespace"):
        await reviews.local_subject_access_review(ctx, local)
    with pytest.raises(StatusError, match="at least one of user or group"):
        await reviews.subject_access_review(
            ctx, call(subjectaccessreviews.RESOURCE, {"resourceAttributes": {"verb": "get"}})
        )


async def test_rules_review_needs_a_namespace(ctx: Context) -> None:
    """Without one there is nothing to list."""
    with pytest.raises(StatusError, match="no namespace on request"):
        await reviews.self_subject_rules_review(ctx, call(selfsubjectrulesreviews.RESOURCE, {}))
