"""Which devices a claim gets on a node: structured parameters of dynamic resource allocation (KEP-4381). Pure.

Drivers publish devices in ResourceSlices; DeviceClasses and claims select among them with CEL. The search tries devices
in their order and goes back where a constraint or a later request cannot be met.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pynetes.apis.core import _node_selector
from pynetes.machinery import cel
from pynetes.machinery.meta import Object

#: The most devices of one claim.
MOST = 32
#: The most steps of one search: beyond, a claim that nearly fits everywhere would stop the scheduler.
STEPS = 100_000


class Id(NamedTuple):
    """A device's name in the cluster."""

    driver: str
    pool: str
    device: str


@dataclass(frozen=True, eq=False)
class Device:
    """A device of a slice; local ones can only be used on the slice's node."""

    id: Id
    spec: Object
    local: bool
    #: What selectors have said of it.
    verdicts: dict[str, bool] = field(default_factory=dict)

    def attribute(self, name: str) -> Any:
        """The value of a qualified attribute, None where it has none; one without a domain is the driver's."""
        attributes = self.spec.get("attributes") or {}
        domain, _, short = name.rpartition("/")
        found = attributes.get(name)
        if found is None and domain == self.id.driver:
            found = attributes.get(short)
        return next(iter(found.values())) if found else None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One request, or one alternative of it."""

    request: str
    spec: Object
    selectors: tuple[str, ...]
    config: tuple[Object, ...] = ()


class Impossible(Exception):
    """No node can meet the claim; the text says why."""


class Inventory:
    """Devices of slices, kept as long as a slice stays the same: what selectors said of them stays true."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, list[tuple[Object, Device]]]] = {}

    def on(self, slices: Iterable[Object], node: Object) -> list[Device]:
        """What there is on a node: of each pool the newest generation, and only when it is whole."""
        pools: dict[tuple[str, str], list[Object]] = {}
        for one in slices:
            pools.setdefault((one["spec"]["driver"], one["spec"]["pool"]["name"]), []).append(one)
        found: list[Device] = []
        for _, members in sorted(pools.items()):
            newest = max(one["spec"]["pool"].get("generation", 0) for one in members)
            current = [one for one in members if one["spec"]["pool"].get("generation", 0) == newest]
            if len(current) >= current[0]["spec"]["pool"].get("resourceSliceCount", 1):
                for one in current:
                    found += [device for where, device in self._parsed(one) if _reaches(where, node)]
        return found

    def _parsed(self, one: Object) -> list[tuple[Object, Device]]:
        metadata, spec = one["metadata"], one["spec"]
        known = self._known.get(metadata["name"])
        if known is None or known[0] != metadata.get("resourceVersion", ""):
            made = []
            for device in spec.get("devices") or ():
                where = device if spec.get("perDeviceNodeSelection") else spec
                name = Id(spec["driver"], spec["pool"]["name"], device["name"])
                made.append((where, Device(name, device, not where.get("allNodes"))))
            known = self._known[metadata["name"]] = (metadata.get("resourceVersion", ""), made)
        return known[1]


def _reaches(where: Object, node: Object) -> bool:
    if where.get("nodeName"):
        return bool(where["nodeName"] == node["metadata"]["name"])
    if where.get("nodeSelector"):
        return _node_selector.matches(where["nodeSelector"], node)
    return bool(where.get("allNodes"))


def wishes(claim: Object, classes: Mapping[str, Object]) -> list[list[Wish]]:
    """Per request the alternatives, the preferred first. Raises Impossible."""
    made = []
    for request in claim["spec"].get("devices", {}).get("requests") or ():
        if request.get("exactly"):
            made.append([_wish(request["name"], request["exactly"], classes)])
        else:
            name = request["name"]
            made.append([_wish(f"{name}/{one['name']}", one, classes) for one in request.get("firstAvailable") or ()])
    return made


def _wish(name: str, spec: Object, classes: Mapping[str, Object]) -> Wish:
    kind = classes.get(spec.get("deviceClassName", ""))
    if kind is None:
        raise Impossible(f"request {name}: device class {spec.get('deviceClassName')} does not exist")
    own = kind.get("spec") or {}
    selectors = [*(own.get("selectors") or ()), *(spec.get("selectors") or ())]
    expressions = tuple(one["cel"]["expression"] for one in selectors if one.get("cel"))
    return Wish(request=name, spec=spec, selectors=expressions, config=tuple(own.get("config") or ()))


def matches(device: Device, selectors: Iterable[str]) -> bool:
    """Whether all selectors say yes; one that fails for a device says no."""
    return all(_says_yes(device, expression) for expression in selectors)


def _says_yes(device: Device, expression: str) -> bool:
    known = device.verdicts.get(expression)
    if known is None:
        try:
            known = cel.program(expression, ("device",)).eval({"device": variable(device)}) is True
        except (cel.CompileError, cel.EvalError):
            known = False
        device.verdicts[expression] = known
    return known


def variable(device: Device) -> Object:
    """What selectors see: driver, attributes and capacity by domain."""
    attributes: dict[str, dict[str, Any]] = {device.id.driver: {}}
    for name, value in (device.spec.get("attributes") or {}).items():
        domain, _, short = name.rpartition("/")
        attributes.setdefault(domain or device.id.driver, {})[short] = next(iter(value.values()), None)
    capacity: dict[str, dict[str, Any]] = {device.id.driver: {}}
    for name, value in (device.spec.get("capacity") or {}).items():
        domain, _, short = name.rpartition("/")
        capacity.setdefault(domain or device.id.driver, {})[short] = value.get("value")
    return {"driver": device.id.driver, "attributes": attributes, "capacity": capacity}


