"""Statuses of the Gateway API's objects, and the Services through which Gateways are reached; written by difference."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from pynetes.apis.core import services
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.ingress.gateway import kinds
from pynetes.ingress.gateway.compile import Compiled, GatewayStatus, RouteStatus
from pynetes.ingress.gateway.conditions import Condition, merged
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.ingress.gateway.listeners import Listener
from pynetes.ingress.gateway.snapshot import CONTROLLER
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource

#: On a Gateway's Service: whose it is.
OWNER = "gateway.networking.k8s.io/gateway-name"
OWNER_NAMESPACE = "gateway.networking.k8s.io/gateway-namespace"
_LOG = logging.getLogger(__name__)


def service_name(gateway: Key) -> str:
    """The Service of a Gateway, in the controller's namespace: a Service selects pods of its own namespace only."""
    return f"gateway-{gateway.namespace}-{gateway.name}"[:63].rstrip("-")


def ports_of(found: Iterable[Object]) -> dict[tuple[Key, int], int]:
    """Ports of nginx that Services of Gateways already lead to."""
    ports: dict[tuple[Key, int], int] = {}
    for service in found:
        owner = service["metadata"].get("labels") or {}
        if OWNER in owner:
            key = Key(owner.get(OWNER_NAMESPACE, ""), owner[OWNER])
            ports |= {(key, port["port"]): int(port["targetPort"]) for port in service["spec"].get("ports") or ()}
    return ports


class GatewayTeller:
    """Writes what is new; `namespace` and `selector` are those of the pods with nginx."""

    def __init__(
        self, client: Client, informers: InformerFactory, clock: Clock, *, namespace: str, selector: dict[str, str]
    ) -> None:
        self._client, self._informers, self._clock = client, informers, clock
        self._namespace, self._selector = namespace, selector

    async def tell(self, compiled: Compiled, found: Iterable[Object]) -> None:
        """Services first: a Gateway's address is its Service's. found: those that are there."""
        known = {each["metadata"]["name"]: each for each in found}
        wanted = {service_name(key_of(each.gateway)): each for each in compiled.gateways}
        for name, status in wanted.items():
            await self._service(name, status, compiled, known.get(name))
        for name, service in known.items():
            if name not in wanted:
                await self._quietly(self._client.delete(services.RESOURCE, key_of(service)))
        for each in map(self._newest, compiled.classes):
            accepted = self._conditions(each, [Condition("Accepted", True, "Accepted")], each.get("status"))
            await self._write(kinds.GATEWAY_CLASSES, each, {"conditions": accepted})
        for status in compiled.gateways:
            status.gateway = self._newest(status.gateway)
            shown = self._gateway(status, known.get(service_name(key_of(status.gateway))))
            await self._write(kinds.GATEWAYS, status.gateway, shown)
        for route in compiled.routes:
            route.route = self._newest(route.route)
            await self._write(kinds.BY_KIND[route.route["kind"]], route.route, self._route(route))

    def _newest(self, obj: Object) -> Object:
        """As the cache has it now: a status of our own since the rules were computed would make a write conflict."""
        informer = self._informers.known(kinds.BY_KIND[obj["kind"]])
        return (informer.get(key_of(obj)) if informer else None) or obj

    async def _service(self, name: str, status: GatewayStatus, compiled: Compiled, known: Object | None) -> None:
        key = key_of(status.gateway)
        ports = [
            {"name": f"port-{port}", "port": port, "targetPort": number, "protocol": "TCP"}
            for (gateway, port), number in sorted(compiled.ports.items())
            if gateway == key
        ]
        if not ports:
            return
        if known is None:
            owner = {OWNER: key.name, OWNER_NAMESPACE: key.namespace}
            spec: Object = {"type": "LoadBalancer", "selector": self._selector, "ports": ports}
            made: Object = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": self._namespace, "labels": owner},
                "spec": spec,
            }
            await self._quietly(self._client.create(services.RESOURCE, made))
        elif {(each["port"], each["targetPort"]) for each in known["spec"]["ports"]} != {
            (each["port"], each["targetPort"]) for each in ports
        }:
            change = {"spec": {"ports": ports}}
            await self._quietly(self._client.patch(services.RESOURCE, key_of(known), change))

    def _gateway(self, status: GatewayStatus, service: Object | None) -> Object:
        before = status.gateway.get("status") or {}
        known = {each["name"]: each for each in before.get("listeners") or ()}
        return {
            "addresses": list(_addresses(service)),
            "conditions": self._conditions(status.gateway, status.conditions, before),
            "listeners": [self._listener(each, known.get(each.name)) for each in status.listeners],
        }

    def _listener(self, listener: Listener, before: Object | None) -> Object:
        return {
            "name": listener.name,
            "attachedRoutes": len(listener.attached),
            "supportedKinds": [{"group": GROUP, "kind": kind} for kind in listener.kinds],
            "conditions": self._conditions(listener.gateway, listener.conditions, before),
        }

    def _route(self, status: RouteStatus) -> Object:
        before = (status.route.get("status") or {}).get("parents") or []
        kept = [each for each in before if each.get("controllerName") != CONTROLLER]
        mine = []
        for parent, conditions in status.parents:
            old = next((each for each in before if each.get("parentRef") == parent), None)
            shown = self._conditions(status.route, conditions, old)
            mine.append({"parentRef": parent, "controllerName": CONTROLLER, "conditions": shown})
        return {"parents": [*kept, *mine]}

    def _conditions(self, obj: Object, wanted: list[Condition], before: Object | None) -> list[Object]:
        known = (before or {}).get("conditions") or ()
        generation = obj["metadata"].get("generation", 1)
        return merged(wanted, known, generation=generation, now=times.rfc3339(self._clock.now()))

    async def _write(self, resource: Resource, obj: Object, status: Object) -> None:
        if (obj.get("status") or {}) != status:
            await self._quietly(self._client.update(resource, {**obj, "status": status}, subresource="status"))

    async def _quietly(self, write: Any) -> None:
        try:
            await write
        except (StatusError, Unreachable) as error:
            # Somebody else has changed it: the next look at the caches tries again.
            _LOG.info(logs.fact("cannot write", error=error))


def _addresses(service: Object | None) -> Iterator[Object]:
    if service is None:
        return
    given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for each in given:
        if each.get("ip"):
            yield {"type": "IPAddress", "value": each["ip"]}
        elif each.get("hostname"):
            yield {"type": "Hostname", "value": each["hostname"]}
    if not given and service["spec"].get("clusterIP"):
        yield {"type": "IPAddress", "value": service["spec"]["clusterIP"]}
