"""What the controller tells about Ingresses: their address, and Events about what is wrong with them.

Only the leader tells, so that several instances do not write the same things.
"""

import logging
from collections.abc import Iterable, Iterator

from pynetes.apis.core import nodes, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingresses
from pynetes.client.events import Recorder
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.ingress.hosts import Hosts
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, is_deleting

SOURCE = "nginx-ingress-controller"
_LOG = logging.getLogger(__name__)
Addresses = list[dict[str, str]]


class Teller:
    """Writes status and Events by difference to what was told before."""

    def __init__(
        self, client: Client, informers: InformerFactory, recorder: Recorder, *, publish: Key, fixed: tuple[str, ...]
    ) -> None:
        self._client, self._recorder, self._publish, self._fixed = client, recorder, publish, fixed
        self._services = informers.informer(services.RESOURCE)
        self._slices = informers.informer(endpointslices.RESOURCE)
        self._ingresses = informers.informer(ingresses.RESOURCE)
        self._nodes = informers.informer(nodes.RESOURCE)
        self._told: dict[Key, frozenset[tuple[str, str]]] = {}

    def addresses(self) -> Addresses:
        """Where traffic enters: as told by flag, by the Service's load balancer, or on the nodes that have a pod."""
        if self._fixed:
            return [_shown(each) for each in self._fixed]
        service = self._services.get(self._publish)
        if service is None:
            return []
        given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if given:
            return [{name: each[name] for name in ("ip", "hostname") if each.get(name)} for each in given]
        external = service["spec"].get("externalIPs") or sorted(set(self._node_addresses()))
        return [_shown(each) for each in external]

    def _node_addresses(self) -> Iterator[str]:
        for each in self._slices.listed(namespace=self._publish.namespace, index="service", value=self._publish.name):
            for endpoint in each.get("endpoints") or ():
                node = self._nodes.get(Key("", endpoint.get("nodeName") or ""))
                for address in ((node or {}).get("status") or {}).get("addresses") or ():
                    if address["type"] == "InternalIP":
                        yield address["address"]

    async def tell(self, hosts: Hosts, changed: Iterable[Key] | None = None) -> int:
        """Write what is new about Ingresses that have changed, or about all; how many statuses were written."""
        addresses, written = self.addresses(), 0
        wanted = {"ingress": addresses} if addresses else {}
        for key in list(hosts.read if changed is None else changed):
            self.events(hosts, key)
            read, ingress = hosts.read.get(key), self._ingresses.get(key)
            if read is None or not read.served or ingress is None or is_deleting(ingress):
                continue
            if ((ingress.get("status") or {}).get("loadBalancer") or {}) == wanted:
                continue
            try:
                await self._client.update(
                    ingresses.RESOURCE, {**ingress, "status": {"loadBalancer": wanted}}, subresource="status"
                )
                written += 1
            except (StatusError, Unreachable) as error:
                # Somebody else has changed it: the next look at the caches tries again.
                _LOG.info(logs.fact("cannot write status", object=key, error=error))
        return written

    def events(self, hosts: Hosts, key: Key) -> None:
        """Record what is wrong with an Ingress now and was not before, and when it is served first."""
        read = hosts.read.get(key)
        if read is None:
            self._told.pop(key, None)
            return
        current = frozenset((problem.reason, problem.message) for problem in hosts.problems(key))
        before = self._told.get(key)
        if before is None and read.served:
            self._recorder.event(read.ingress, "Normal", "Sync", "Scheduled for sync", source=SOURCE)
        for reason, message in sorted(current - (before or frozenset())):
            self._recorder.event(read.ingress, "Warning", reason, message, source=SOURCE)
        if read.served or before is not None or current:
            self._told[key] = current


def _shown(address: str) -> dict[str, str]:
    return {"ip": address} if address.replace(".", "").isdigit() or ":" in address else {"hostname": address}
