"""RBAC: who may what, why, and that a change counts with the next request."""

import pytest

from pynetes.apis.rbac import clusterrolebindings, clusterroles, rolebindings, roles
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz import rules
from pynetes.apiserver.authz.attributes import Attributes, forbidden
from pynetes.apiserver.authz.rbac import RBAC
from pynetes.machinery.meta import Key, Object
from tests.apiserver.fakes import FakeObjects, obj

ALICE = User("alice", groups=("dev", "system:authenticated"))
WEB = User("system:serviceaccount:shop:web", groups=("system:serviceaccounts", "system:serviceaccounts:shop"))


def rule(verbs: str, group: str, resources: str, names: str = "") -> Object:
    made: Object = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**made, "resourceNames": names.split()} if names else made


def ask(user: User, verb: str, resource: str, namespace: str = "shop", **more: str) -> Attributes:
    return Attributes(user=user, verb=verb, resource=resource, namespace=namespace, version="v1", **more)


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


def grant(objects: FakeObjects, role: str, given: list[Object], subject: Object, namespace: str = "shop") -> None:
    """A Role and its binding; cluster-wide without a namespace."""
    kind = roles.RESOURCE if namespace else clusterroles.RESOURCE
    binding = rolebindings.RESOURCE if namespace else clusterrolebindings.RESOURCE
    objects.put(kind, obj(kind, role, namespace, rules=given))
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind.kind, "name": role}
    objects.put(binding, obj(binding, role, namespace, roleRef=ref, subjects=[subject]))


async def allowed(objects: FakeObjects, attributes: Attributes) -> bool:
    return (await RBAC(objects).authorize(attributes)).allowed


async def test_nothing_by_default(objects: FakeObjects) -> None:
    """Nobody may do anything before somebody says so."""
    decision = await RBAC(objects).authorize(ask(ALICE, "list", "pods"))
    assert not decision.allowed
    assert decision.reason == ""


async def test_role_holds_in_its_namespace_only(objects: FakeObjects) -> None:
    """A Role grants in its own namespace, not in others and not across all."""
    grant(objects, "reader", [rule("get list", "", "pods")], {"kind": "User", "name": "alice"})
    assert await allowed(objects, ask(ALICE, "list", "pods"))
    assert not await allowed(objects, ask(ALICE, "list", "pods", "other"))
    assert not await allowed(objects, ask(ALICE, "list", "pods", ""))
    assert not await allowed(objects, ask(ALICE, "delete", "pods"))


async def test_subresource_is_a_right_of_its_own(objects: FakeObjects) -> None:
    """pods does not include pods/exec; */scale includes every scale and nothing else."""
    grant(objects, "reader", [rule("*", "", "pods"), rule("*", "*", "*/scale")], {"kind": "User", "name": "alice"})
    for verb in ("get", "create"):
        for way in ("exec", "attach", "portforward", "proxy", "log"):
            assert not await allowed(objects, ask(ALICE, verb, "pods", subresource=way))
    assert await allowed(objects, ask(ALICE, "update", "deployments", group="apps", subresource="scale"))
    assert not await allowed(objects, ask(ALICE, "update", "deployments", group="apps"))


async def test_names(objects: FakeObjects) -> None:
    """resourceNames limit to these; a list without a name is not among them, a create never is."""
    grant(objects, "one", [rule("get list create", "", "secrets", "mine")], {"kind": "Group", "name": "dev"})
    assert await allowed(objects, ask(ALICE, "get", "secrets", name="mine"))
    assert not await allowed(objects, ask(ALICE, "get", "secrets", name="yours"))
    assert not await allowed(objects, ask(ALICE, "list", "secrets"))
    assert not await allowed(objects, ask(ALICE, "create", "secrets"))


