"""Spreads endpoints over EndpointSlices of at most a hundred, touching as few slices as it can.

What is in a slice stays there: nodes read every change of every slice, so an endpoint never moves to tidy up.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pynetes.apis.discovery import endpointslices
from pynetes.client.controller import Context
from pynetes.controllers._endpoints import Port
from pynetes.machinery.meta import Object

LARGEST = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


class Group(NamedTuple):
    """Slices of one group have the same address type and the same ports."""

    address_type: str
    ports: tuple[Port, ...]


Wanted: TypeAlias = Mapping[Group, Sequence[Object]]


class Plan(NamedTuple):
    """What to write."""

    create: list[Object]
    update: list[Object]
    delete: list[Object]


def group_of(slice_: Object) -> Group:
    """The group of an existing slice."""
    ports = (
        Port(
            each.get("name") or "", each.get("protocol") or "TCP", each.get("port") or 0, each.get("appProtocol") or ""
        )
        for each in slice_.get("ports") or ()
    )
    return Group(slice_["addressType"], tuple(sorted(ports)))


def identity(endpoint: Object) -> tuple[str, ...]:
    """What makes it the same endpoint, whatever else is said of it."""
    return ((endpoint.get("targetRef") or {}).get("uid") or "", *endpoint["addresses"])


def plan(existing: Sequence[Object], wanted: Wanted, metadata: Object) -> Plan:
    """The difference. metadata is what every slice has: namespace, generateName, labels, ownerReferences, annotations.

    Every group in wanted gets at least one slice, an empty one if it has no endpoint.
    """
    result = Plan([], [], [])
    for slice_ in existing:
        if group_of(slice_) not in wanted:
            result.delete.append(slice_)
    for group, endpoints in wanted.items():
        mine = [slice_ for slice_ in existing if group_of(slice_) == group]
        _plan_group(result, group, mine, endpoints, metadata)
    return result


def _plan_group(
    result: Plan, group: Group, existing: Sequence[Object], endpoints: Sequence[Object], metadata: Object
) -> None:
    missing = {identity(endpoint): endpoint for endpoint in endpoints}
    kept = [(slice_, _keep(slice_, missing)) for slice_ in existing]
    # Slices that change anyway take new endpoints first, the fullest of them at the front.
    order = sorted(kept, key=lambda each: (each[1] == (each[0].get("endpoints") or []), -len(each[1])))
    for _, inside in order:
        while missing and len(inside) < LARGEST:
            inside.append(missing.pop(next(iter(missing))))
    rest = list(missing.values())
    used = [(slice_, inside) for slice_, inside in kept if inside]
    if not used and not rest and kept:
        used = kept[:1]
    result.delete.extend(slice_ for slice_, _ in kept if all(slice_ is not each for each, _ in used))
    for slice_, inside in used:
        if inside != (slice_.get("endpoints") or []) or _labels_differ(slice_, metadata):
            result.update.append(_with(slice_, inside, metadata))
    chunks = [rest[start : start + LARGEST] for start in range(0, len(rest), LARGEST)]
    if not used and not chunks:
        chunks = [[]]
    result.create.extend(_new(group, chunk, metadata) for chunk in chunks)


def _keep(slice_: Object, missing: dict[tuple[str, ...], Object]) -> list[Object]:
    """What of a slice is still wanted, in its present form; taken out of missing."""
    identities = (identity(endpoint) for endpoint in slice_.get("endpoints") or ())
    return [missing.pop(each) for each in identities if each in missing]


def _labels_differ(slice_: Object, metadata: Object) -> bool:
    return bool((slice_["metadata"].get("labels") or {}) != metadata["labels"])


def _with(slice_: Object, endpoints: list[Object], metadata: Object) -> Object:
    annotations = (slice_["metadata"].get("annotations") or {}) | (metadata.get("annotations") or {})
    changed = (
        slice_["metadata"] | {"labels": metadata["labels"]} | ({"annotations": annotations} if annotations else {})
    )
    return slice_ | {"metadata": changed, "endpoints": endpoints}


def _new(group: Group, endpoints: list[Object], metadata: Object) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": dict(metadata),
        "addressType": group.address_type,
        "endpoints": endpoints,
        "ports": [
            {"name": port.name, "protocol": port.protocol, "port": port.port}
            | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
            for port in group.ports
        ],
    }


async def carry_out(ctx: Context, plan: Plan) -> None:
    """Write what the plan says."""
    for each in plan.create:
        await ctx.create(endpointslices.RESOURCE, each)
    for each in plan.update:
        await ctx.update(endpointslices.RESOURCE, each)
    for each in plan.delete:
        await ctx.delete(endpointslices.RESOURCE, each)
