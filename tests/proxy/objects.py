"""Services and EndpointSlices as short as tests like them."""

from collections.abc import Sequence
from typing import Any

from pynetes.machinery.meta import Object


def service(name: str = "web", *, cluster_ip: str = "10.96.0.10", ports: Sequence[Object] = (), **spec: Any) -> Object:
    """A ClusterIP Service in the namespace default, port http 80 → 8080 unless told otherwise."""
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": list(ports) or [{"name": "http", "port": 80, "protocol": "TCP"}],
            **spec,
        },
    }


def endpoint(ip: str, *, node: str = "here", **conditions: bool) -> Object:
    """One endpoint; conditions as in the API."""
    return {"addresses": [ip], "nodeName": node, "conditions": conditions}


def endpoint_slice(
    *endpoints: Object, service: str = "web", name: str = "", ports: Sequence[Object] = (), family: int = 4
) -> Object:
    """The endpoints of a Service, port http 8080 unless told otherwise."""
    return {
        "metadata": {
            "namespace": "default",
            "name": name or f"{service}-abcde",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": f"IPv{family}",
        "ports": list(ports) or [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }
