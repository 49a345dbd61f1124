"""Services: cluster IPs and node ports, taken before the Service is stored and given back when it is gone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from weakref import WeakKeyDictionary

from pynetes.apis.core import _service_validation, services
from pynetes.apiserver.admission.attributes import CREATE, DELETE, Attributes
from pynetes.apiserver.objects import Context, Objects
from pynetes.apiserver.registry import service_ips
from pynetes.apiserver.registry.call import Allocation
from pynetes.apiserver.registry.node_ports import Taken
from pynetes.apiserver.registry.service_ips import Unavailable
from pynetes.machinery import errors
from pynetes.machinery import field as problem
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

#: Ports tried for one that another server gives away at the same moment.
TRIES = 64
#: Seconds until it is looked again where all that is left is promised, and may come back.
UNDECIDED = 0.01
SINGLE, BOTH = "SingleStack", ("IPv4", "IPv6")
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


@dataclass
class Held:
    """What one write has taken so far."""

    ctx: Context
    service: Key
    taken: Taken
    addresses: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    marked: list[int] = field(default_factory=list)
    dry_run: bool = False

    async def release(self) -> None:
        """Give it all back."""
        self.taken.forget(self.ports)
        if not self.dry_run:
            for address in self.addresses:
                await service_ips.release(self.ctx, address, self.service)
        await self._unmark()

    async def done(self) -> None:
        """The stored Service speaks for itself."""
        if self.dry_run:
            self.taken.forget(self.ports)
        await self._unmark()

    async def promise(self, number: int) -> bool:
        """Whether the port is this Service's, here and at all servers of the store."""
        self.taken.promise(number, self.service)
        self.ports.append(number)
        if self.dry_run:
            return True
        objects = self.ctx.objects
        if await objects.mark(_mark(number)):
            self.marked.append(number)
            await objects.fresh(services.RESOURCE)
            if self.taken.free(number, self.service):
                return True
        self.ports.remove(number)
        self.taken.forget((number,))
        return False

    async def _unmark(self) -> None:
        while self.marked:
            await self.ctx.objects.unmark(_mark(self.marked.pop()))


class ServiceStrategy:
    """Allocation around the generic verbs."""

    def __init__(self) -> None:
        self._taken: WeakKeyDictionary[Objects, Taken] = WeakKeyDictionary()

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """Fill in families, addresses and ports. Raises 422 when what is asked for cannot be had."""
        if attributes.subresource:
            return None
        new, old = attributes.obj, attributes.old
        assert new is not None
        key = Key(new["metadata"]["namespace"], new["metadata"]["name"])
        held = Held(ctx, key, self._ports(ctx.objects), dry_run=attributes.dry_run)
        try:
            if new["spec"].get("type") != "ExternalName":
                if old is None:
                    # Nothing can be given to what does not fit together; everything else is validated later.
                    _refuse(new, list(_service_validation.related_addresses(new["spec"])))
                families(ctx, new, old)
                if old is not None:
                    _refuse(new, list(_service_validation.families_changed(new["spec"], old["spec"])))
                await _addresses(held, new, old)
            elif old is not None:
                _strip_addresses(new["spec"])
            if new["spec"].get("type") in WITH_NODE_PORTS:
                await (_node_ports if old is None else _changed_node_ports)(held, new)
        except BaseException:
            await held.release()
            raise
        return held

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """Release what the stored Service no longer has."""
        if attributes.subresource or attributes.dry_run:
            return
        obj, old = attributes.obj, attributes.old
        if attributes.operation == CREATE or old is None:
            return
        kept = set() if attributes.operation == DELETE or obj is None else set(obj["spec"].get("clusterIPs") or ())
        key = Key(old["metadata"]["namespace"], old["metadata"]["name"])
        for address in _real(old["spec"]):
            if address not in kept:
                await service_ips.release(ctx, address, key)

    def _ports(self, objects: Objects) -> Taken:
        taken = self._taken.get(objects)
        if taken is None:
            taken = self._taken[objects] = Taken()
            objects.keep(services.RESOURCE, taken)
        return taken


def _real(spec: Object) -> list[str]:
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [address for address in listed if address and address != "None"]


def _headless(spec: Object) -> bool:
    return spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [""])[0] == "None"


