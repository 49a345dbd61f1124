"""Statuses of the Gateway API's objects, and the Services through which Gateways are reached; written by difference."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pynetes.apis.core import services
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.ingress.gateway import kinds
from pynetes.ingress.gateway import services as gateway_services
from pynetes.ingress.gateway.acceptance import FEATURES
from pynetes.ingress.gateway.compile import ClassStatus, Compiled, GatewayStatus, RouteStatus
from pynetes.ingress.gateway.conditions import Condition, merged
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.ingress.gateway.listeners import Listener
from pynetes.ingress.gateway.snapshot import CONTROLLER
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of
from pynetes.machinery.resource import Resource

_LOG = logging.getLogger(__name__)


def of_class(status: ClassStatus, now: str, before: Object) -> Object:
    """A GatewayClass's status; before: what it is now."""
    conditions = _conditions(status.gateway_class, status.conditions, before, now)
    return {**before, "conditions": conditions, "supportedFeatures": [{"name": name} for name in FEATURES]}


def of_gateway(status: GatewayStatus, service: Object | None, now: str, before: Object) -> Object:
    """A Gateway's status; its addresses are those of its Service."""
    known = {each["name"]: each for each in before.get("listeners") or ()}
    chosen = gateway_services.chosen(status.gateway)
    addresses = [each for each in _addresses(service) if not chosen or each["value"] in chosen]
    missing = sorted(set(chosen) - {each["value"] for each in addresses})
    conditions = [_usable(each, missing) for each in status.conditions]
    return {
        **before,
        "addresses": addresses,
        "conditions": _conditions(status.gateway, conditions, before, now),
        "listeners": [_listener(each, known.get(each.name), now) for each in status.listeners],
    }


def of_route(status: RouteStatus, now: str, before: Object) -> Object:
    """A route's status: entries of other controllers stay, ours are those of the parents that it has now."""
    parents = before.get("parents") or ()
    kept = [each for each in parents if each.get("controllerName") != CONTROLLER]
    ours = [each for each in parents if each.get("controllerName") == CONTROLLER]
    mine = []
    for parent, conditions in status.parents:
        old = next((each for each in ours if each.get("parentRef") == parent), None)
        shown = _conditions(status.route, conditions, old, now)
        mine.append({"parentRef": parent, "controllerName": CONTROLLER, "conditions": shown})
    return {"parents": [*kept, *mine]}


def _usable(condition: Condition, missing: list[str]) -> Condition:
    """A Gateway is programmed when it has all addresses that it asks for."""
    if condition.type != "Programmed" or not condition.holds or not missing:
        return condition
    return Condition("Programmed", False, "AddressNotUsable", f"not to be had: {', '.join(missing)}")


def _listener(listener: Listener, before: Object | None, now: str) -> Object:
    return {
        "name": listener.name,
        "attachedRoutes": len(listener.attached),
        "supportedKinds": [{"group": GROUP, "kind": kind} for kind in listener.kinds],
        "conditions": _conditions(listener.gateway, listener.conditions, before, now),
    }


def _conditions(obj: Object, wanted: list[Condition], before: Object | None, now: str) -> list[Object]:
    known = (before or {}).get("conditions") or ()
    return merged(wanted, known, generation=obj["metadata"].get("generation", 1), now=now)


class GatewayTeller:
    """Writes what is new; `namespace` and `selector` are those of the pods with nginx."""

    def __init__(
        self, client: Client, informers: InformerFactory, clock: Clock, *, namespace: str, selector: dict[str, str]
    ) -> None:
        self._client, self._informers, self._clock = client, informers, clock
        self._namespace, self._selector = namespace, selector

    async def tell(self, compiled: Compiled, found: Iterable[Object]) -> None:
        """Services first: a Gateway's address is its Service's. found: those that are there."""
        if not compiled.known:
            return  # this process has just begun: whose Services these are it has not seen
        known = {each["metadata"]["name"]: each for each in found}
        now = times.rfc3339(self._clock.now())
        wanted: set[str] = set()
        for status in compiled.gateways:
            wish = gateway_services.wanted(
                status.gateway, compiled.ports, namespace=self._namespace, selector=self._selector
            )
            service = None
            if wish is not None:
                name = wish["metadata"]["name"]
                wanted.add(name)
                service = known.get(name)
                await self._service(wish, service)
            await self._write(status.gateway, partial(of_gateway, status, service, now))
        for name in known.keys() - wanted:
            await self._quietly(self._client.delete(services.RESOURCE, key_of(known[name])))
        for each in compiled.classes:
            await self._write(each.gateway_class, partial(of_class, each, now))
        for route in compiled.routes:
            await self._write(route.route, partial(of_route, route, now))

    async def _service(self, wish: Object, known: Object | None) -> None:
        if known is None:
            await self._quietly(self._client.create(services.RESOURCE, wish))
        elif patch := gateway_services.change(known, wish):
            await self._quietly(self._client.patch(services.RESOURCE, key_of(known), patch))

    async def _write(self, seen: Object, status_of: Callable[[Object], Object]) -> None:
        """seen: the object from which the rules were computed. A status of our own since then is not in the way; one
        with another spec is: what would be told is of what it was, and its own turn comes."""
        resource: Resource = kinds.BY_KIND[seen["kind"]]
        informer = self._informers.known(resource)
        newest = (informer.get(key_of(seen)) if informer else None) or seen
        if newest["metadata"].get("generation") != seen["metadata"].get("generation"):
            return
        before = newest.get("status") or {}
        status = status_of(before)
        if before != status:
            await self._quietly(self._client.update(resource, {**newest, "status": status}, subresource="status"))

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
