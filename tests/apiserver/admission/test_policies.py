"""Each policy, from the side of whoever wants around it."""

import copy
import dataclasses

import pytest

from pynetes.apis.core import (
    limitranges,
    namespaces,
    nodes,
    persistentvolumeclaims,
    pods,
    resourcequotas,
    serviceaccounts,
    services,
)
from pynetes.apis.scheduling import priorityclasses
from pynetes.apiserver.admission import chain
from pynetes.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes
from pynetes.apiserver.admission.chain import Chain
from pynetes.apiserver.admission.service_account import MOUNT_PATH
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Context
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from tests.apiserver.fakes import ADMIN, context, obj

N1 = User("system:node:n1", groups=("system:nodes", "system:authenticated"))


@pytest.fixture
def ctx() -> Context:
    made = context()
    put(made, namespaces.RESOURCE, "shop", status={"phase": "Active"})
    put(made, serviceaccounts.RESOURCE, "default", "shop")
    return made


def put(ctx: Context, resource: Resource, name: str, namespace: str = "", **parts: object) -> Object:
    return ctx.objects.put(resource, obj(resource, name, namespace, **parts))  # type: ignore[attr-defined, no-any-return]


def pod(name: str = "web", **spec: object) -> Object:
    return obj(pods.RESOURCE, name, "shop", spec={"containers": [{"name": "c", "image": "i"}], **spec})


async def admit(ctx: Context, new: Object | None, resource: Resource = pods.RESOURCE, **parts: object) -> Object:
    """Through the whole chain, as a create unless told otherwise."""
    given = {"user": ADMIN, "operation": CREATE, "namespace": "shop", "name": "", **parts}
    if new is not None:
        given["name"] = new["metadata"]["name"]
    attributes = Attributes(resource=resource, obj=new, **given)  # type: ignore[arg-type]
    policies = Chain(ctx, chain.plugins(enable=("NodeRestriction",)))
    await policies.admit(attributes)
    await policies.validate(attributes)
    return new or {}


def test_order_and_names() -> None:
    """Quota charges last, and an unknown name is a mistake."""
    assert chain.plugins()[-1].name == "ResourceQuota"
    assert "NodeRestriction" not in [plugin.name for plugin in chain.plugins()]
    with pytest.raises(ValueError, match="unknown admission plugin"):
        chain.plugins(enable=("Nonsense",))


async def test_pod_is_completed(ctx: Context) -> None:
    """Account, token volume, priority and tolerations are filled in, and a second pass changes nothing."""
    new = await admit(ctx, pod())
    spec = new["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"], spec["priority"]) == ("default", "default", 0)
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == MOUNT_PATH
    assert spec["containers"][0]["volumeMounts"][0]["name"] == spec["volumes"][0]["name"]
    assert [toleration["tolerationSeconds"] for toleration in spec["tolerations"]] == [300, 300]
    again = copy.deepcopy(new)
    assert await admit(ctx, again) == new


async def test_missing_account(ctx: Context) -> None:
    """A pod waits a moment for its account, and is refused then."""
    with pytest.raises(StatusError, match='serviceaccount "nope" not found'):
        await admit(ctx, pod(serviceAccountName="nope"))


async def test_namespaces(ctx: Context) -> None:
    """Nothing new where nothing is, or where everything goes; and three that never go."""
    with pytest.raises(StatusError) as caught:
        await admit(ctx, pod(), namespace="nowhere")
    assert caught.value.code == 404
    put(ctx, namespaces.RESOURCE, "shop", status={"phase": "Terminating"})
    with pytest.raises(StatusError, match="because it is being terminated") as caught:
        await admit(ctx, pod())
    assert caught.value.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    with pytest.raises(StatusError, match="may not be deleted"):
        await admit(ctx, None, namespaces.RESOURCE, operation=DELETE, name="kube-system", namespace="")


async def test_priority_cannot_be_chosen_freely(ctx: Context) -> None:
    """The number follows from the class; a class that is not there gives none."""
    put(ctx, priorityclasses.RESOURCE, "high", value=1000)
    assert (await admit(ctx, pod(priorityClassName="high")))["spec"]["priority"] == 1000
    with pytest.raises(StatusError, match="must not be provided in pod spec"):
        await admit(ctx, pod(priority=2_000_000_000))
    with pytest.raises(StatusError, match="no PriorityClass with name nope"):
        await admit(ctx, pod(priorityClassName="nope"))


async def test_quota_counts_what_is_there(ctx: Context) -> None:
    """Status that lags does not matter: live objects count, finished pods do not, and writes in flight do."""
    put(ctx, resourcequotas.RESOURCE, "q", "shop", spec={"hard": {"pods": "2"}}, status={"used": {"pods": "0"}})
    put(ctx, pods.RESOURCE, "done", "shop", spec={"containers": []}, status={"phase": "Succeeded"})
    put(ctx, pods.RESOURCE, "a", "shop", spec={"containers": []})
    policies = Chain(ctx, chain.plugins())

    async def create(name: str) -> None:
        asked = Attributes(
            user=ADMIN, operation=CREATE, resource=pods.RESOURCE, namespace="shop", obj=pod(name), name=name
        )
        await policies.validate(asked)

    await create("b")
    with pytest.raises(StatusError, match="exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"):
        await create("c")
    shown = ctx.objects.get(resourcequotas.RESOURCE, Key("shop", "q")) or {}
    assert shown["status"]["used"] == {"pods": "2"}


