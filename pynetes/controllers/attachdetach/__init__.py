"""Lets volumes be attached to the nodes whose pods want them, and detached where none does any more.

It writes VolumeAttachments, which whoever speaks to the driver carries out, and node.status.volumesAttached, without
which a kubelet mounts nothing. A volume leaves a node only when the kubelet no longer lists it in volumesInUse; from a
node that is not ready after six minutes, and at once from one that is tainted out-of-service or gone.
The key is a node: everything about it is decided at one moment.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import nodes, pods
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import csidrivers, volumeattachments
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import _pvs as pvs
from pynetes.controllers.attachdetach import metrics
from pynetes.controllers.attachdetach.decide import Decision, attached, attachment_name, decide, forced
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    """Attach and detach what a node's pods call for."""
    node = await ctx.cached(nodes.RESOURCE, key)
    users = await _users(ctx, key.name)
    wanted = {volume["metadata"]["name"]: volume for volume, _ in users}
    mine = ctx.listed(volumeattachments.RESOURCE, index="node", value=key.name)
    present = {name: one for one in mine if (name := _volume(one))}
    known = {}
    for name in present:
        if (volume := await ctx.cached(volumes.RESOURCE, Key("", name))) is not None:
            known[name] = volume
    made = decide(
        key.name,
        node,
        wanted=wanted,
        present=present,
        elsewhere={name: _elsewhere(ctx, name, key.name) for name in wanted},
        known=known,
        now=ctx.now(),
    )
    _tell(ctx, made, users)
    if node is not None:
        going = {one["metadata"]["name"] for one in made.detach}
        # First the node hears that the volume goes, then it goes: no kubelet begins to mount it in between.
        await _report(ctx, node, attached(present, known, going))
    for attachment in made.detach:
        if reason := forced(node, known.get(_volume(attachment))):
            metrics.FORCED.inc(reason)
        await ctx.delete(volumeattachments.RESOURCE, attachment)
    for volume in made.attach:
        await _attach(ctx, volume, key.name)
    return made.again


async def _users(ctx: Context, node: str) -> list[tuple[Object, Object]]:
    """The attachable volumes that pods of a node use, each with one of its pods."""
    found = []
    for pod in ctx.listed(pods.RESOURCE, index="node", value=node):
        if podinfo.is_terminal(pod):
            continue
        for volume in await pvs.volumes_of(ctx, pod):
            csi = volume["spec"].get("csi")
            if csi and await _needs_attaching(ctx, csi["driver"]):
                found.append((volume, pod))
    return found


async def _needs_attaching(ctx: Context, driver: str) -> bool:
    found = await ctx.cached(csidrivers.RESOURCE, Key("", driver))
    return found is None or found["spec"].get("attachRequired", True) is not False


def _volume(attachment: Object) -> str:
    return str(attachment["spec"]["source"].get("persistentVolumeName") or "")


def _elsewhere(ctx: Context, volume: str, node: str) -> list[Object]:
    found = ctx.listed(volumeattachments.RESOURCE, index="volume", value=volume)
    return [one for one in found if one["spec"]["nodeName"] != node]


def _tell(ctx: Context, made: Decision, users: list[tuple[Object, Object]]) -> None:
    for volume, holders in made.blocked:
        name = volume["metadata"]["name"]
        for user, pod in users:
            if user["metadata"]["name"] == name:
                text = f'Multi-Attach error for volume "{name}" Volume is already used on node(s) {", ".join(holders)}'
                ctx.event(pod, "Warning", "FailedAttachVolume", text)


async def _report(ctx: Context, node: Object, wanted: list[Object]) -> None:
    present = (node.get("status") or {}).get("volumesAttached") or []
    if sorted(one["name"] for one in present) == [one["name"] for one in wanted]:
        return
    patch = {"status": {"volumesAttached": wanted or None}}
    await ctx.patch(nodes.RESOURCE, Key("", node["metadata"]["name"]), patch, subresource="status")


