"""A Gateway's listeners: which can be served, with which certificates, and which routes may attach to them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pynetes.ingress import certificates
from pynetes.ingress.gateway.conditions import Condition
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.ingress.gateway.references import From
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.rules import Certificate
from pynetes.machinery import labels
from pynetes.machinery.meta import Key, Object, key_of

KINDS = {"HTTP": ("HTTPRoute", "GRPCRoute"), "HTTPS": ("HTTPRoute", "GRPCRoute")}


@dataclass
class Listener:
    """One listener of one Gateway."""

    gateway: Object
    spec: Object
    conditions: list[Condition] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    certificate: Certificate | None = None
    #: Whether routes can be served through it at all.
    usable: bool = True
    attached: set[tuple[str, Key]] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Unique within its Gateway."""
        return str(self.spec["name"])

    @property
    def port(self) -> int:
        """The port that clients use."""
        return int(self.spec["port"])

    @property
    def hostname(self) -> str:
        """What it serves; "" is every name."""
        return str(self.spec.get("hostname") or "").lower()

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS with it."""
        return bool(self.spec.get("protocol") == "HTTPS")

    def admits(self, route: Object, snapshot: Snapshot) -> bool:
        """Whether a route's kind and namespace may attach."""
        allowed = self.spec.get("allowedRoutes") or {}
        if route["kind"] not in self.kinds:
            return False
        where = (allowed.get("namespaces") or {}).get("from") or "Same"
        namespace = key_of(route).namespace
        if where == "All":
            return True
        if where == "Same":
            return namespace == key_of(self.gateway).namespace
        if where == "Selector":
            found = snapshot.namespace(namespace)
            selector = labels.from_label_selector((allowed.get("namespaces") or {}).get("selector") or {})
            return found is not None and selector.matches(found["metadata"].get("labels") or {})
        return False


def read(gateway: Object, snapshot: Snapshot) -> list[Listener]:
    """All of a Gateway's listeners with their conditions; conflicts are between those of one port."""
    found = [Listener(gateway, spec) for spec in gateway["spec"].get("listeners") or ()]
    for listener in found:
        _check(listener, snapshot, _conflict(listener, found))
    return found


def _conflict(listener: Listener, others: Iterable[Listener]) -> str:
    """The reason of the condition Conflicted, "" when there is none. The listener that was listed first is in force."""
    for other in others:
        if other is listener:
            return ""
        if other.port == listener.port:
            if other.tls != listener.tls:
                return "ProtocolConflict"
            if other.hostname == listener.hostname:
                return "HostnameConflict"
    return ""


def _check(listener: Listener, snapshot: Snapshot, conflict: str) -> None:
    protocol = listener.spec.get("protocol")
    supported = KINDS.get(str(protocol), ())
    wanted = [
        (each.get("group") or GROUP, each["kind"])
        for each in (listener.spec.get("allowedRoutes") or {}).get("kinds") or ()
    ]
    listener.kinds = tuple(kind for kind in supported if not wanted or (GROUP, kind) in wanted)
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs")
    if any(group != GROUP or kind not in supported for group, kind in wanted):
        resolved = Condition(
            "ResolvedRefs", False, "InvalidRouteKinds", "allowedRoutes.kinds names kinds that cannot attach"
        )
    mode = (listener.spec.get("tls") or {}).get("mode") or "Terminate"
    if not supported:
        accepted = Condition("Accepted", False, "UnsupportedProtocol", f"the protocol {protocol} is not served")
    elif listener.tls and mode != "Terminate":
        accepted = Condition("Accepted", False, "UnsupportedProtocol", f"the TLS mode {mode} is not served")
    elif conflict:
        accepted = Condition("Accepted", False, conflict, "another listener has this port")
    else:
        accepted = Condition("Accepted", True, "Accepted")
    if listener.tls and accepted.holds:
        resolved = _secure(listener, snapshot) or resolved
    listener.usable = accepted.holds and (resolved.holds or resolved.reason == "InvalidRouteKinds")
    programmed = Condition("Programmed", listener.usable, "Programmed" if listener.usable else "Invalid")
    clash = Condition("Conflicted", bool(conflict), conflict or "NoConflicts")
    listener.conditions = [accepted, programmed, resolved, clash]


def _secure(listener: Listener, snapshot: Snapshot) -> Condition | None:
    """Read the certificate; the condition when that cannot be."""
    tls = listener.spec.get("tls") or {}
    source = key_of(listener.gateway)
    refs = tls.get("certificateRefs") or ()
    if not refs:
        return Condition("ResolvedRefs", False, "InvalidCertificateRef", "tls.certificateRefs names no Secret")
    ref = refs[0]
    key = Key(ref.get("namespace") or source.namespace, ref["name"])
    if (ref.get("group") or "", ref.get("kind") or "Secret") != ("", "Secret"):
        return Condition("ResolvedRefs", False, "InvalidCertificateRef", "certificates are read from Secrets only")
    if not snapshot.may_refer(From("Gateway", source.namespace), "Secret", key):
        return Condition("ResolvedRefs", False, "RefNotPermitted", f"no ReferenceGrant in {key.namespace} allows {key}")
    try:
        listener.certificate = certificates.read(snapshot.secret(key), str(key))
    except ValueError as problem:
        return Condition("ResolvedRefs", False, "InvalidCertificateRef", str(problem))
    return None