async def test_limit_range(ctx: Context) -> None:
    """Defaults are filled in, and what is beyond the range is refused."""
    limits = [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}, "min": {"cpu": "50m"}}]
    put(ctx, limitranges.RESOURCE, "l", "shop", spec={"limits": limits})
    new = await admit(ctx, pod())
    assert new["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}}
    resources = {"requests": {"cpu": "10m"}, "limits": {"cpu": "2"}}
    with pytest.raises(StatusError, match="minimum cpu usage per Container is 50m, but request is 10m"):
        await admit(ctx, pod(containers=[{"name": "c", "resources": resources}]))


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]},
        {"containers": [{"name": "c", "securityContext": {"privileged": True}}]},
        {"initContainers": [{"name": "i", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        {"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": True}}]},
        {"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]},
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        {"hostPID": True},
        {"hostIPC": True},
        {"containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]},
        {"containers": [{"name": "c", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        {"securityContext": {"seLinuxOptions": {"user": "root"}}},
    ],
)
async def test_baseline(ctx: Context, spec: Object) -> None:
    """Each way out of the container is closed at baseline; an ordinary pod passes."""
    labels = {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}
    put(ctx, namespaces.RESOURCE, "shop", metadata=labels)
    await admit(ctx, pod())
    with pytest.raises(StatusError, match='violates PodSecurity "baseline:latest"'):
        await admit(ctx, pod(**spec))


async def test_unknown_level_fails_closed(ctx: Context) -> None:
    """A label that means nothing does not mean that everything goes."""
    put(ctx, namespaces.RESOURCE, "shop", metadata={"labels": {"pod-security.kubernetes.io/enforce": "strict"}})
    with pytest.raises(StatusError, match="violates PodSecurity"):
        await admit(ctx, pod())


async def test_external_addresses_are_not_added(ctx: Context) -> None:
    """With DenyServiceExternalIPs nobody draws another address's traffic to himself; what is there may stay and go."""
    policies = Chain(ctx, chain.plugins(enable=("DenyServiceExternalIPs",)))

    async def ask(operation: str, wanted: list[str], before: list[str] | None = None) -> None:
        new = obj(services.RESOURCE, "s", "shop", spec={"externalIPs": wanted})
        old = obj(services.RESOURCE, "s", "shop", spec={"externalIPs": before}) if before is not None else None
        asked = Attributes(
            user=ADMIN,
            operation=operation,
            resource=services.RESOURCE,
            namespace="shop",
            name="s",
            obj=new,
            old=old,
        )
        await policies.validate(asked)

    for wanted, before in ((["10.0.0.9"], ["10.0.0.9"]), ([], ["10.0.0.9"])):
        await ask(UPDATE, wanted, before)
    with pytest.raises(StatusError, match="Use of external IPs is denied"):
        await ask(CREATE, ["10.0.0.9"])
    with pytest.raises(StatusError, match="Use of external IPs is denied"):
        await ask(UPDATE, ["10.0.0.9", "10.0.0.10"], ["10.0.0.9"])


def node(name: str = "n1", **parts: object) -> Object:
    return obj(nodes.RESOURCE, name, spec={}, **parts)


async def test_node_writes_itself_only(ctx: Context) -> None:
    """Another node, a taint, or a label that scheduling trusts is not a kubelet's to write."""
    await admit(ctx, node(metadata={"labels": {"kubernetes.io/hostname": "n1"}}), nodes.RESOURCE, user=N1, namespace="")
    with pytest.raises(StatusError, match="is not allowed to modify node"):
        await admit(ctx, node("n2"), nodes.RESOURCE, user=N1, namespace="")
    for label in (
        "node-restriction.kubernetes.io/pci",
        "x.node-restriction.kubernetes.io/a",
        "node-role.kubernetes.io/master",
    ):
        with pytest.raises(StatusError, match="not allowed to set the following labels"):
            await admit(ctx, node(metadata={"labels": {label: "1"}}), nodes.RESOURCE, user=N1, namespace="")
    new = node()
    new["spec"]["taints"] = []
    old = node()
    old["spec"]["taints"] = [{"key": "a", "effect": "NoSchedule"}]
    with pytest.raises(StatusError, match="not allowed to modify taints"):
        await admit(ctx, new, nodes.RESOURCE, user=N1, operation=UPDATE, old=old, namespace="")


async def test_node_and_pods(ctx: Context) -> None:
    """A kubelet creates mirror pods for itself without references, and reports on its own pods only."""
    with pytest.raises(StatusError, match="can only create mirror pods"):
        await admit(ctx, pod(nodeName="n1"), user=N1)
    mirror = pod(nodeName="n1")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    await admit(ctx, mirror, user=N1)
    stealing = copy.deepcopy(mirror)
    stealing["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "s"}}]
    with pytest.raises(StatusError, match='node "n1" can not create pods that reference configmaps'):
        await admit(ctx, stealing, user=N1)
    for volume, what in (
        ({"csi": {"driver": "d"}}, r"csidrivers \(via CSI volumes\)"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "persistentvolumeclaims"),
        ({"ephemeral": {"volumeClaimTemplate": {}}}, r"persistentvolumeclaims \(via ephemeral volumes\)"),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}, "clustertrustbundles"),
    ):
        stealing = copy.deepcopy(mirror)
        stealing["spec"]["volumes"] = [{"name": "v", **volume}]
        with pytest.raises(StatusError, match=f"can not create pods that reference {what}"):
            await admit(ctx, stealing, user=N1)
    stealing["spec"] = {**mirror["spec"], "imagePullSecrets": [{"name": "s"}]}
    with pytest.raises(StatusError, match="a mirror pod may not reference secrets"):
        await admit(ctx, stealing, user=N1)
    elsewhere = pod(nodeName="n2")
    with pytest.raises(StatusError, match="set to itself"):
        await admit(ctx, elsewhere, user=N1, operation=UPDATE, old=elsewhere, subresource="status")
    with pytest.raises(StatusError, match="can only delete pods"):
        await admit(ctx, None, user=N1, operation=DELETE, old=elsewhere, name="web")


async def test_node_status_widens_nothing(ctx: Context) -> None:
    """What the Node authorizer reads out of a pod's or a claim's status is not the node's to write there."""
    old = pod(nodeName="n1")
    old["status"] = {"phase": "Pending"}
    await admit(ctx, {**old, "status": {"phase": "Running"}}, user=N1, operation=UPDATE, old=old, subresource="status")
    for status in (
        {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "others"}]},
        {"extendedResourceClaimStatus": {"resourceClaimName": "others", "requestMappings": []}},
    ):
        with pytest.raises(StatusError, match="through pod status"):
            new = {**old, "status": status}
            await admit(ctx, new, user=N1, operation=UPDATE, old=old, subresource="status")
    claims = persistentvolumeclaims.RESOURCE
    claim = obj(claims, "data", "shop", spec={"volumeName": "pv"}, status={"phase": "Bound"})

    async def write(subresource: str = "status", **parts: object) -> None:
        new = {**claim, **parts}
        await admit(ctx, new, claims, user=N1, operation=UPDATE, old=claim, subresource=subresource)

    await write(status={"phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": []})
    for parts in (
        {"status": {"phase": "Lost"}},
        {"metadata": {**claim["metadata"], "labels": {"a": "b"}}},
        {"spec": {"volumeName": "another"}},
    ):
        with pytest.raises(StatusError, match="not allowed to update fields other than"):
            await write(**parts)
    with pytest.raises(StatusError, match="may only update PVC status"):
        await write("")


