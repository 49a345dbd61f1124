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
#: Protocols that can share a port with one another; HTTP shares it with none.
BESIDE = {frozenset({"HTTPS", "TLS"}), *(frozenset({"UDP", other}) for other in ("HTTP", "HTTPS", "TLS", "TCP"))}


@dataclass
class Listener:
    """One listener of one Gateway."""

    gateway: Object
    spec: Object
    conditions: list[Condition] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    certificate: Certificate | None = None
    #: Whether it is valid, so that routes attach to it; and whether they can be served through it as well.
    accepted: bool = True
    usable: bool = True
    #: The routes that have attached, with the names under which they are served.
    attached: dict[tuple[str, Key], list[str]] = field(default_factory=dict)

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
    def protocol(self) -> str:
        """As the Gateway names it."""
        return str(self.spec.get("protocol"))

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS with it."""
        return self.protocol == "HTTPS"

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


def read(gateway: Object, snapshot: Snapshot, *, refused: str = "") -> list[Listener]:
    """All of a Gateway's listeners with their conditions; conflicts are between those of one port.

    refused: why the Gateway itself is not accepted, in which case none of them serves."""
    found = [Listener(gateway, spec) for spec in gateway["spec"].get("listeners") or ()]
    for listener in found:
        _check(listener, snapshot, _conflict(listener, found), refused)
    return found


def _conflict(listener: Listener, others: Iterable[Listener]) -> str:
    """The reason of the condition Conflicted, "" when there is none. The listener that was listed first is in force."""
    for other in others:
        if other is listener:
            return ""
        if other.port == listener.port and frozenset({other.protocol, listener.protocol}) not in BESIDE:
            if other.protocol != listener.protocol:
                return "ProtocolConflict"
            if other.hostname == listener.hostname:
                return "HostnameConflict"
    return ""


def _check(listener: Listener, snapshot: Snapshot, conflict: str, refused: str) -> None:
    accepted = _accepted(listener, conflict)
    resolved = _resolved_kinds(listener)
    if listener.tls and accepted.holds:
        resolved = _secure(listener, snapshot) or resolved
    listener.accepted = accepted.holds and not refused
    listener.usable = listener.accepted and (resolved.holds or resolved.reason == "InvalidRouteKinds")
    reason = "Programmed" if listener.usable else "Invalid"
    programmed = Condition("Programmed", listener.usable, reason, refused)
    clash = Condition("Conflicted", bool(conflict), conflict or "NoConflicts")
    listener.conditions = [accepted, programmed, resolved, clash]


def _accepted(listener: Listener, conflict: str) -> Condition:
    mode = (listener.spec.get("tls") or {}).get("mode") or "Terminate"
    if listener.protocol not in KINDS:
        return Condition("Accepted", False, "UnsupportedProtocol", f"the protocol {listener.protocol} is not served")
    if listener.tls and mode != "Terminate":
        return Condition("Accepted", False, "UnsupportedProtocol", f"the TLS mode {mode} is not served")
    if conflict:
        return Condition("Accepted", False, conflict, "another listener has this port")
    return Condition("Accepted", True, "Accepted")


def _resolved_kinds(listener: Listener) -> Condition:
    """Notes the kinds that can attach; whether all that are named can."""
    supported = KINDS.get(listener.protocol, ())
    named = (listener.spec.get("allowedRoutes") or {}).get("kinds") or ()
    wanted = [(each.get("group") or GROUP, each["kind"]) for each in named]
    listener.kinds = tuple(kind for kind in supported if not wanted or (GROUP, kind) in wanted)
    if any(group != GROUP or kind not in supported for group, kind in wanted):
        message = "allowedRoutes.kinds names kinds that cannot attach"
        return Condition("ResolvedRefs", False, "InvalidRouteKinds", message)
    return Condition("ResolvedRefs", True, "ResolvedRefs")


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