def _strip_addresses(spec: Object) -> None:
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
        spec.pop(name, None)


def _needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def families(ctx: Context, service: Object, old: Object | None = None) -> None:
    """Default ipFamilyPolicy and ipFamilies by what the cluster has, and what the Service had. Raises 422."""
    spec, here = service["spec"], [service_ips.family(network) for network in ctx.settings.service_ranges]
    before = old["spec"] if old is not None else {}
    if before and _prefers_as_before(spec, before):
        return
    loose = _headless(spec) and not spec.get("selector")
    spec["ipFamilyPolicy"] = policy = (
        spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or ("RequireDualStack" if loose else SINGLE)
    )
    found = list(_policy_problems(spec, before))
    asked: list[str] = list(spec.get("ipFamilies") or ())
    for index, text in enumerate(_real(spec)):
        name = service_ips.family(_address(service, index, text))
        if index >= len(asked):
            if name in here:
                asked.append(name)
            else:
                path = f"spec.clusterIPs[{index}]"
                found.append(problem.invalid(path, _real(spec), f"{name} is not configured on this cluster"))
    _refuse(service, found)
    both = policy != SINGLE
    if loose:
        # Its endpoints are written by hand and may be anything.
        asked = asked or here[:1]
        spec["ipFamilies"] = [*asked, *(name for name in BOTH if both and len(asked) < 2 and name not in asked)]
        return
    if policy == "RequireDualStack" and len(here) < 2:
        text = "this cluster is not configured for dual-stack services"
        found.append(problem.invalid("spec.ipFamilyPolicy", policy, text))
    for index, name in enumerate(asked):
        if name not in here:
            found.append(problem.invalid(f"spec.ipFamilies[{index}]", name, "not configured on this cluster"))
    _refuse(service, found)
    asked = asked or here[:1]
    spec["ipFamilies"] = list(dict.fromkeys([*asked, *here]))[:2] if both else asked


def _prefers_as_before(spec: Object, before: Object) -> bool:
    """Whether nothing was said that would make one family of two, or the other way round."""
    same = all((spec.get(name) or []) == (before.get(name) or []) for name in ("clusterIPs", "ipFamilies"))
    return same and spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == "PreferDualStack"


def _policy_problems(spec: Object, before: Object) -> Iterator[problem.Error]:
    """What the policy makes of the number of addresses and families; those that are left from before are cut."""
    policy = spec["ipFamilyPolicy"]
    for name, thing, things in (
        ("clusterIPs", "cluster IP", "cluster IPs"),
        ("ipFamilies", "IP family", "IP families"),
    ):
        now, then = spec.get(name) or [], before.get(name) or []
        if policy == SINGLE:
            if now == then:
                spec[name] = now = now[:1]
            if len(now) > 1:
                text = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {things} are specified"
                yield problem.invalid("spec.ipFamilyPolicy", policy, text)
        elif now and len(now) < len(then):
            text = f"must be 'SingleStack' to release the secondary {thing}"
            yield problem.invalid("spec.ipFamilyPolicy", policy, text)


def _refuse(service: Object, found: list[problem.Error]) -> None:
    if found:
        raise errors.invalid("Service", "", service["metadata"]["name"], found)


