"""The Node authorizer: a stolen kubelet credential opens what that node runs, and nothing else."""

import pytest

from pynetes.apis.core import persistentvolumeclaims, persistentvolumes, pods
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz.attributes import Attributes
from pynetes.apiserver.authz.node import NodeAuthorizer
from pynetes.machinery.meta import Key, Object
from tests.apiserver.fakes import FakeObjects, obj

N1 = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
N2 = User("system:node:n2", groups=("system:nodes", "system:authenticated"))


def pod(name: str, node: str, **spec: object) -> Object:
    volumes = [{"name": "s", "secret": {"secretName": f"{name}-secret"}}]
    volumes.append({"name": "c", "persistentVolumeClaim": {"claimName": f"{name}-claim"}})  # type: ignore[dict-item]
    environment = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": f"{name}-config", "key": "a"}}}]
    container = {"name": "c", "env": environment, "envFrom": [{"secretRef": {"name": f"{name}-env"}}]}
    given = {"serviceAccountName": name, "volumes": volumes, "containers": [container], "nodeName": node, **spec}
    return obj(pods.RESOURCE, name, "shop", spec=given)


@pytest.fixture
def objects() -> FakeObjects:
    found = FakeObjects()
    found.put(pods.RESOURCE, pod("one", "n1"))
    found.put(pods.RESOURCE, pod("two", "n2"))
    return found


@pytest.fixture
def node(objects: FakeObjects) -> NodeAuthorizer:
    return NodeAuthorizer(objects)


def ask(user: User, verb: str, resource: str, name: str = "", namespace: str = "shop", **more: str) -> Attributes:
    return Attributes(user=user, verb=verb, resource=resource, name=name, namespace=namespace, **more)


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("secrets", "one-secret"),
        ("secrets", "one-env"),
        ("configmaps", "one-config"),
        ("pods", "one"),
        ("persistentvolumeclaims", "one-claim"),
    ],
)
async def test_own_pods_references(node: NodeAuthorizer, resource: str, name: str) -> None:
    """What a pod of the node uses may be read by that node alone, and in that namespace alone."""
    assert (await node.authorize(ask(N1, "get", resource, name))).allowed
    assert not (await node.authorize(ask(N2, "get", resource, name))).allowed
    assert not (await node.authorize(ask(N1, "get", resource, name, "kube-system"))).allowed


async def test_no_listing_of_secrets(node: NodeAuthorizer) -> None:
    """A list or watch must name one object; a subresource or write is no reading."""
    assert not (await node.authorize(ask(N1, "list", "secrets"))).allowed
    assert not (await node.authorize(ask(N1, "watch", "secrets", namespace=""))).allowed
    assert (await node.authorize(ask(N1, "watch", "secrets", "one-secret"))).allowed
    assert not (await node.authorize(ask(N1, "update", "secrets", "one-secret"))).allowed
    assert not (await node.authorize(ask(N1, "delete", "secrets", "one-secret"))).allowed


async def test_rights_end_with_the_pod(node: NodeAuthorizer, objects: FakeObjects) -> None:
    """The last pod to go takes the right with it; one that stays keeps it."""
    objects.put(pods.RESOURCE, {**pod("three", "n1"), "spec": {**pod("one", "n1")["spec"]}})
    objects.remove(pods.RESOURCE, Key("shop", "one"))
    assert (await node.authorize(ask(N1, "get", "secrets", "one-secret"))).allowed
    objects.remove(pods.RESOURCE, Key("shop", "three"))
    decision = await node.authorize(ask(N1, "get", "secrets", "one-secret"))
    assert decision.reason == 'no relationship found between node "n1" and this object'


async def test_binding_gives_the_right(node: NodeAuthorizer, objects: FakeObjects) -> None:
    """Unbound, nobody's; bound, that node's."""
    objects.put(pods.RESOURCE, pod("late", ""))
    assert not (await node.authorize(ask(N1, "get", "secrets", "late-secret"))).allowed
    objects.put(pods.RESOURCE, pod("late", "n1"))
    assert (await node.authorize(ask(N1, "get", "secrets", "late-secret"))).allowed


async def test_mirror_pods_give_nothing(node: NodeAuthorizer, objects: FakeObjects) -> None:
    """A node writes its mirror pods itself, so they must not widen what it may read."""
    mirror = pod("mirror", "n1")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    objects.put(pods.RESOURCE, mirror)
    assert not (await node.authorize(ask(N1, "get", "secrets", "mirror-secret"))).allowed


async def test_volume_behind_a_claim(node: NodeAuthorizer, objects: FakeObjects) -> None:
    """A volume is read through the claim that a pod of the node uses, and so are its driver's secrets."""
    claim = obj(persistentvolumeclaims.RESOURCE, "one-claim", "shop", spec={"volumeName": "v"})
    objects.put(persistentvolumeclaims.RESOURCE, claim)
    csi = {"nodeStageSecretRef": {"namespace": "csi", "name": "stage"}}
    spec = {"claimRef": {"namespace": "shop", "name": "one-claim"}, "csi": csi}
    objects.put(persistentvolumes.RESOURCE, obj(persistentvolumes.RESOURCE, "v", spec=spec))
    for user, right in ((N1, True), (N2, False)):
        assert (await node.authorize(ask(user, "get", "persistentvolumes", "v", ""))).allowed is right
        assert (await node.authorize(ask(user, "get", "secrets", "stage", "csi"))).allowed is right


async def test_pods_are_listed_by_own_node_only(node: NodeAuthorizer) -> None:
    """The field selector must name the node itself."""
    for selector, right in (
        ("spec.nodeName=n1", True),
        ("spec.nodeName==n1", True),
        ("spec.nodeName=n2", False),
        ("spec.nodeName!=n1", False),
        ("", False),
        ("metadata.name=x,spec.nodeName=n1", True),
    ):
        question = ask(N1, "watch", "pods", namespace="", field_selector=selector)
        assert (await node.authorize(question)).allowed is right, selector


async def test_tokens_only_for_own_pods_accounts(node: NodeAuthorizer) -> None:
    """A token for an account that no pod here runs as is refused."""
    for name, right in (("one", True), ("two", False)):
        question = ask(N1, "create", "serviceaccounts", name, subresource="token")
        assert (await node.authorize(question)).allowed is right


async def test_own_node_and_lease(node: NodeAuthorizer) -> None:
    """A kubelet reads its own Node, and keeps its own Lease in the one namespace for them."""
    assert (await node.authorize(ask(N1, "get", "nodes", "n1", ""))).allowed
    assert not (await node.authorize(ask(N1, "get", "nodes", "n2", ""))).allowed
    assert not (await node.authorize(ask(N1, "list", "nodes", namespace=""))).allowed
    lease = {"group": "coordination.k8s.io"}
    assert (await node.authorize(ask(N1, "update", "leases", "n1", "kube-node-lease", **lease))).allowed
    assert not (await node.authorize(ask(N1, "update", "leases", "n2", "kube-node-lease", **lease))).allowed
    assert not (await node.authorize(ask(N1, "update", "leases", "n1", "kube-system", **lease))).allowed


@pytest.mark.parametrize(
    "user",
    [User("system:node:n1"), User("n1", groups=("system:nodes",)), User("system:node:", groups=("system:nodes",))],
)
async def test_half_a_node_is_no_node(node: NodeAuthorizer, user: User) -> None:
    """Name and group both make a node."""
    assert not (await node.authorize(ask(user, "get", "secrets", "one-secret"))).allowed
    assert not (await node.authorize(ask(user, "get", "nodes", "n1", ""))).allowed
