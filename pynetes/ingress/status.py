"""What the controller tells about Ingresses: their address, and Events about what is wrong with them.

Only the leader tells, so that several instances do not write the same things.
"""

import logging
from collections.abc import Iterator

from pynetes.apis.core import nodes, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingresses
from pynetes.client.events import Recorder
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.ingress.ingresses import Compiled
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

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
        self._told: dict[tuple[str, Key], frozenset[tuple[str, str]]] = {}

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

    async def tell(self, compiled: Compiled) -> int:
        """Write what is new; how many statuses were written."""
        self.events(compiled)
        wanted = {"ingress": self.addresses()} if self.addresses() else {}
        written = 0
        for key in map(key_of, compiled.served):
            ingress = self._ingresses.get(key)
            if ingress is None or is_deleting(ingress):
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

    def events(self, compiled: Compiled) -> None:
        """Record what is wrong now and was not before, and what is served now."""
        current: dict[tuple[str, Key], set[tuple[str, str]]] = {}
        objects: dict[tuple[str, Key], Object] = {}
        for problem in compiled.problems:
            current.setdefault(problem.key, set()).add((problem.reason, problem.message))
            objects[problem.key] = problem.obj
        for ingress in compiled.served:
            key = ("Ingress", key_of(ingress))
            if key not in self._told:
                self._recorder.event(ingress, "Normal", "Sync", "Scheduled for sync", source=SOURCE)
            current.setdefault(key, set())
        for key, messages in current.items():
            for reason, message in sorted(messages - self._told.get(key, frozenset())):
                self._recorder.event(objects[key], "Warning", reason, message, source=SOURCE)
        self._told = {key: frozenset(messages) for key, messages in current.items()}


def _shown(address: str) -> dict[str, str]:
    return {"ip": address} if address.replace(".", "").isdigit() or ":" in address else {"hostname": address}