def _address(service: Object, index: int, text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        raise _invalid(service, problem.invalid(f"spec.clusterIPs[{index}]", text, detail)) from None


async def _addresses(held: Held, service: Object, old: Object | None) -> None:
    spec, ctx = service["spec"], held.ctx
    if _headless(spec):
        spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
        return
    had = set(_real(old["spec"])) if old is not None else set()
    asked, result = _real(spec), []
    for index, name in enumerate(spec["ipFamilies"]):
        try:
            if index < len(asked):
                if asked[index] not in had:
                    await service_ips.take(ctx, asked[index], held.service, dry_run=held.dry_run)
                    held.addresses.append(asked[index])
                result.append(asked[index])
                continue
            address = await service_ips.take_any(ctx, name, held.service, dry_run=held.dry_run)
        except Unavailable as error:
            text = f"failed to allocate IP {asked[index]}" if index < len(asked) else "failed to allocate a serviceIP"
            raise _invalid(service, problem.invalid("spec.clusterIPs", asked, f"{text}: {error}")) from None
        held.addresses.append(address)
        result.append(address)
    spec["clusterIP"], spec["clusterIPs"] = result[0], result


async def _node_ports(held: Held, service: Object) -> None:
    """For a new Service: ports of one number share what they can, which is what DNS over TCP and UDP expects."""
    spec = service["spec"]
    numbers: dict[int, int] = {}
    ports = spec.get("ports") or ()
    asked: dict[int, int] = {}
    for port in ports:
        if port.get("nodePort"):
            asked.setdefault(port.get("port", 0), port["nodePort"])
    for index, port in enumerate(ports):
        number, own, path = port.get("port", 0), port.get("nodePort") or 0, f"spec.ports[{index}].nodePort"
        if not own and not _automatic(spec):
            continue
        shared = numbers.get(number) or asked.get(number)
        if number in numbers and own in (0, shared):
            port["nodePort"] = shared
            continue
        if wish := own if number in numbers else shared:
            await _take(held, service, wish, path, again=False)
            port["nodePort"] = wish
        else:
            port["nodePort"] = await _given(held, index)
        numbers.setdefault(number, port["nodePort"])
    await _health_check(held, service)


async def _changed_node_ports(held: Held, service: Object) -> None:
    """For an update: a port that says nothing gets one of its own."""
    spec = service["spec"]
    for index, port in enumerate(spec.get("ports") or ()):
        if port.get("nodePort"):
            await _take(held, service, port["nodePort"], f"spec.ports[{index}].nodePort")
    numbers = {port["port"]: port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    for index, port in enumerate(spec.get("ports") or ()):
        if not _automatic(spec) or port.get("nodePort"):
            continue
        same = numbers.get(port["port"])
        number = same if same and held.taken.free(same, held.service) else await _given(held, index)
        port["nodePort"] = numbers[port["port"]] = number
    await _health_check(held, service)


def _automatic(spec: Object) -> bool:
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


async def _given(held: Held, index: int) -> int:
    number = await _any(held)
    if number is None:
        raise errors.internal(f"failed to allocate a nodePort: range is full (spec.ports[{index}])")
    return number


async def _health_check(held: Held, service: Object) -> None:
    spec = service["spec"]
    if not _needs_health_check(spec):
        return
    if asked := spec.get("healthCheckNodePort"):
        try:
            await _take(held, service, asked, "")
        except Refused as error:
            raise errors.internal(f"failed to allocate requested HealthCheck NodePort {asked}: {error}") from None
    elif (number := await _any(held)) is not None:
        spec["healthCheckNodePort"] = number


async def _any(held: Held) -> int | None:
    """A port that nobody has; the ones that another server is giving away at this moment are passed over."""
    refused: set[int] = set()
    for _ in range(TRIES):
        number = held.taken.any(held.ctx.settings.node_ports, refused)
        if number is not None:
            if await held.promise(number):
                return number
            refused.add(number)
        elif refused or held.taken.undecided(held.service):
            await held.ctx.clock.sleep(UNDECIDED)
            refused.clear()
        else:
            return None
    return None


def _mark(number: int) -> str:
    return f"nodeports/{number}"


class Refused(Exception):
    """A port that cannot be had, and why."""


async def _take(held: Held, service: Object, number: int, path: str, *, again: bool = True) -> None:
    """Take a certain port. Raises 422 at the path when it cannot be had, Refused where there is no path."""
    try:
        await _get(held, number, again=again)
    except Refused as error:
        if not path:
            raise
        raise _invalid(service, problem.invalid(path, number, str(error))) from None


async def _get(held: Held, number: int, *, again: bool) -> None:
    allowed = held.ctx.settings.node_ports
    if number not in allowed:
        shown = f"{allowed.start}-{allowed.stop - 1}"
        raise Refused(f"provided port is not in the valid range. The range of valid ports is {shown}")
    if (again and number in held.ports) or held.taken.held(number, held.service):
        return
    if not held.taken.free(number, held.service):
        # Given back at another server, perhaps.
        await held.ctx.objects.fresh(services.RESOURCE)
    if number in held.ports or not held.taken.free(number, held.service) or not await held.promise(number):
        raise Refused("provided port is already allocated")


def _invalid(service: Object, error: problem.Error) -> StatusError:
    return errors.invalid("Service", "", service["metadata"]["name"], [error])
