"""Which group versions are served elsewhere, and where: read from the cache, dialled at an endpoint of the Service.

Endpoints are dialled, not the cluster IP: the API server need not stand on a machine that kube-proxy programs.
"""

import base64
import binascii
import random
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pynetes.apis.apiregistration import apiservices
from pynetes.apis.core import services
from pynetes.apis.discovery import endpointslices
from pynetes.apiserver.config import Config
from pynetes.apiserver.objects import Objects
from pynetes.component.streaming.http1 import Target
from pynetes.component.tls import Reloading
from pynetes.machinery.meta import Key, Object

SERVICE_NAME = "kubernetes.io/service-name"


class GroupVersion(NamedTuple):
    """What an APIService is about."""

    group: str
    version: str


class Absent(Exception):
    """There is nothing to dial; the condition's reason and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def group_version(service: Object) -> GroupVersion:
    """Of an APIService."""
    return GroupVersion(service["spec"].get("group") or "", service["spec"]["version"])


def endpoints(objects: Objects, namespace: str, service: str, port: str) -> list[tuple[str, int]]:
    """Where a Service's ready endpoints listen for a port of a name."""
    found = []
    for each in objects.list(endpointslices.RESOURCE, namespace):
        if (each["metadata"].get("labels") or {}).get(SERVICE_NAME) != service:
            continue
        numbers = [p["port"] for p in each.get("ports") or () if (p.get("name") or "") == port and p.get("port")]
        for endpoint in each.get("endpoints") or ():
            if numbers and (endpoint.get("conditions") or {}).get("ready", True):
                found += [(address, numbers[0]) for address in endpoint["addresses"]]
    return found


class Remotes:
    """The APIServices that name a Service. An index of the cache; `woken` hears of everything that may matter."""

    def __init__(self, objects: Objects, config: Config, woken: Callable[[], None]) -> None:
        self._objects, self._config, self._woken = objects, config, woken
        self.services: dict[GroupVersion, Object] = {}
        self._contexts: dict[tuple[str, bool], tuple[ssl.SSLContext, Reloading | None]] = {}
        #: Moves whenever a group version comes or goes.
        self.revision = 0

    def follow(self) -> None:
        """Hear of every change from now on; the cache must be filled."""
        self._objects.keep(apiservices.RESOURCE, self)
        self._objects.keep(endpointslices.RESOURCE, _Slices(self))

    def reset(self, objs: Iterable[Object]) -> None:
        """Start over."""
        self.services = {group_version(obj): obj for obj in objs if obj["spec"].get("service")}
        self.revision += 1
        self._woken()

    def changed(self, new: Object | None, old: Object | None) -> None:
        """One APIService came, changed or went."""
        before = self.services.pop(group_version(old), None) if old is not None else None
        if new is not None and new["spec"].get("service"):
            self.services[group_version(new)] = new
        elif before is None:
            return
        if new is None or before is None or before["spec"] != new["spec"]:
            self.revision += 1
            self._woken()

    def concerns(self, slice_: Object) -> bool:
        """Whether an EndpointSlice belongs to one of the Services."""
        metadata = slice_["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_NAME)
        return any(_named(each) == (metadata["namespace"], name) for each in self.services.values())

    def slices_changed(self) -> None:
        """Endpoints of one of the Services have changed."""
        self._woken()

    def target(self, service: Object) -> Target:
        """An endpoint of the Service that an APIService names. Raises Absent."""
        namespace, name = _named(service)
        found = self._objects.get(services.RESOURCE, Key(namespace, name))
        if found is None:
            raise Absent("ServiceNotFound", f'service/{name} in "{namespace}" is not present')
        number = service["spec"]["service"].get("port") or 443
        port = next((each for each in found["spec"].get("ports") or () if each["port"] == number), None)
        if port is None:
            raise Absent("ServicePortError", f'service/{name} in "{namespace}" is not listening on port {number}')
        addresses = endpoints(self._objects, namespace, name, port.get("name") or "")
        if not addresses:
            text = f'endpoints for service/{name} in "{namespace}" have no addresses with port name "{{}}"'
            raise Absent("MissingEndpoints", text.format(port.get("name") or ""))
        address, to = random.choice(addresses)
        return Target(address, to, self._tls(service["spec"]), f"{name}.{namespace}.svc")

    def _tls(self, spec: Object) -> ssl.SSLContext:
        """Verified by caBundle, or by the system's authorities; shows the front proxy's certificate."""
        key = spec.get("caBundle") or "", bool(spec.get("insecureSkipTLSVerify"))
        kept = self._contexts.get(key)
        if kept is None:
            try:
                kept = self._contexts[key] = self._context(*key)
            except (OSError, ValueError, binascii.Error) as error:
                raise Absent("FailedDiscoveryCheck", f"the certificates to dial with: {error}") from error
        context, pair = kept
        if pair is not None:
            pair.refresh()
        return context

    def _context(self, bundle: str, insecure: bool) -> tuple[ssl.SSLContext, Reloading | None]:
        pem = base64.b64decode(bundle).decode() if bundle else None
        context = ssl.create_default_context(cadata=pem)
        if insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        config = self._config
        if not config.proxy_client_cert_file:
            return context, None
        return context, Reloading(context, Path(config.proxy_client_cert_file), Path(config.proxy_client_key_file))


def _named(service: Object) -> tuple[str, str]:
    reference = service["spec"]["service"]
    return reference.get("namespace") or "", reference.get("name") or ""


class _Slices:
    """Tells the remotes of endpoints that are theirs."""

    def __init__(self, remotes: Remotes) -> None:
        self._remotes = remotes

    def reset(self, _objs: Iterable[Object]) -> None:
        """Start over."""
        self._remotes.slices_changed()

    def changed(self, new: Object | None, old: Object | None) -> None:
        """One slice came, changed or went."""
        found = new if new is not None else old
        if self._remotes.services and found is not None and self._remotes.concerns(found):
            self._remotes.slices_changed()
