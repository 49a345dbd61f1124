"""Keeps the forwards up to date: a change of a Service or slice recomputes that Service's forwards and no other's."""

from collections.abc import Mapping
from typing import NamedTuple

from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.proxy import model
from pynetes.proxy.model import Forward

_CHANGES = REGISTRY.counter(
    "kubeproxy_sync_proxy_rules_endpoint_changes_total", "Cumulative proxy rules Endpoint changes", "ip_family"
)


class PortKey(NamedTuple):
    """Identifies a forward for as long as its Service has it."""

    namespace: str
    service: str
    port_name: str
    protocol: str
    family: int


#: What became of forwards: None as the first means new, None as the second gone.
Changes = Mapping[PortKey, tuple[Forward | None, Forward | None]]


def port_key(forward: Forward) -> PortKey:
    """The forward's identity."""
    return PortKey(forward.namespace, forward.service, forward.port_name, forward.protocol, forward.family)


class Tracker:
    """Services and slices as last heard of, the forwards that were handed out, and which Services changed since."""

    def __init__(self, node: str) -> None:
        self.node = node
        #: The newest revision of any object that was heard of.
        self.revision = 0
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._owner: dict[Key, Key] = {}
        self._dirty: dict[Key, None] = {}
        self.forwards: dict[Key, dict[PortKey, Forward]] = {}

    @property
    def dirty(self) -> list[Key]:
        """The Services that changed since `take`."""
        return list(self._dirty)

    def set_service(self, service: Object) -> None:
        """A Service was added or changed."""
        key = key_of(service)
        self._heard(service)
        self._services[key] = service
        self._dirty[key] = None

    def delete_service(self, key: Key) -> None:
        """A Service went."""
        if self._services.pop(key, None) is not None:
            self._dirty[key] = None

    def set_slice(self, each: Object) -> None:
        """An EndpointSlice was added or changed; it may have moved to another Service."""
        key, labels = key_of(each), each["metadata"].get("labels") or {}
        name = labels.get(model.SERVICE_NAME_LABEL)
        owner = Key(key.namespace, name) if name and model.HEADLESS_LABEL not in labels else None
        if owner != self._owner.get(key):
            self.delete_slice(key)
        self._heard(each)
        _CHANGES.inc(str(each.get("addressType") or ""))
        if owner is not None:
            self._owner[key] = owner
            self._slices.setdefault(owner, {})[key.name] = each
            self._dirty[owner] = None

    def delete_slice(self, key: Key) -> None:
        """An EndpointSlice went."""
        owner = self._owner.pop(key, None)
        if owner is None:
            return
        slices = self._slices[owner]
        del slices[key.name]
        if not slices:
            del self._slices[owner]
        self._dirty[owner] = None

    def take(self) -> Changes:
        """The forwards that changed since the last call; those that came out the same are left out."""
        changes: dict[PortKey, tuple[Forward | None, Forward | None]] = {}
        for key in self._dirty:
            before = self.forwards.get(key, {})
            service = self._services.get(key)
            after = self._compute(key, service) if service else {}
            for port in before.keys() | after.keys():
                if before.get(port) != after.get(port):
                    changes[port] = (before.get(port), after.get(port))
            if after:
                self.forwards[key] = after
            else:
                self.forwards.pop(key, None)
        self._dirty.clear()
        return changes

    def all(self) -> Changes:
        """Every forward as if it were new, for a table that has to be made from nothing."""
        return {port: (None, each) for ports in self.forwards.values() for port, each in ports.items()}

    def _heard(self, obj: Object) -> None:
        self.revision = max(self.revision, int(obj["metadata"].get("resourceVersion") or 0))

    def _compute(self, key: Key, service: Object) -> dict[PortKey, Forward]:
        slices = self._slices.get(key, {}).values()
        return {port_key(each): each for each in model.forwards(service, slices, node=self.node)}
