"""What the API of a conformant cluster does with pods, nodes and what containers are configured with.

Which test shows which promise of area sig-node (files are tests/…; what is not listed here is in this file):

| Promise | Shown by |
|---|---|
| DeviceClass, ResourceClaim and its templates, RuntimeClass, ConfigMap, Secret, PodTemplate, Node live | test_life |
| RuntimeClass in discovery; pods with one, without it, after its end | test_runtime_classes |
| Secret with an empty key | test_empty_key |
| pod generations: updates, many, graceful deletion | test_generations; kubelet/test_workers.py, observedGeneration |
| pod status patched; pods deleted as a collection | test_pod_status, test_pods_as_a_collection |
| ephemeral containers | test_ephemeral_containers; kubelet/test_ephemeral_containers.py |
| in-place resize: read, replace, equivalents, several containers | test_resize; kubelet/test_resize.py |
| environment from ConfigMaps, Secrets, downward API, Services; prefixes; expansion | kubelet/test_env.py |
| restart policies, phases, deadlines, QoS, addresses | kubelet/test_pods_root.py, test_status.py, test_decisions.py |
| termination messages | kubelet/test_messages.py, test_pods_root.py |
| commands and arguments | kubelet/test_messages.py, test_arguments |
| hostAliases, managed /etc/hosts | kubelet/test_pods_root.py, test_hosts_of_the_node.py |
| hooks and probes by exec, HTTP, TCP, gRPC, sleep | kubelet/test_handlers.py, test_pods_root.py, test_decisions.py |
| logs, exec over WebSocket | apiserver/endpoints/test_connect.py, kubelet/test_server_root.py |
| security contexts, sysctls | kubelet/test_security_root.py |
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pynetes.apiserver.endpoints import delete
from pynetes.machinery.meta import Object
from tests.apiserver import harness
from tests.apiserver.harness import API
from tests.apiserver.test_storage_behaviours import live, made

PODS = "/api/v1/namespaces/default/pods"
RESOURCE = "/apis/resource.k8s.io/v1"
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


@pytest.fixture
async def api() -> AsyncIterator[API]:
    async with harness.api() as one:
        await one.post("/api/v1/namespaces/default/serviceaccounts", made("ServiceAccount", "default", group="v1"))
        yield one


def pod(name: str, **spec: Any) -> Object:
    """A pod of two containers with limits."""
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    containers = [{"name": one, "image": "i", "resources": resources} for one in ("a", "b")]
    return made("Pod", name, group="v1", spec={"containers": containers, **spec})


REQUEST = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "one"}}]}}
LIVES = {
    f"{RESOURCE}/deviceclasses": made("DeviceClass", "one", group="resource.k8s.io/v1", spec={}),
    f"{RESOURCE}/namespaces/default/resourceclaims": made(
        "ResourceClaim", "one", group="resource.k8s.io/v1", spec=REQUEST
    ),
    f"{RESOURCE}/namespaces/default/resourceclaimtemplates": made(
        "ResourceClaimTemplate", "one", group="resource.k8s.io/v1", spec={"spec": REQUEST}
    ),
    CLASSES: made("RuntimeClass", "one", group="node.k8s.io/v1", handler="other"),
    "/api/v1/namespaces/default/configmaps": made("ConfigMap", "one", group="v1", data={"a": "b"}),
    "/api/v1/namespaces/default/secrets": made("Secret", "one", group="v1", data={"a": "Yg=="}),
    "/api/v1/namespaces/default/podtemplates": made(
        "PodTemplate", "one", group="v1", template={"spec": {"containers": [{"name": "c", "image": "i"}]}}
    ),
    "/api/v1/nodes": made("Node", "one", group="v1"),
}


@pytest.mark.parametrize("path", sorted(LIVES))
async def test_life(api: API, path: str) -> None:
    """Every kind's whole life."""
    await live(api, path, LIVES[path])


