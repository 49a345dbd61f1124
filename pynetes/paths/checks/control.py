"""Paths 6 to 9 and 18: controllers and the scheduler act on events, and say why where they cannot."""

from pynetes.apis.apps import deployments, replicasets
from pynetes.apis.core import pods
from pynetes.apis.discovery import endpointslices
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, controller_of
from pynetes.paths import observed
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually


async def _reconcile(scene: Scene) -> str:
    """A Deployment becomes a ReplicaSet, a pod and, with its Service, an EndpointSlice; deleting it removes all."""
    web = await scene.pods()
    key = Key(NAMESPACE, "chain")
    before = observed.rows(await observed.snapshots(scene.site.paths_dir))
    await scene.ensure(deployments.RESOURCE, _deployment(scene, key.name))
    chain: list[Object] = []

    async def made() -> bool:
        chain[:] = [
            item
            for resource in (replicasets.RESOURCE, pods.RESOURCE)
            for item in (await scene.client.list(resource, namespace=NAMESPACE, label_selector="app=chain")).items
        ]
        return len(chain) == 2

    took = await eventually(made, "the Deployment has no ReplicaSet with a pod")
    owner = controller_of(chain[1])
    expect(owner and owner["uid"] == chain[0]["metadata"]["uid"], "the pod does not belong to the ReplicaSet")
    slices = await scene.client.list(
        endpointslices.RESOURCE, namespace=NAMESPACE, label_selector="kubernetes.io/service-name=web"
    )
    ready = [address for item in slices.items for end in item.get("endpoints") or () for address in end["addresses"]]
    expect(len(ready) == len(web), f"the EndpointSlice of web lists {ready}, not the {len(web)} pods")
    after = observed.rows(await observed.snapshots(scene.site.paths_dir))
    events = _more(before, after, 6)
    expect(events, "the controller manager has seen no event")
    await scene.client.delete(deployments.RESOURCE, key, propagation="Foreground")

    async def gone() -> bool:
        return not await made() and not chain

    collected = await eventually(gone, "garbage was not collected")
    return (
        f"Deployment → {chain_names(chain) or 'ReplicaSet → Pod'} in {took * 1000:.0f} ms, EndpointSlice of web has "
        f"{', '.join(ready)}; collected in {collected * 1000:.0f} ms; {events} watch events, "
        f"{_more(before, after, 7)} writes, {_more(before, after, 18)} reconciles meanwhile"
    )


def chain_names(chain: list[Object]) -> str:
    """ReplicaSet and pod, by kind and name."""
    return " → ".join(f"{item['kind']} {item['metadata']['name']}" for item in chain)


def _more(before: dict[int, observed.Row], after: dict[int, observed.Row], number: int) -> int:
    return after.get(number, observed.Row()).requests - before.get(number, observed.Row()).requests


def _deployment(scene: Scene, name: str) -> Object:
    labels = {"app": name}
    container = {"name": "sleep", "image": scene.site.shell_image, "command": ["sleep", "1000"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


async def _schedule(scene: Scene) -> str:
    """A gated pod waits, binds when its gate goes; one that fits nowhere says why, per node."""
    await scene.namespace()
    gated, huge = Key(NAMESPACE, "gated"), Key(NAMESPACE, "huge")
    for key in (gated, huge):
        await _remove(scene, key)
    await scene.client.create(pods.RESOURCE, _pod(scene, gated.name, gates=["pynetes.io/verify"]), namespace=NAMESPACE)
    await scene.client.create(pods.RESOURCE, _pod(scene, huge.name, cpu="100000"), namespace=NAMESPACE)
    said = ""

    async def refused() -> bool:
        nonlocal said
        condition = _scheduled(await scene.client.get(pods.RESOURCE, huge))
        said = str(condition.get("message", ""))
        return condition.get("reason") == "Unschedulable"

    await eventually(refused, "the pod that fits nowhere was not told so")
    expect("nodes are available" in said, f"the scheduler says {said!r}")
    waiting = await scene.client.get(pods.RESOURCE, gated)
    expect(not waiting["spec"].get("nodeName"), "a gated pod was bound")
    gone = [{"op": "remove", "path": "/spec/schedulingGates"}]
    await scene.client.patch(pods.RESOURCE, gated, gone, kind="json")

    async def bound() -> bool:
        return bool((await scene.client.get(pods.RESOURCE, gated))["spec"].get("nodeName"))

    took = await eventually(bound, "the pod was not bound when its gate went")
    for key in (gated, huge):
        await _remove(scene, key)
    return f"gated pod bound {took * 1000:.0f} ms after its gate went; the other: {said}"


def _scheduled(pod: Object) -> Object:
    conditions = pod.get("status", {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == "PodScheduled"), {})


def _pod(scene: Scene, name: str, *, gates: list[str] | None = None, cpu: str = "1m") -> Object:
    container = {
        "name": "sleep",
        "image": scene.site.shell_image,
        "command": ["sleep", "1000"],
        "resources": {"requests": {"cpu": cpu}},
    }
    spec: Object = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if gates:
        spec["schedulingGates"] = [{"name": gate} for gate in gates]
    return {"metadata": {"name": name}, "spec": spec}


async def _remove(scene: Scene, key: Key) -> None:
    try:
        await scene.client.delete(pods.RESOURCE, key, grace=0)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return

    async def gone() -> bool:
        return await scene.client.find(pods.RESOURCE, key) is None

    await eventually(gone, f"the pod {key} stayed")


CHECKS = (Check((6, 7, 18), _reconcile), Check((8, 9), _schedule))
