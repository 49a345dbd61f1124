"""Which devices a claim gets on a node: structured parameters of dynamic resource allocation (KEP-4381). Pure.

Drivers publish devices in ResourceSlices; DeviceClasses and claims select among them with CEL. The search tries devices
in their order and goes back where a constraint or a later request cannot be met.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pynetes.apis.core import _node_selector
from pynetes.machinery import cel
from pynetes.machinery.meta import Object
from pynetes.scheduler.devicesharing import Counters, Id, Share, Taken, Unsuited, has_room, share_of

#: The most devices of one claim.
MOST = 32
#: The most steps of one search: beyond, a claim that nearly fits everywhere would stop the scheduler.
STEPS = 100_000


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


@dataclass(frozen=True)
class Stock:
    """What there is on a node: devices in the order in which they are tried, and the counters behind them."""

    devices: Sequence[Device] = ()
    counters: Counters = field(default_factory=Counters)


class Inventory:
    """Devices of slices, kept as long as a slice stays the same: what selectors said of them stays true."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, list[tuple[Object, Device]]]] = {}

    def on(self, slices: Iterable[Object], node: Object) -> Stock:
        """What there is on a node: of each pool the newest generation, and only when it is whole."""
        pools: dict[tuple[str, str], list[Object]] = {}
        for one in slices:
            pools.setdefault((one["spec"]["driver"], one["spec"]["pool"]["name"]), []).append(one)
        found: list[Device] = []
        counters = Counters()
        for _, members in sorted(pools.items()):
            newest = max(one["spec"]["pool"].get("generation", 0) for one in members)
            current = [one for one in members if one["spec"]["pool"].get("generation", 0) == newest]
            if len(current) >= current[0]["spec"]["pool"].get("resourceSliceCount", 1):
                for one in current:
                    found += [device for where, device in self._parsed(one) if _reaches(where, node)]
                    # Also of slices of other nodes: a partition there takes from the same set.
                    counters.add(one["spec"])
        return Stock(found, counters)

    def _parsed(self, one: Object) -> list[tuple[Object, Device]]:
        metadata, spec = one["metadata"], one["spec"]
        known = self._known.get(metadata["name"])
        if known is None or known[0] != metadata.get("resourceVersion", ""):
            made = []
            for device in spec.get("devices") or ():
                where = device if spec.get("perDeviceNodeSelection") else spec
                name = Id(spec["driver"], spec["pool"]["name"], device["name"])
                local = bool(device.get("bindsToNode") or not where.get("allNodes"))
                made.append((where, Device(name, device, local)))
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
    several = bool(device.spec.get("allowMultipleAllocations"))
    return {
        "driver": device.id.driver,
        "attributes": attributes,
        "capacity": capacity,
        "allowMultipleAllocations": several,
    }


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


@dataclass(frozen=True)
class _Choice:
    """A device for a wish; share is None where it is taken as a whole, or where an administrator looks on."""

    wish: Wish
    device: Device
    share: Share | None

    @property
    def admin(self) -> bool:
        return bool(self.wish.spec.get("adminAccess"))


