"""Follows Services, EndpointSlices and Namespaces and keeps the zone by difference: one Service, one update."""

from pynetes.dns import records
from pynetes.dns.answers import Answers, namespace_records
from pynetes.machinery.meta import Key, Object, key_of

#: The Service that stands for this server; its address is that of the zone's name server.
DNS_SERVICE = Key("kube-system", "kube-dns")


class Tracker:
    """What was last heard of each object; its methods are informers' handlers."""

    def __init__(self, answers: Answers, *, dns_service: Key = DNS_SERVICE) -> None:
        self.answers = answers
        self._dns_service = dns_service
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._owner: dict[Key, Key] = {}
        answers.update("zone", records.of_zone(self._domain))

    @property
    def _domain(self) -> str:
        return self.answers.zone.domain

    def service(self, service: Object, _old: Object | None = None, gone: bool = False) -> None:
        """A Service was added, changed, or is gone."""
        key = key_of(service)
        if gone:
            self._services.pop(key, None)
        else:
            self._services[key] = service
        if key == self._dns_service:
            spec = {} if gone else service["spec"]
            ips = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
            self.answers.update("zone", records.of_zone(self._domain, dns_addresses=ips))
        self._publish(key)

    def endpoint_slice(self, each: Object, _old: Object | None = None, gone: bool = False) -> None:
        """An EndpointSlice was added, changed, moved to another Service, or is gone."""
        key = key_of(each)
        name = (each["metadata"].get("labels") or {}).get(records.SERVICE_NAME_LABEL)
        owner = Key(key.namespace, name) if name and not gone else None
        before = self._owner.get(key)
        if before is not None and before != owner:
            del self._owner[key]
            del self._slices[before][key.name]
            if not self._slices[before]:
                del self._slices[before]
            self._publish(before)
        if owner is not None:
            self._owner[key] = owner
            self._slices.setdefault(owner, {})[key.name] = each
            self._publish(owner)

    def namespace(self, namespace: Object, _old: Object | None = None, gone: bool = False) -> None:
        """A Namespace was added or is gone."""
        name = namespace["metadata"]["name"]
        self.answers.update(f"namespace {name}", {} if gone else namespace_records(name, self._domain))

    def _publish(self, key: Key) -> None:
        service = self._services.get(key)
        slices = self._slices.get(key, {}).values()
        new = records.of_service(service, slices, domain=self._domain) if service else {}
        self.answers.update(f"service {key}", new)