async def test_node_tokens(ctx: Context) -> None:
    """A kubelet gets tokens bound to its own pods, for audiences that these pods ask for."""
    mine = put(ctx, pods.RESOURCE, "mine", "shop", spec={"nodeName": "n1", "containers": []})
    other = put(ctx, pods.RESOURCE, "other", "shop", spec={"nodeName": "n2", "containers": []})

    async def token(ref: Object | None, *audiences: str) -> None:
        request = obj(serviceaccounts.RESOURCE, "default", spec={"boundObjectRef": ref, "audiences": list(audiences)})
        await admit(ctx, request, serviceaccounts.RESOURCE, user=N1, subresource="token")

    def ref(found: Object) -> Object:
        return {"apiVersion": "v1", "kind": "Pod", "name": found["metadata"]["name"], "uid": found["metadata"]["uid"]}

    await token(ref(mine))
    with pytest.raises(StatusError, match="not bound to a pod"):
        await token(None)
    with pytest.raises(StatusError, match="scheduled on a different node"):
        await token(ref(other))
    with pytest.raises(StatusError, match="without a uid"):
        await token({**ref(mine), "uid": ""})
    with pytest.raises(StatusError, match='audience "vault" not found in pod spec volume'):
        await token(ref(mine), "vault")


async def test_further_configmaps_are_mounted_beside_the_token(ctx: Context) -> None:
    """As ca.crt is: one file each, named like the key."""
    settings = dataclasses.replace(ctx.settings, projected_configmaps=(("more-ca", "more.crt"),))
    made = await admit(dataclasses.replace(ctx, settings=settings), pod())
    sources = made["spec"]["volumes"][0]["projected"]["sources"]
    assert sources[-1] == {"configMap": {"name": "more-ca", "items": [{"key": "more.crt", "path": "more.crt"}]}}