@dataclass(kw_only=True)
class _Search:
    stock: Stock
    taken: Taken
    constraints: Sequence[Object]
    steps: int = 0
    chosen: list[_Choice] = field(default_factory=list)

    def find(self, requests: Sequence[Sequence[Wish]]) -> bool:
        """Meet all requests, the first alternative that lets the others be met."""
        if not requests:
            return True
        for wish in requests[0]:
            suited = [made for one in self.stock.devices if (made := self._choice(wish, one)) is not None]
            if wish.spec.get("allocationMode") == "All":
                if self._all(suited, requests[1:]):
                    return True
            elif self._some(suited, int(wish.spec.get("count") or 1), 0, requests[1:]):
                return True
        return False

    def _choice(self, wish: Wish, device: Device) -> _Choice | None:
        """The device for the wish, None where it does not suit."""
        if not matches(device, wish.selectors) or not tolerated(device, wish.spec.get("tolerations") or ()):
            return None
        try:
            wanted = (wish.spec.get("capacity") or {}).get("requests") or {}
            return _Choice(wish, device, share_of(device.spec, wanted, device.id.driver))
        except Unsuited:
            return None

    def _all(self, suited: Sequence[_Choice], rest: Sequence[Sequence[Wish]]) -> bool:
        before = len(self.chosen)
        if suited and all(self._take(one) for one in suited) and self.find(rest):
            return True
        while len(self.chosen) > before:
            self._give_back()
        return False

    def _some(self, suited: Sequence[_Choice], left: int, start: int, rest: Sequence[Sequence[Wish]]) -> bool:
        if not left:
            return self.find(rest)
        for index in range(start, len(suited)):
            self.steps += 1
            if self.steps > STEPS:
                return False
            if self._take(suited[index]):
                # A device that can be shared may serve the same request again.
                following = index if suited[index].share is not None else index + 1
                if self._some(suited, left - 1, following, rest):
                    return True
                self._give_back()
        return False

    def _take(self, one: _Choice) -> bool:
        if len(self.chosen) >= MOST or not (one.admin or self._free(one)):
            return False
        self.chosen.append(one)
        if not all(self._holds(each) for each in self.constraints):
            self.chosen.pop()
            return False
        if not one.admin:
            self.taken.add(one.device.id, one.share)
        return True

    def _free(self, one: _Choice) -> bool:
        device = one.device.id
        if device in self.taken.whole or not self.stock.counters.suffice(device, self.taken):
            return False
        if one.share is None:
            return device not in self.taken
        return has_room(one.device.spec, one.share, self.taken.capacity.get(device, {}))

    def _give_back(self) -> None:
        one = self.chosen.pop()
        if not one.admin:
            self.taken.remove(one.device.id, one.share)

    def _holds(self, constraint: Object) -> bool:
        among = set(constraint.get("requests") or ())
        picked = [
            one.device
            for one in self.chosen
            if not among or one.wish.request in among or one.wish.request.partition("/")[0] in among
        ]
        if name := constraint.get("matchAttribute"):
            values = {device.attribute(name) for device in picked}
            return len(values) <= 1 and None not in values
        if name := constraint.get("distinctAttribute"):
            seen = [device.attribute(name) for device in picked]
            return len(set(seen)) == len(seen) and None not in seen
        return True


def allocate(claim: Object, classes: Mapping[str, Object], stock: Stock, taken: Taken, node: Object) -> Object | None:
    """The claim's status.allocation on a node, None where it cannot be met there. Raises Impossible."""
    requests = wishes(claim, classes)
    asked = claim["spec"].get("devices") or {}
    search = _Search(stock=stock, taken=taken.copy(), constraints=asked.get("constraints") or ())
    if not search.find(requests):
        return None
    owner = claim["metadata"].get("uid") or claim["metadata"].get("name", "")
    results = [_result(one, f"{owner}/{index}") for index, one in enumerate(search.chosen)]
    allocation: Object = {"devices": {"results": results}}
    if config := list(_config(search.chosen, asked)):
        allocation["devices"]["config"] = config
    if any(one.device.local for one in search.chosen):
        names = {"key": "metadata.name", "operator": "In", "values": [node["metadata"]["name"]]}
        allocation["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": [names]}]}
    return allocation


def _result(one: _Choice, seed: str) -> Object:
    device, wish = one.device, one.wish
    result: Object = {"request": wish.request, "driver": device.id.driver, "pool": device.id.pool}
    result["device"] = device.id.device
    if one.admin:
        result["adminAccess"] = True
    if wish.spec.get("tolerations"):
        result["tolerations"] = wish.spec["tolerations"]
    for name in ("bindingConditions", "bindingFailureConditions"):
        if device.spec.get(name):
            result[name] = device.spec[name]
    if one.share is not None:
        # The same claim gets the same identifier each time it is tried: a try decides nothing.
        result["shareID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, seed))
        result["consumedCapacity"] = {name: str(amount) for name, amount in one.share.items()}
    return result


def _config(chosen: Iterable[_Choice], asked: Object) -> Iterator[Object]:
    """The configuration that drivers get: of classes first, so that the claim's own comes over it."""
    seen: set[str] = set()
    for one in chosen:
        request = one.wish.request
        if request not in seen:
            seen.add(request)
            for each in one.wish.config:
                yield {"source": "FromClass", "requests": [request], **each}
    for each in asked.get("config") or ():
        yield {"source": "FromClaim", **each}
