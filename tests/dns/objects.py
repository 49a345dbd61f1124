"""The objects behind the specification's examples, and a question as a client sends it."""

import dnslib

from pynetes.machinery.meta import Object

DOMAIN = "cluster.local"


def service(name: str, *, ips: tuple[str, ...] = ("10.3.0.1",), namespace: str = "default", **spec: object) -> Object:
    """A Service with the named port https 443/TCP and an unnamed one; headless when ips is empty."""
    ports = [{"name": "https", "port": 443, "protocol": "TCP"}, {"port": 80}]
    addresses = {"clusterIP": ips[0] if ips else "None", "clusterIPs": list(ips) or ["None"]}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"ports": ports, **addresses, **spec}}


def endpoint_slice(
    service_name: str,
    *endpoints: tuple[str, str] | tuple[str, str, bool],
    name: str = "",
    namespace: str = "default",
    family: int = 4,
) -> Object:
    """Endpoints as (address, hostname or "", ready)."""
    return {
        "metadata": {
            "namespace": namespace,
            "name": name or f"{service_name}-abc",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": f"IPv{family}",
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [each[0]],
                "conditions": {"ready": each[2] if len(each) > 2 else True},
                **({"hostname": each[1]} if each[1] else {}),
            }
            for each in endpoints
        ],
    }


def namespace(name: str = "default") -> Object:
    """A Namespace."""
    return {"metadata": {"name": name}}


def question(name: str, kind: str = "A", *, edns: int = 0) -> bytes:
    """A query, made by an implementation that is not ours."""
    record = dnslib.DNSRecord.question(name, kind)
    if edns:
        record.add_ar(dnslib.EDNS0(udp_len=edns))
    return bytes(record.pack())
