"""The cloud itself: what each operation of the API does to the state and to the machine.

The order is always: check, keep, then do. What was kept and not done (a crash, a full disk) is done when the operation
is called again, or when the service starts.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from pynetes.cloud.localcloud import haproxy
from pynetes.cloud.localcloud.config import Config, Machine
from pynetes.cloud.localcloud.plumbing import Plumbing
from pynetes.cloud.localcloud.state import State
from pynetes.component.clock import Clock
from pynetes.component.command import CommandError
from pynetes.machinery.meta import Object

RUNNING, STOPPED, TERMINATED = "running", "stopped", "terminated"
#: Smallest step of a volume's size, in bytes.
BLOCK = 1 << 20


class Refusal(Exception):
    """The answer to a request that cannot be done: an HTTP status, a code for programs and a text for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def absent(kind: str, name: str) -> Refusal:
    """There is no such thing."""
    return Refusal(404, "NotFound", f"there is no {kind} {name!r}")


class Cloud:
    """One cloud; `restore` first."""

    def __init__(self, config: Config, state: State, plumbing: Plumbing, clock: Clock) -> None:
        self.config, self.state, self._plumbing, self._clock = config, state, plumbing, clock
        self._changing = asyncio.Lock()
        self._machines = {machine.id: machine for machine in config.instances}

    async def restore(self) -> None:
        """Make the machine what the state says; forget what belonged to instances that are no more."""
        for name in [name for name in self.state.of("instances") if name not in self._machines]:
            self.state.drop("instances", name)
        for machine in self._alive():
            await self._plumbing.shield(machine, open_to_pods=self.options(machine)["openToPods"])
        disks = self.config.state / "disks"
        await self._plumbing.sweep(disks, {*self.state.of("volumes"), *self.state.of("snapshots")})
        for volume in list(self.state.of("volumes").values()):
            await self._reattach(volume)
        for name, route in list(self.state.of("routes").items()):
            if route["instance"] not in self._machines:
                self.state.drop("routes", name)
                await self._plumbing.route(route["cidr"], None, self._alive())
            else:
                await self._route(route)
        await self._balance()

    # Instances

    def machine(self, name: str) -> Machine:
        """Raises Refusal."""
        found = self._machines.get(name)
        if found is None or self._state_of(found) == TERMINATED:
            raise absent("instance", name)
        return found

    def instances(self) -> list[Object]:
        """All that exist."""
        return [self.instance(machine) for machine in self._alive()]

    def instance(self, machine: Machine) -> Object:
        """The document of one."""
        return {
            "id": machine.id,
            "name": machine.name,
            "type": machine.type,
            "zone": machine.zone,
            "region": self.config.region,
            "state": self._state_of(machine),
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": machine.name},
            ],
            "metadataOptions": self.options(machine),
            "tags": {**machine.tags, "cluster": self.config.cluster},
        }

    def _alive(self) -> list[Machine]:
        return [machine for machine in self._machines.values() if self._state_of(machine) != TERMINATED]

    def _state_of(self, machine: Machine) -> str:
        return str((self.state.get("instances", machine.id) or {}).get("state", RUNNING))

    def options(self, machine: Machine) -> Object:
        """How the metadata service treats the instance."""
        kept = self.state.get("instances", machine.id) or {}
        return {"hopLimit": 1, "openToPods": False, **kept.get("metadataOptions", {})}

    async def set_options(self, name: str, wanted: Object) -> Object:
        """Change hopLimit (1 to 64) and whether pods may ask at all."""
        machine = self.machine(name)
        async with self._changing:
            options = {**self.options(machine), **wanted}
            self._keep(machine, metadataOptions=options)
            await self._plumbing.shield(machine, open_to_pods=options["openToPods"])
        return self.instance(machine)

    async def act(self, name: str, action: str) -> Object:
        """stop, start or terminate an instance; one that is so already is no error."""
        machine = self.machine(name)
        if action != "start" and not machine.namespace and self.config.hook:
            text = f"{machine.name} is the machine that this cloud and the control plane run on"
            raise Refusal(409, "IncorrectInstance", text)
        async with self._changing:
            self._keep(machine, state={"stop": STOPPED, "start": RUNNING, "terminate": TERMINATED}[action])
            if action == "terminate":
                await self._leave(machine)
            await self._plumbing.instance(action, machine)
        return self.instance(machine)

    async def _leave(self, machine: Machine) -> None:
        """A terminated instance leaves routes, volumes and balancers."""
        for name, route in list(self.state.of("routes").items()):
            if route["instance"] == machine.id:
                self.state.put("routes", name, {**route, "state": "blackhole"})
        for name, volume in list(self.state.of("volumes").items()):
            if machine.id in volume["attached"]:
                await self._plumbing.detach(self._file(name))
                self.state.put("volumes", name, {**volume, "attached": {}, "state": "available"})

    def _keep(self, machine: Machine, **values: object) -> None:
        self.state.put("instances", machine.id, {**(self.state.get("instances", machine.id) or {}), **values})

    # Balancers

    async def balancers(self) -> list[Object]:
        """All, with the health of their nodes."""
        health = await self._plumbing.health()
        return [self._with_health(each, health) for each in self.state.of("balancers").values()]

    async def balancer(self, name: str) -> Object:
        """One, with the health of its nodes. Raises Refusal."""
        found = self.state.get("balancers", name)
        if found is None:
            raise absent("load balancer", name)
        return self._with_health(found, await self._plumbing.health())

    @staticmethod
    def _with_health(balancer: Object, health: Mapping[str, Mapping[str, str]]) -> Object:
        sections = [health.get(f"{balancer['name']}:{each['port']}", {}) for each in balancer["listeners"]]
        states = {
            each["node"]: "up" if all(section.get(each["node"]) == "UP" for section in sections) else "down"
            for each in balancer["targets"]
        }
        return {**balancer, "health_of_targets": states} if health else balancer

    async def ensure_balancer(self, name: str, wanted: Object) -> Object:
        """Make or change it; it keeps its address. Raises Refusal."""
        async with self._changing:
            before = self.state.get("balancers", name)
            if before and before["tags"] != wanted["tags"]:
                text = f"the load balancer {name!r} belongs to {before['tags']}"
                raise Refusal(409, "NotOwner", text)
            for listener in wanted["listeners"]:
                if listener["protocol"] != "TCP":
                    text = f"port {listener['port']} is {listener['protocol']}; load balancers here speak TCP only"
                    raise Refusal(422, "UnsupportedProtocol", text)
            address = self._address(name, wanted.pop("requestedAddress", ""), before)
            after = {**wanted, "name": name, "address": address}
            if after != before:
                try:
                    # Alone: what haproxy does not take must not hold up the others.
                    await self._plumbing.check(self._configuration([after]))
                except CommandError as error:
                    raise Refusal(422, "InvalidBalancer", f"haproxy does not take it: {error}") from None
                self.state.put("balancers", name, after)
        await self._balance()
        return after

    def _address(self, name: str, requested: str, before: Object | None) -> str:
        used = {each["address"] for other, each in self.state.of("balancers").items() if other != name}
        if requested:
            if requested not in self.config.addresses:
                raise Refusal(422, "InvalidAddress", f"{requested} is not in the pool {self.config.pool}")
            if requested in used:
                raise Refusal(409, "AddressInUse", f"{requested} belongs to another load balancer")
            return requested
        if before:
            return str(before["address"])
        free = next((address for address in self.config.addresses if address not in used), "")
        if not free:
            text = f"all {len(self.config.addresses)} addresses of the pool {self.config.pool} are in use"
            raise Refusal(409, "AddressLimitExceeded", text)
        return free

    async def delete_balancer(self, name: str) -> Object:
        """Remove it; an absent one is a Refusal with 404."""
        async with self._changing:
            found = self.state.get("balancers", name)
            if found is None:
                raise absent("load balancer", name)
            self.state.drop("balancers", name)
        await self._balance()
        return found

    async def _balance(self) -> None:
        await self._plumbing.balance(self._configuration(self.state.of("balancers").values()))

    def _configuration(self, listed: Iterable[Object]) -> str:
        return haproxy.configuration(listed, stats=self.config.haproxy_stats)

    # Routes

    async def ensure_route(self, name: str, wanted: Object) -> Object:
        """Point a network to an instance. Raises Refusal."""
        async with self._changing:
            self.machine(wanted["instance"])
            route = {**wanted, "name": name, "state": "active"}
            self.state.put("routes", name, route)
            await self._route(route)
            return route

    async def delete_route(self, name: str) -> Object:
        """Raises Refusal when there is none."""
        async with self._changing:
            found = self.state.get("routes", name)
            if found is None:
                raise absent("route", name)
            self.state.drop("routes", name)
            await self._plumbing.route(found["cidr"], None, self._alive())
            return found

    async def _route(self, route: Object) -> None:
        if route["state"] == "active" and route["instance"] in self._machines:
            await self._plumbing.route(route["cidr"], self._machines[route["instance"]], self._alive())

    # Volumes

    def volume(self, name: str) -> Object:
        """Raises Refusal."""
        found = self.state.get("volumes", name)
        if found is None:
            raise absent("volume", name)
        return found

    async def create_volume(self, wanted: Object) -> Object:
        """A new one, or the one that has the name. Raises Refusal when that has another size."""
        async with self._changing:
            size = -(-wanted["size"] // BLOCK) * BLOCK
            for found in self.state.of("volumes").values():
                if found["name"] == wanted["name"]:
                    if found["size"] != size:
                        text = f"the volume {wanted['name']!r} exists with {found['size']} bytes"
                        raise Refusal(409, "IdempotentParameterMismatch", text)
                    await self._fill(found)
                    return found
            if wanted.get("snapshot"):
                source = self.state.get("snapshots", wanted["snapshot"])
                if source is None:
                    raise absent("snapshot", wanted["snapshot"])
                size = max(size, source["size"])
            name = f"vol-{secrets.token_hex(8)}"
            volume = {"snapshot": "", "zone": f"{self.config.region}-a", **wanted}
            volume |= {"id": name, "size": size, "attached": {}, "state": "available"}
            self.state.put("volumes", name, volume)
            await self._fill(volume)
            return volume

    async def _fill(self, volume: Object) -> None:
        path = self._file(volume["id"])
        if volume["snapshot"] and not path.exists():
            await self._plumbing.copy(self._file(volume["snapshot"]), path)
        await self._plumbing.disk(path, volume["size"])

    async def delete_volume(self, name: str) -> Object:
        """Raises Refusal when it is absent or in use."""
        async with self._changing:
            volume = self.volume(name)
            if volume["attached"]:
                raise Refusal(409, "VolumeInUse", f"{name} is attached to {', '.join(volume['attached'])}")
            self._file(name).unlink(missing_ok=True)
            self.state.drop("volumes", name)
            return volume

    async def attach_volume(self, name: str, instance: str) -> Object:
        """To one instance at a time."""
        async with self._changing:
            volume, machine = self.volume(name), self.machine(instance)
            others = [each for each in volume["attached"] if each != machine.id]
            if others:
                raise Refusal(409, "VolumeInUse", f"{name} is attached to {', '.join(others)}")
            if volume["zone"] != machine.zone:
                text = f"{name} is in the zone {volume['zone']}, {machine.name} in {machine.zone}"
                raise Refusal(409, "InvalidVolumeZone", text)
            device = await self._plumbing.attach(self._file(name))
            volume |= {"attached": {machine.id: device}, "state": "in-use"}
            self.state.put("volumes", name, volume)
            return volume

    async def detach_volume(self, name: str, instance: str) -> Object:
        """From an instance; one that does not have it is no error."""
        async with self._changing:
            volume = self.volume(name)
            if instance in volume["attached"]:
                await self._plumbing.detach(self._file(name))
                volume |= {"attached": {}, "state": "available"}
                self.state.put("volumes", name, volume)
            return volume

    async def expand_volume(self, name: str, size: int) -> Object:
        """Grow it, attached or not; it never shrinks."""
        async with self._changing:
            volume = self.volume(name)
            size = max(volume["size"], -(-size // BLOCK) * BLOCK)
            self.state.put("volumes", name, {**volume, "size": size})
            await self._plumbing.disk(self._file(name), size)
            for device in volume["attached"].values():
                await self._plumbing.grown(device)
            return self.volume(name)

    async def create_snapshot(self, wanted: Object) -> Object:
        """A copy of a volume as it is now, or the one that has the name already."""
        async with self._changing:
            for found in self.state.of("snapshots").values():
                if found["name"] == wanted["name"]:
                    if found["volume"] != wanted["volume"]:
                        text = f"the snapshot {wanted['name']!r} is of {found['volume']}"
                        raise Refusal(409, "IdempotentParameterMismatch", text)
                    return found
            volume = self.volume(wanted["volume"])
            name = f"snap-{secrets.token_hex(8)}"
            await self._plumbing.copy(self._file(volume["id"]), self._file(name))
            made = {
                **wanted,
                "id": name,
                "size": volume["size"],
                "created": self._clock.now().timestamp(),
                "ready": True,
            }
            self.state.put("snapshots", name, made)
            return made

    async def delete_snapshot(self, name: str) -> Object:
        """Raises Refusal when there is none."""
        async with self._changing:
            found = self.state.get("snapshots", name)
            if found is None:
                raise absent("snapshot", name)
            self._file(name).unlink(missing_ok=True)
            self.state.drop("snapshots", name)
            return found

    async def _reattach(self, volume: Object) -> None:
        """After a reboot, block devices are gone; an instance that is no more has no disks."""
        for instance in volume["attached"]:
            if instance not in self._machines:
                await self._plumbing.detach(self._file(volume["id"]))
                self.state.put("volumes", volume["id"], {**volume, "attached": {}, "state": "available"})
                continue
            device = await self._plumbing.attach(self._file(volume["id"]))
            self.state.put("volumes", volume["id"], {**volume, "attached": {instance: device}})

    def _file(self, name: str) -> Path:
        return self.config.state / "disks" / f"{name}.img"