async def test_runtime_classes(api: API) -> None:
    """In discovery with all verbs; a pod needs the class that it names, at the time when it is made."""
    found = (await api.get("/apis/node.k8s.io/v1")).body["resources"]
    (verbs,) = [set(one["verbs"]) for one in found if one["name"] == "runtimeclasses"]
    assert verbs == {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    wanted = pod("wants", runtimeClassName="one")
    words = 'pod rejected: RuntimeClass "one" not found'
    refused = await api.post(PODS, wanted)
    assert refused.status == 403 and words in refused.body["message"]
    overhead = {"podFixed": {"cpu": "10m"}}
    await api.post(CLASSES, made("RuntimeClass", "one", group="node.k8s.io/v1", handler="other", overhead=overhead))
    taken = await api.post(PODS, wanted)
    assert (taken.status, taken.body["spec"]["overhead"]) == (201, {"cpu": "10m"})
    await api.delete(f"{CLASSES}/one")
    refused = await api.post(PODS, pod("late", runtimeClassName="one"))
    assert refused.status == 403 and words in refused.body["message"]


async def test_empty_key(api: API) -> None:
    """Neither a Secret nor a ConfigMap has a key without a name."""
    for kind in ("Secret", "ConfigMap"):
        path = f"/api/v1/namespaces/default/{kind.lower()}s"
        assert (await api.post(path, made(kind, "one", group="v1", data={"": "Yg=="}))).status == 422


async def test_generations(api: API) -> None:
    """A pod's generation is 1, moves with its spec alone, and with a graceful deletion."""
    assert (await api.post(PODS, pod("web", nodeName="n1"))).body["metadata"]["generation"] == 1
    labelled = await api.merge(f"{PODS}/web", {"metadata": {"labels": {"x": "y"}}})
    assert labelled.body["metadata"]["generation"] == 1
    for number in range(2, 52):
        change = {"spec": {"activeDeadlineSeconds": 10_000 - number}}
        assert (await api.merge(f"{PODS}/web", change)).body["metadata"]["generation"] == number
    seen = await api.merge(f"{PODS}/web/status", {"status": {"observedGeneration": 51}})
    assert (seen.body["metadata"]["generation"], seen.body["status"]["observedGeneration"]) == (51, 51)
    going = await api.delete(f"{PODS}/web")
    assert (going.body["metadata"]["generation"], "deletionTimestamp" in going.body["metadata"]) == (52, True)


async def test_pod_status(api: API) -> None:
    """The status is patched through its subresource; what was written is read, and the spec stays."""
    await api.post(PODS, pod("web"))
    condition = {"type": "Patched", "status": "True"}
    patched = await api.merge(f"{PODS}/web/status", {"status": {"message": "hello", "conditions": [condition]}})
    assert patched.status == 200
    read = (await api.get(f"{PODS}/web/status")).body
    assert (read["status"]["message"], read["status"]["conditions"][0]["type"]) == ("hello", "Patched")
    assert read["spec"] == (await api.get(f"{PODS}/web")).body["spec"]


async def test_pods_as_a_collection(api: API) -> None:
    """Those with the label go, others stay."""
    for name in ("one", "two"):
        await api.post(PODS, pod(name))
    other = pod("other")
    del other["metadata"]["labels"]
    await api.post(PODS, other)
    assert len((await api.get(f"{PODS}?labelSelector=test%3Dlife")).body["items"]) == 2
    assert (await api.ask("DELETE", f"{PODS}?labelSelector=test%3Dlife&gracePeriodSeconds=0")).status == 200
    assert [one["metadata"]["name"] for one in (await api.get(PODS)).body["items"]] == ["other"]


async def test_a_deletion_that_another_completes(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that is deleted at once is marked first. Its kubelet's status may come in between and remove it: that is
    the deletion that was asked for, and no error; nor is a new pod of that name taken for the old one."""
    mark, again = delete.Deletion._mark, pod("web", nodeName="n2")

    async def marked(self: delete.Deletion, entry: Any, obj: Object) -> Object:
        found = await mark(self, entry, obj)
        assert (await api.merge(f"{PODS}/web/status", {"status": {"phase": "Running"}})).status == 200
        if new:
            assert (await api.post(PODS, again)).status == 201
        return found

    monkeypatch.setattr(delete.Deletion, "_mark", marked)
    for new in (False, True):
        await api.post(PODS, pod("web", nodeName="n1"))
        gone = await api.ask("DELETE", f"{PODS}/web?gracePeriodSeconds=0")
        assert (gone.status, gone.body["spec"]["nodeName"]) == (200, "n1")
        assert (await api.get(f"{PODS}/web")).status == (200 if new else 404)


async def test_ephemeral_containers(api: API) -> None:
    """They are added through their subresource, one after another, and none is changed or taken away."""
    created = await api.post(PODS, pod("web", nodeName="n1"))
    assert created.status == 201
    path = f"{PODS}/web/ephemeralcontainers"
    names = []
    for name in ("first", "second"):
        read = (await api.get(path)).body
        read["spec"].setdefault("ephemeralContainers", []).append({"name": name, "image": "i"})
        names.append(name)
        updated = await api.put(path, read)
        assert updated.status == 200
        assert [one["name"] for one in updated.body["spec"]["ephemeralContainers"]] == names
    changed = (await api.get(path)).body
    changed["spec"]["ephemeralContainers"][0]["image"] = "other"
    assert (await api.put(path, changed)).status == 422
    direct = {"spec": {"ephemeralContainers": [{"name": "third", "image": "i"}]}}
    refused = await api.merge(f"{PODS}/web", direct)
    assert refused.status == 422


async def test_resize(api: API) -> None:
    """Resources change through the resize subresource alone, all containers at once; equal amounts are equal."""
    await api.post(PODS, pod("web", nodeName="n1"))
    path = f"{PODS}/web/resize"
    read = (await api.get(path)).body
    assert read == (await api.get(f"{PODS}/web")).body
    for container, cpu in zip(read["spec"]["containers"], ("50m", "0.2"), strict=True):
        container["resources"] = {kind: {"cpu": cpu, "memory": "64Mi"} for kind in ("requests", "limits")}
    replaced = await api.put(path, read)
    assert replaced.status == 200
    asked = [one["resources"]["requests"]["cpu"] for one in replaced.body["spec"]["containers"]]
    assert asked == ["50m", "200m"]
    assert replaced.body["metadata"]["generation"] == 2
    assert (await api.get(path)).body == (await api.get(f"{PODS}/web")).body
    change = [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]
    assert (await api.merge(f"{PODS}/web", {"spec": {"containers": change}})).status == 422


async def test_quota_of_devices(api: API) -> None:
    """A quota counts extended resources like others: what is beyond it is refused with the figures."""
    hard = {"requests.vendor.test/card": "2"}
    quotas = "/api/v1/namespaces/default/resourcequotas"
    assert (await api.post(quotas, made("ResourceQuota", "cards", group="v1", spec={"hard": hard}))).status == 201
    told = {"status": {"hard": hard, "used": {"requests.vendor.test/card": "0"}}}
    assert (await api.merge(f"{quotas}/cards/status", told)).status == 200
    # A consistent read: from now on admission knows of the quota.
    assert len((await api.get(quotas)).body["items"]) == 1

    def with_cards(name: str, count: int) -> Object:
        found = pod(name)
        cards = {"vendor.test/card": str(count)}
        found["spec"]["containers"][0]["resources"] = {"requests": cards, "limits": cards}
        return found

    assert (await api.post(PODS, with_cards("one", 1))).status == 201
    refused = await api.post(PODS, with_cards("more", 2))
    assert (refused.status, "exceeded quota: cards" in refused.body["message"]) == (403, True)
    assert (await api.post(PODS, with_cards("two", 1))).status == 201