async def test_service_account_subject(objects: FakeObjects) -> None:
    """A ServiceAccount subject is that account in that namespace, not a user who bears its bare name."""
    subject = {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
    grant(objects, "reader", [rule("get", "", "configmaps")], subject)
    assert await allowed(objects, ask(WEB, "get", "configmaps"))
    assert not await allowed(objects, ask(User("web"), "get", "configmaps"))
    other = User("system:serviceaccount:other:web")
    assert not await allowed(objects, ask(other, "get", "configmaps"))


async def test_user_is_no_group(objects: FakeObjects) -> None:
    """A user named like a group gets nothing of the group's, and the other way round."""
    grant(objects, "reader", [rule("get", "", "pods")], {"kind": "Group", "name": "alice"})
    assert not await allowed(objects, ask(ALICE, "get", "pods"))
    grant(objects, "other", [rule("get", "", "pods")], {"kind": "User", "name": "dev"})
    assert not await allowed(objects, ask(ALICE, "get", "pods"))


async def test_revocation_counts_at_once(objects: FakeObjects) -> None:
    """A remembered yes does not outlive the binding, the role, or the rule."""
    rbac = RBAC(objects)
    grant(objects, "reader", [rule("get", "", "pods")], {"kind": "User", "name": "alice"})
    question = ask(ALICE, "get", "pods")
    assert (await rbac.authorize(question)).allowed
    objects.put(roles.RESOURCE, obj(roles.RESOURCE, "reader", "shop", rules=[rule("list", "", "pods")]))
    assert not (await rbac.authorize(question)).allowed
    objects.put(roles.RESOURCE, obj(roles.RESOURCE, "reader", "shop", rules=[rule("get", "", "pods")]))
    assert (await rbac.authorize(question)).allowed
    objects.remove(rolebindings.RESOURCE, Key("shop", "reader"))
    assert not (await rbac.authorize(question)).allowed


async def test_remembered_answers_do_not_mix(objects: FakeObjects) -> None:
    """Two users whose names and groups read the same when run together are two users."""
    rbac = RBAC(objects)
    grant(objects, "reader", [rule("get", "", "pods")], {"kind": "Group", "name": "b"})
    assert (await rbac.authorize(ask(User("a", groups=("b",)), "get", "pods"))).allowed
    assert not (await rbac.authorize(ask(User("a"), "get", "pods", name="b"))).allowed
    assert not (await rbac.authorize(ask(User("a", groups=("c",)), "get", "pods"))).allowed


async def test_answers_for_everywhere_do_not_mix(objects: FakeObjects) -> None:
    """What a ClusterRole allows for some names, or a Role in its namespace, is remembered for nothing else."""
    rbac = RBAC(objects)
    grant(objects, "some", [rule("get", "", "pods", "x")], {"kind": "User", "name": "alice"}, namespace="")
    grant(objects, "here", [rule("list", "", "pods")], {"kind": "User", "name": "alice"})
    grant(objects, "wide", [rule("watch", "", "pods")], {"kind": "User", "name": "alice"}, namespace="")
    for _ in range(2):
        for name, namespace, right in (("x", "shop", True), ("x", "other", True), ("y", "shop", False)):
            assert (await rbac.authorize(ask(ALICE, "get", "pods", namespace, name=name))).allowed is right
        for namespace, right in (("shop", True), ("other", False), ("", False)):
            assert (await rbac.authorize(ask(ALICE, "list", "pods", namespace))).allowed is right
        for namespace in ("shop", "other", ""):
            assert (await rbac.authorize(ask(ALICE, "watch", "pods", namespace))).allowed
        assert not (await rbac.authorize(ask(WEB, "watch", "pods"))).allowed


async def test_the_reason_is_that_of_the_first_rule(objects: FakeObjects) -> None:
    """A rule with names that comes first is the reason for these names, whatever was asked before."""
    rbac = RBAC(objects)
    for name, names in (("named", "x"), ("wide", "")):
        grant(objects, name, [rule("get", "", "pods", names)], {"kind": "User", "name": "alice"}, namespace="")
    for name, role in (("y", "wide"), ("x", "named"), ("y", "wide")):
        assert f'ClusterRole "{role}"' in (await rbac.authorize(ask(ALICE, "get", "pods", name=name))).reason


async def test_paths(objects: FakeObjects) -> None:
    """Non-resource rules match exactly or by a trailing star, and never a resource."""
    given = [{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]}]
    grant(objects, "watcher", given, {"kind": "User", "name": "alice"}, namespace="")
    for path, right in (("/metrics", True), ("/metrics/x", False), ("/logs/a/b", True), ("/logs", False)):
        assert await allowed(objects, Attributes(user=ALICE, verb="get", path=path)) is right, path
    assert not await allowed(objects, Attributes(user=ALICE, verb="post", path="/metrics"))
    assert not await allowed(objects, ask(ALICE, "get", "metrics"))


async def test_reasons(objects: FakeObjects) -> None:
    """A yes says by which binding; a no says which role is missing."""
    rbac = RBAC(objects)
    grant(objects, "reader", [rule("get", "", "pods")], {"kind": "Group", "name": "dev"})
    decision = await rbac.authorize(ask(ALICE, "get", "pods"))
    assert decision.reason == 'RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to Group "dev"'
    objects.remove(roles.RESOURCE, Key("shop", "reader"))
    question = ask(ALICE, "get", "pods", name="x")
    decision = await rbac.authorize(question)
    assert decision.reason == 'RBAC: role.rbac.authorization.k8s.io "reader" not found'
    text = (
        'pods "x" is forbidden: User "alice" cannot get resource "pods" in API group "" in the namespace "shop": '
        'RBAC: role.rbac.authorization.k8s.io "reader" not found'
    )
    assert forbidden(question, decision.reason).status["message"] == text


COVERS = [
    ([rule("*", "*", "*")], rule("get", "", "secrets"), True),
    ([rule("get", "", "secrets", "a")], rule("get", "", "secrets"), False),
    ([rule("get", "", "secrets")], rule("get", "", "secrets", "a"), True),
    ([rule("get", "", "pods"), rule("list", "", "pods")], rule("get list", "", "pods"), True),
    ([rule("get", "", "pods")], rule("*", "", "pods"), False),
    ([rule("get", "", "*/log")], rule("get", "", "pods/log"), True),
    ([rule("get", "", "pods")], rule("get", "", "*"), False),
    ([rule("get", "apps", "*")], rule("get", "", "pods"), False),
    ([{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}], {"verbs": ["get"], "nonResourceURLs": ["/a/b/*"]}, True),
    ([{"verbs": ["get"], "nonResourceURLs": ["/a"]}], {"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, False),
]


@pytest.mark.parametrize(("held", "wanted", "covered"), COVERS)
def test_covers(held: list[Object], wanted: Object, covered: bool) -> None:
    """What may be handed on: only what is held, as widely and no wider."""
    assert (not rules.missing(rules.compile_rules(held), [wanted])) is covered


def test_describe_joins_verbs() -> None:
    """Missing rights print as upstream's compact rules do."""
    parts = rules.missing((), [rule("get list", "", "nodes"), rule("get", "", "secrets", "a")])
    assert rules.describe(parts) == (
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}'
    )