async def _attach(ctx: Context, volume: Object, node: str) -> None:
    attachment = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": attachment_name(volume, node)},
        "spec": {
            "attacher": volume["spec"]["csi"]["driver"],
            "nodeName": node,
            "source": {"persistentVolumeName": volume["metadata"]["name"]},
        },
    }
    try:
        await ctx.create(volumeattachments.RESOURCE, attachment)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise


def on_pod(_lookup: Lookup, pod: Object, _old: Object | None) -> Iterator[Key]:
    """The node of a pod that has claims."""
    if pod["spec"].get("nodeName") and any(pvs.claims_of(pod)):
        yield Key("", pod["spec"]["nodeName"])


def _nodes_of(lookup: Lookup, claim: Key) -> Iterator[Key]:
    for pod in lookup.listed(pods.RESOURCE, index="claim", value=str(claim)):
        yield from on_pod(lookup, pod, None)


def on_claim(lookup: Lookup, claim: Object, old: Object | None) -> Iterator[Key]:
    """The nodes of a claim's pods, once it has its volume."""
    if old is None or claim["spec"].get("volumeName") != old["spec"].get("volumeName"):
        yield from _nodes_of(lookup, Key(claim["metadata"]["namespace"], claim["metadata"]["name"]))


def on_volume(lookup: Lookup, volume: Object, _old: Object | None) -> Iterator[Key]:
    """The nodes of the pods of a volume's claim."""
    ref = volume["spec"].get("claimRef")
    if ref:
        yield from _nodes_of(lookup, Key(ref.get("namespace") or "", ref["name"]))


def on_attachment(lookup: Lookup, attachment: Object, old: Object | None) -> Iterator[Key]:
    """Its node; when it is gone, also the nodes that have waited for its volume."""
    yield Key("", attachment["spec"]["nodeName"])
    if old is attachment:
        for volume in lookup.listed(volumes.RESOURCE, index="name", value=_volume(attachment)):
            yield from on_volume(lookup, volume, None)


def on_node(_lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """A node that came or went, or whose volumes, readiness or taints have changed."""
    if old is None or old is node or _seen(node) != _seen(old):
        yield Key("", node["metadata"]["name"])


def _seen(node: Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    ready = next((one["status"] for one in status.get("conditions") or () if one["type"] == "Ready"), "")
    return status.get("volumesInUse"), status.get("volumesAttached"), node["spec"].get("taints"), ready


def by_name(volume: Object) -> tuple[str, ...]:
    """Indexes volumes by their name, for mappers."""
    return (volume["metadata"]["name"],)


CONTROLLER = Controller(
    name="persistentvolume-attach-detach-controller",
    service_account="attachdetach-controller",
    reconcile=reconcile,
    shows=metrics.SHOWS,
    watches=(
        Watch(nodes.RESOURCE, keys=on_node),
        Watch(pods.RESOURCE, keys=on_pod, indexes={"node": podinfo.by_node, "claim": pvs.by_claim}),
        Watch(claims.RESOURCE, keys=on_claim),
        Watch(volumes.RESOURCE, keys=on_volume, indexes={"name": by_name}),
        Watch(
            volumeattachments.RESOURCE,
            keys=on_attachment,
            indexes={"node": lambda one: (one["spec"]["nodeName"],), "volume": lambda one: (_volume(one),)},
        ),
        Watch(csidrivers.RESOURCE, keys=lambda lookup, _new, _old: _all_nodes(lookup)),
    ),
    rules=(
        Rule("persistentvolumes,persistentvolumeclaims", "list,watch"),
        Rule("nodes", "get,list,watch"),
        Rule("nodes/status", "patch,update"),
        Rule("pods", "list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
        Rule("volumeattachments.storage.k8s.io", "create,delete,get,list,watch"),
        Rule("csidrivers.storage.k8s.io,csinodes.storage.k8s.io", "get,list,watch"),
    ),
)


def _all_nodes(lookup: Lookup) -> Iterator[Key]:
    for node in lookup.listed(nodes.RESOURCE):
        yield Key("", node["metadata"]["name"])