def tolerated(device: Device, tolerations: Sequence[Object]) -> bool:
    """Whether the request tolerates what is wrong with the device."""
    for taint in device.spec.get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not any(
            one.get("effect") in (None, "", taint["effect"])
            and one.get("key") in (None, "", taint["key"])
            and (one.get("operator") == "Exists" or (one.get("value") or "") == (taint.get("value") or ""))
            for one in tolerations
        ):
            return False
    return True


@dataclass(kw_only=True)
class _Search:
    available: Sequence[Device]
    taken: set[Id]
    constraints: Sequence[Object]
    steps: int = 0
    chosen: list[tuple[Wish, Device]] = field(default_factory=list)

    def find(self, requests: Sequence[Sequence[Wish]]) -> bool:
        """Meet all requests, the first alternative that lets the others be met."""
        if not requests:
            return True
        for wish in requests[0]:
            suited = [one for one in self.available if self._suits(wish, one)]
            if wish.spec.get("allocationMode") == "All":
                if self._all(wish, suited, requests[1:]):
                    return True
            elif self._some(wish, suited, int(wish.spec.get("count") or 1), 0, requests[1:]):
                return True
        return False

    def _suits(self, wish: Wish, device: Device) -> bool:
        return matches(device, wish.selectors) and tolerated(device, wish.spec.get("tolerations") or ())

    def _all(self, wish: Wish, suited: Sequence[Device], rest: Sequence[Sequence[Wish]]) -> bool:
        before, held = len(self.chosen), set(self.taken)
        if suited and all(self._take(wish, one) for one in suited) and self.find(rest):
            return True
        del self.chosen[before:]
        self.taken = held
        return False

    def _some(
        self, wish: Wish, suited: Sequence[Device], left: int, start: int, rest: Sequence[Sequence[Wish]]
    ) -> bool:
        if not left:
            return self.find(rest)
        for index in range(start, len(suited)):
            self.steps += 1
            if self.steps > STEPS:
                return False
            if self._take(wish, suited[index]):
                if self._some(wish, suited, left - 1, index + 1, rest):
                    return True
                self.chosen.pop()
                if not wish.spec.get("adminAccess"):
                    self.taken.discard(suited[index].id)
        return False

    def _take(self, wish: Wish, device: Device) -> bool:
        admin = wish.spec.get("adminAccess")
        if len(self.chosen) >= MOST or (device.id in self.taken and not admin):
            return False
        self.chosen.append((wish, device))
        if not all(self._holds(one) for one in self.constraints):
            self.chosen.pop()
            return False
        if not admin:
            self.taken.add(device.id)
        return True

    def _holds(self, constraint: Object) -> bool:
        among = set(constraint.get("requests") or ())
        picked = [
            device
            for wish, device in self.chosen
            if not among or wish.request in among or wish.request.partition("/")[0] in among
        ]
        if name := constraint.get("matchAttribute"):
            values = {device.attribute(name) for device in picked}
            return len(values) <= 1 and None not in values
        if name := constraint.get("distinctAttribute"):
            seen = [device.attribute(name) for device in picked]
            return len(set(seen)) == len(seen) and None not in seen
        return True


def allocate(
    claim: Object, classes: Mapping[str, Object], available: Sequence[Device], taken: Collection[Id], node: Object
) -> Object | None:
    """The claim's status.allocation on a node, None where it cannot be met there. Raises Impossible."""
    requests = wishes(claim, classes)
    asked = claim["spec"].get("devices") or {}
    search = _Search(available=available, taken=set(taken), constraints=asked.get("constraints") or ())
    if not search.find(requests):
        return None
    results = []
    for wish, device in search.chosen:
        result: Object = {"request": wish.request, "driver": device.id.driver, "pool": device.id.pool}
        result["device"] = device.id.device
        if wish.spec.get("adminAccess"):
            result["adminAccess"] = True
        if wish.spec.get("tolerations"):
            result["tolerations"] = wish.spec["tolerations"]
        results.append(result)
    allocation: Object = {"devices": {"results": results}}
    if config := list(_config(search.chosen, asked)):
        allocation["devices"]["config"] = config
    if any(device.local for _, device in search.chosen):
        names = {"key": "metadata.name", "operator": "In", "values": [node["metadata"]["name"]]}
        allocation["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": [names]}]}
    return allocation


def _config(chosen: Iterable[tuple[Wish, Device]], asked: Object) -> Iterator[Object]:
    """The configuration that drivers get: of classes first, so that the claim's own comes over it."""
    seen: set[str] = set()
    for wish, _ in chosen:
        if wish.request not in seen:
            seen.add(wish.request)
            for one in wish.config:
                yield {"source": "FromClass", "requests": [wish.request], **one}
    for one in asked.get("config") or ():
        yield {"source": "FromClaim", **one}


def used(claims: Iterable[Object]) -> set[Id]:
    """Devices that claims have; administrators' access takes nothing away."""
    return {
        Id(one["driver"], one["pool"], one["device"])
        for claim in claims
        for one in _results(claim)
        if not one.get("adminAccess")
    }


def _results(claim: Object) -> Sequence[Object]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    found: Sequence[Object] = (allocation.get("devices") or {}).get("results") or ()
    return found
