"""Gives a new node what only its cloud knows: provider ID, addresses, instance type, zone and region.

A kubelet run with --cloud-provider=external registers with the uninitialized taint, so that nothing is placed by labels
that are not there yet. Addresses are compared again every --node-status-update-frequency.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from pynetes.apis.core import nodes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.cloud import names
from pynetes.cloud.controllers._config import Config
from pynetes.cloud.inventory import FRESH, PAUSE
from pynetes.cloud.provider import Absent, Address, Instance
from pynetes.machinery.meta import Key, Object, is_deleting


def is_new(node: Object) -> bool:
    """Whether it waits for its cloud."""
    return any(taint["key"] == names.UNINITIALIZED for taint in node["spec"].get("taints") or ())


def labels_of(instance: Instance) -> dict[str, str]:
    """The well-known labels of an instance, and those the cloud adds; what the cloud does not know is left out."""
    known = {names.INSTANCE_TYPE: instance.type, names.ZONE: instance.zone, names.REGION: instance.region}
    known |= {names.OLD_NAMES[name]: value for name, value in known.items()}
    return {**instance.labels, **{name: value for name, value in known.items() if value}}


def addresses_of(node: Object, instance: Instance) -> list[Object]:
    """status.addresses: the cloud's, with the address first that the kubelet was told to use (only it, of its type).

    Raises Absent when the cloud does not know that address: the node would be reached where it is not."""
    found = list(dict.fromkeys(instance.addresses))
    provided = (node["metadata"].get("annotations") or {}).get(names.PROVIDED_NODE_IP, "")
    for wanted in reversed([text for text in provided.split(",") if text]):
        types = [each.type for each in found if each.address == wanted]
        if not types:
            name = node["metadata"]["name"]
            raise Absent(f"the cloud knows no address {wanted} of {name}, which its kubelet was told to use")
        same = ":" in wanted
        chosen = [Address(kind, wanted) for kind in types]
        found = chosen + [each for each in found if each.type not in types or (":" in each.address) != same]
    if all(each.type != "Hostname" for each in found):
        before = (node.get("status") or {}).get("addresses") or ()
        found += [Address("Hostname", each["address"]) for each in before if each["type"] == "Hostname"]
    return [{"type": each.type, "address": each.address} for each in found]


def initialized(node: Object, instance: Instance) -> Object:
    """The patch that makes a new node an ordinary one, its addresses apart."""
    labels = node["metadata"].get("labels") or {}
    taints = [taint for taint in node["spec"].get("taints") or () if taint["key"] != names.UNINITIALIZED]
    wanted = {name: value for name, value in labels_of(instance).items() if labels.get(name) != value}
    patch: Object = {
        # The list of taints is replaced as a whole: not over what somebody else has just added.
        "metadata": {"resourceVersion": node["metadata"]["resourceVersion"], "labels": wanted},
        "spec": {"taints": taints or None},
    }
    if not node["spec"].get("providerID"):
        patch["spec"]["providerID"] = instance.provider_id
    return patch


def relabelled(node: Object, instance: Instance) -> Object | None:
    """The patch for labels that differ from what the cloud says now, and for a provider ID that is missing."""
    labels = node["metadata"].get("labels") or {}
    wanted = {name: value for name, value in labels_of(instance).items() if labels.get(name) != value}
    patch: Object = {"metadata": {"labels": wanted}} if wanted else {}
    if not node["spec"].get("providerID"):
        patch["spec"] = {"providerID": instance.provider_id}
    return patch or None


async def reconcile(config: Config, ctx: Context, key: Key) -> timedelta | None:
    node = await ctx.cached(nodes.RESOURCE, key)
    if node is None or is_deleting(node):
        return None
    new, again = is_new(node), timedelta(seconds=config.node_status_update_frequency)
    machines, provider_id = config.machines, node["spec"].get("providerID") or ""
    instance = await machines.of(key.name, provider_id, newer_than=FRESH)
    if instance is None and new:
        # It may be younger than what is known.
        instance = await machines.of(key.name, provider_id, newer_than=PAUSE)
    if instance is None:
        if new:
            raise Absent(f"{config.provider.name} has no instance of the node {key.name}")
        return again
    wanted = addresses_of(node, instance)
    if wanted != ((node.get("status") or {}).get("addresses") or []):
        node = await ctx.patch(nodes.RESOURCE, key, {"status": {"addresses": wanted}}, subresource="status")
    patch = initialized(node, instance) if new else relabelled(node, instance)
    if patch:
        await ctx.patch(nodes.RESOURCE, key, patch)
    if new:
        ctx.event(node, "Normal", "Synced", "Node synced successfully")
    return again


def waiting(_lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """Nodes that come, and those that wait for their cloud: a heartbeat is no reason to ask."""
    if old is None or (is_new(node) and old is not node):
        yield Key("", node["metadata"]["name"])


def controller(config: Config) -> Controller:
    """The controller for this cloud."""
    return Controller(
        name="cloud-node-controller",
        reconcile=partial(reconcile, config),
        watches=(Watch(nodes.RESOURCE, keys=waiting),),
        rules=(
            Rule("nodes", "get,list,patch,update,watch"),
            Rule("nodes/status", "patch,update"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
