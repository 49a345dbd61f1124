"""The RBAC that every cluster begins with: made, repaired, and left alone where somebody says so."""

import pytest

from pynetes.apis.rbac import clusterrolebindings, clusterroles
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz import bootstrap
from pynetes.apiserver.authz.attributes import Attributes
from pynetes.apiserver.authz.rbac import RBAC
from pynetes.machinery.meta import Key, Object
from tests.apiserver.fakes import FakeObjects


@pytest.fixture
async def objects() -> FakeObjects:
    found = FakeObjects()
    await bootstrap.reconcile(found)
    return found


async def test_made_once(objects: FakeObjects) -> None:
    """A second start finds nothing to do."""
    assert await bootstrap.reconcile(objects) == []
    assert len(list(objects.list(clusterroles.RESOURCE))) == 70
    assert len(list(objects.list(clusterrolebindings.RESOURCE))) == 51


def changed(objects: FakeObjects, name: str, **parts: object) -> Key:
    key = Key("", name)
    role = objects.get(clusterroles.RESOURCE, key) or {}
    objects.put(clusterroles.RESOURCE, {**role, **parts})
    return key


async def test_missing_rights_come_back(objects: FakeObjects) -> None:
    """What an upgrade or a slip took away is given back; what an administrator added stays."""
    added: Object = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}
    key = changed(objects, "system:kube-scheduler", rules=[added])
    assert await bootstrap.reconcile(objects) == ["repaired clusterroles system:kube-scheduler"]
    found = objects.get(clusterroles.RESOURCE, key) or {}
    assert added in found["rules"]
    assert await bootstrap.reconcile(objects) == []


async def test_autoupdate_false(objects: FakeObjects) -> None:
    """The annotation keeps a role as it is."""
    role = objects.get(clusterroles.RESOURCE, Key("", "system:discovery")) or {}
    metadata = {**role["metadata"], "annotations": {bootstrap.AUTOUPDATE: "false"}}
    changed(objects, "system:discovery", metadata=metadata, rules=[])
    assert await bootstrap.reconcile(objects) == []


async def test_redirected_binding_is_made_again(objects: FakeObjects) -> None:
    """A binding that points to another role cannot be patched back."""
    key = Key("", "system:discovery")
    binding = objects.get(clusterrolebindings.RESOURCE, key) or {}
    ref = {**binding["roleRef"], "name": "cluster-admin"}
    objects.put(clusterrolebindings.RESOURCE, {**binding, "roleRef": ref})
    assert await bootstrap.reconcile(objects) == ["recreated clusterrolebindings system:discovery"]
    assert (objects.get(clusterrolebindings.RESOURCE, key) or {})["roleRef"]["name"] == "system:discovery"


ANYBODY = User("system:anonymous", groups=("system:unauthenticated",))
SOMEBODY = User("alice", groups=("system:authenticated",))
QUESTIONS = [
    (ANYBODY, {"verb": "get", "path": "/version"}, True),
    (ANYBODY, {"verb": "get", "path": "/livez"}, True),
    (ANYBODY, {"verb": "get", "path": "/api"}, False),
    (ANYBODY, {"verb": "get", "path": "/metrics"}, False),
    (ANYBODY, {"verb": "get", "path": "/.well-known/openid-configuration"}, False),
    (SOMEBODY, {"verb": "get", "path": "/api"}, True),
    (SOMEBODY, {"verb": "list", "resource": "pods", "namespace": "default"}, False),
    (User("system:kube-scheduler"), {"verb": "create", "resource": "pods", "subresource": "binding"}, True),
    (User("system:kube-scheduler"), {"verb": "get", "resource": "secrets"}, False),
    (User("system:kube-proxy"), {"verb": "watch", "resource": "services"}, True),
    (User("system:kube-proxy"), {"verb": "get", "resource": "secrets", "namespace": "default"}, False),
    (User("system:kube-proxy"), {"verb": "update", "resource": "services", "namespace": "default"}, False),
    (User("system:kube-proxy"), {"verb": "delete", "group": "discovery.k8s.io", "resource": "endpointslices"}, False),
    (User("system:kube-scheduler"), {"verb": "delete", "resource": "nodes"}, False),
    (User("x", groups=("system:nodes",)), {"verb": "get", "resource": "secrets"}, False),
]


@pytest.mark.parametrize(("user", "question", "allowed"), QUESTIONS)
async def test_what_comes_of_it(objects: FakeObjects, user: User, question: dict[str, str], allowed: bool) -> None:
    """Strangers see that the server lives; components do their work; nobody reads secrets by default."""
    asked = Attributes(user=user, **question)  # type: ignore[arg-type]
    assert (await RBAC(objects).authorize(asked)).allowed is allowed
