"""What bring-up asks of its own API server: apply objects, and wait, by watching, until they are as they should be."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType

from pynetes import apis
from pynetes.apis.apps import deployments
from pynetes.apis.core import nodes, pods, services
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource

#: The field manager of what `up` applies.
MANAGER = "pynetes-up"
AGAIN = 0.1


class Api:
    """A connection with an administrator's rights; use it with `async with`."""

    def __init__(self, cluster: Cluster, *, kubeconfig: str = "admin.conf") -> None:
        self._client = Client.from_kubeconfig(str(cluster.state / kubeconfig), component="pynetes-up")

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def apply(self, objects: Sequence[Object], *, within: float = 30) -> None:
        """Server-side apply, in order. Admission that is not ready yet (a namespace's ServiceAccount) is waited for."""
        for obj in objects:
            await self._applied(resource_of(obj, objects), obj, monotonic() + within)

    async def remove(self, objects: Sequence[Object]) -> int:
        """Delete, the last one first, what is there of these; how many there were."""
        gone = 0
        for obj in reversed(objects):
            with contextlib.suppress(StatusError):  # it was not there
                await self._client.delete(resource_of(obj, objects), key_of(obj))
                gone += 1
        return gone

    async def _applied(self, resource: Resource, obj: Object, deadline: float) -> None:
        while True:
            try:
                await self._client.patch(resource, key_of(obj), obj, kind="apply", field_manager=MANAGER, force=True)
                return
            except (StatusError, Unreachable) as error:
                hopeless = isinstance(error, StatusError) and error.code in (400, 422)
                if hopeless or monotonic() > deadline:
                    raise ClusterError(f"{obj['kind']} {key_of(obj)} could not be applied: {error}") from None
                await asyncio.sleep(AGAIN)

    async def forget_nodes(self, pattern: re.Pattern[str], *, keep: Sequence[str]) -> list[str]:
        """Delete the Nodes whose names match and are none of those to keep, and their pods, which run no more."""
        listed = await self._client.list(nodes.RESOURCE)
        names = [item["metadata"]["name"] for item in listed.items]
        gone = [name for name in names if pattern.fullmatch(name) and name not in keep]
        for name in gone:
            await self._client.delete(nodes.RESOURCE, Key("", name))
            left = await self._client.list(pods.RESOURCE, field_selector=f"spec.nodeName={name}")
            for pod in left.items:
                with contextlib.suppress(StatusError):  # somebody else was faster
                    await self._client.delete(pods.RESOURCE, key_of(pod), grace=0)
        return gone

    async def pod_cidrs(self, names: Sequence[str], *, within: float) -> dict[str, str]:
        """Every node's pod network, once the controller manager has assigned all of them."""

        def lacking(known: Mapping[Key, Object]) -> list[str]:
            return [name for name in names if not _pod_cidr(known.get(Key("", name)))]

        known = await self._until(nodes.RESOURCE, lacking, "no pod network was assigned to", within=within)
        return {name: _pod_cidr(known[Key("", name)]) for name in names}

    async def label_control_plane(self, name: str) -> None:
        """Mark the node that the control plane runs on, as kubeadm does. It is not tainted: it takes pods as well."""
        labels = {"node-role.kubernetes.io/control-plane": ""}
        await self._client.patch(nodes.RESOURCE, Key("", name), {"metadata": {"labels": labels}})

    async def nodes_ready(self, names: Sequence[str], *, within: float) -> None:
        """Until every node's Ready condition is true."""

        def lacking(known: Mapping[Key, Object]) -> list[str]:
            return [why for name in names if (why := _not_ready(name, known.get(Key("", name))))]

        await self._until(nodes.RESOURCE, lacking, "not Ready:", within=within)

    async def deployment_available(self, namespace: str, name: str, *, within: float) -> None:
        """Until every replica of a Deployment is available."""

        def lacking(known: Mapping[Key, Object]) -> list[str]:
            found = known.get(Key(namespace, name))
            wanted, status = (found or {}).get("spec", {}).get("replicas", 1), (found or {}).get("status", {})
            have = status.get("availableReplicas", 0)
            return [] if found and have >= wanted else [f"deployment {namespace}/{name} ({have} of {wanted} available)"]

        await self._until(deployments.RESOURCE, lacking, "not available:", within=within)

    async def service_address(self, namespace: str, name: str) -> str:
        """A Service's cluster IP."""
        return str((await self._client.get(services.RESOURCE, Key(namespace, name)))["spec"]["clusterIP"])

    async def _until(
        self, resource: Resource, lacking: Callable[[Mapping[Key, Object]], list[str]], problem: str, *, within: float
    ) -> Mapping[Key, Object]:
        """Follow a resource until nothing is lacking; on time-out the error names what still is."""
        known: dict[Key, Object] = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        if await self._follow(resource, lacking, known):
                            return known
                    except (StatusError, Unreachable):
                        await asyncio.sleep(AGAIN)
        except TimeoutError:
            raise ClusterError(
                f"{problem} {', '.join(lacking(known))}", "see `pynetes status` and `pynetes logs`"
            ) from None

    async def _follow(
        self,
        resource: Resource,
        lacking: Callable[[Mapping[Key, Object]], list[str]],
        known: dict[Key, Object],
    ) -> bool:
        listed = await self._client.list(resource)
        known.clear()
        known.update({key_of(item): item for item in listed.items})
        if not lacking(known):
            return True
        async with self._client.watch(resource, resource_version=listed.resource_version) as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED"):
                    known[key_of(event.object)] = event.object
                if not lacking(known):
                    return True
        return False


def resource_of(obj: Object, among: Sequence[Object]) -> Resource:
    """The kind's record: a built-in one, or made from its CustomResourceDefinition among the others."""
    found = apis.by_kind(obj["apiVersion"], obj["kind"])
    if found is not None:
        return found
    group, _, version = obj["apiVersion"].partition("/")
    for other in among:
        spec = other.get("spec", {})
        if spec.get("group") == group and spec.get("names", {}).get("kind") == obj["kind"]:
            return Resource(
                group=group,
                versions=(version,),
                kind=obj["kind"],
                plural=spec["names"]["plural"],
                namespaced=spec["scope"] == "Namespaced",
            )
    raise ClusterError(f"no kind is {obj['apiVersion']} {obj['kind']}, built in or defined by the same add-ons")


def _pod_cidr(node: Object | None) -> str:
    return str((node or {}).get("spec", {}).get("podCIDR") or "")


def _not_ready(name: str, node: Object | None) -> str:
    """ "" when it is, else the node's name and what its kubelet says."""
    if node is None:
        return f"{name} (has not registered)"
    for condition in node.get("status", {}).get("conditions") or ():
        if condition["type"] == "Ready":
            return (
                "" if condition["status"] == "True" else f"{name} ({condition.get('message') or condition['reason']})"
            )
    return f"{name} (has no status yet)"
