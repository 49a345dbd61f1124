"""The annotations of a Service that the AWS cloud provider documents, read into settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pynetes.cloud.provider import Balancer, Refused

PREFIX = "service.beta.kubernetes.io/aws-load-balancer-"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the annotations of one Service ask for; times in seconds."""

    network: bool = False
    internal: bool = False
    proxy_protocol: bool = False
    cross_zone: bool = False
    idle_timeout: int = 60
    draining_timeout: int = 0
    certificate: str = ""
    #: Ports with TLS; empty for all, when there is a certificate.
    tls_ports: frozenset[str] = frozenset()
    backend_protocol: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    extra_security_groups: tuple[str, ...] = ()
    allocations: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    health_protocol: str = ""
    health_port: str = ""
    health_path: str = ""
    health_interval: int = 10
    health_timeout: int = 5
    healthy: int = 2
    unhealthy: int = 6

    def has_tls(self, name: str, port: int) -> bool:
        """Whether the port, by name or number, is to speak TLS."""
        return bool(self.certificate) and (not self.tls_ports or bool({name, str(port)} & self.tls_ports))


def read(wanted: Balancer) -> Settings:
    """Raises Refused, naming the annotation."""
    given = {name.removeprefix(PREFIX): value for name, value in wanted.annotations.items() if name.startswith(PREFIX)}
    kind = given.get("type", "")
    if kind in ("external", "nlb-ip"):
        raise Refused(f"{PREFIX}type {kind}: such load balancers are the AWS Load Balancer Controller's")
    if kind not in ("", "nlb"):
        raise Refused(f"{PREFIX}type: {kind!r} is not known, nlb is")
    network = kind == "nlb"
    proxy = given.get("proxy-protocol", "")
    if proxy not in ("", "*"):
        raise Refused(f"{PREFIX}proxy-protocol: only * (all ports) can be had, not {proxy!r}")
    return Settings(
        network=network,
        internal=given.get("internal", "") not in ("", "false", "0.0.0.0/0"),
        proxy_protocol=proxy == "*",
        cross_zone=given.get("cross-zone-load-balancing-enabled") == "true",
        idle_timeout=_number(given, "connection-idle-timeout", 60),
        draining_timeout=_number(given, "connection-draining-timeout", 300)
        if given.get("connection-draining-enabled") == "true"
        else 0,
        certificate=given.get("ssl-cert", ""),
        tls_ports=frozenset(part for part in _list(given, "ssl-ports") if part != "*"),
        backend_protocol=given.get("backend-protocol", "").lower(),
        subnets=_list(given, "subnets"),
        security_groups=_list(given, "security-groups"),
        extra_security_groups=_list(given, "extra-security-groups"),
        allocations=_list(given, "eip-allocations"),
        tags=dict(_pair(part) for part in _list(given, "additional-resource-tags")),
        health_protocol=given.get("healthcheck-protocol", "").upper(),
        health_port=given.get("healthcheck-port", ""),
        health_path=given.get("healthcheck-path", ""),
        health_interval=_number(given, "healthcheck-interval", 30 if network else 10),
        health_timeout=_number(given, "healthcheck-timeout", 10 if network else 5),
        healthy=_number(given, "healthcheck-healthy-threshold", 3 if network else 2),
        unhealthy=_number(given, "healthcheck-unhealthy-threshold", 3 if network else 6),
    )


def _list(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.get(name, "").split(",") if part.strip())


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value.strip()


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    if text and not text.isdecimal():
        raise Refused(f"{PREFIX}{name}: {text!r} is no number")
    return int(text) if text else default
