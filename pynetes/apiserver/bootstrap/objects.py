"""Namespaces, priority classes, the `kubernetes` Service, APIServices: what exists from the first second."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import orjson

from pynetes.apis.apiregistration import apiservices
from pynetes.apis.core import configmaps, endpoints, namespaces, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ipaddresses, servicecidrs
from pynetes.apis.scheduling import priorityclasses
from pynetes.apiserver.config import Config
from pynetes.apiserver.served import Served
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_CRITICAL = {
    "system-cluster-critical": (
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}
#: Group → (groupPriorityMinimum, versionPriority), which orders groups in discovery.
_PRIORITIES = {
    "": (18000, 1), "apps": (17800, 15), "events.k8s.io": (17750, 15), "authentication.k8s.io": (17700, 15),
    "authorization.k8s.io": (17600, 15), "autoscaling": (17500, 15), "batch": (17400, 15),
    "certificates.k8s.io": (17300, 15), "networking.k8s.io": (17200, 15), "policy": (17100, 15),
    "rbac.authorization.k8s.io": (17000, 15), "storage.k8s.io": (16800, 15), "apiextensions.k8s.io": (16700, 15),
    "admissionregistration.k8s.io": (16700, 15), "scheduling.k8s.io": (16600, 15), "coordination.k8s.io": (16500, 15),
    "node.k8s.io": (16300, 15), "discovery.k8s.io": (16200, 15), "resource.k8s.io": (16200, 21),
    "flowcontrol.apiserver.k8s.io": (16100, 21),
}  # fmt: skip
SERVICE_LABELS = {"component": "apiserver", "provider": "kubernetes"}


def first_namespaces() -> Iterator[tuple[Resource, Object]]:
    """The four that the system lives in."""
    for name in NAMESPACES:
        metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
        obj = {"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        yield namespaces.RESOURCE, obj


def priority_classes() -> Iterator[tuple[Resource, Object]]:
    """The two system classes."""
    for name, (value, description) in _CRITICAL.items():
        obj = {"metadata": {"name": name}, "value": value, "description": description}
        yield priorityclasses.RESOURCE, {**obj, "preemptionPolicy": "PreemptLowerPriority"}


def api_services(served: Served, now: str) -> Iterator[tuple[Resource, Object]]:
    """One local APIService per group version."""
    for group, versions in served.group_versions().items():
        for version in versions:
            yield apiservices.RESOURCE, api_service(group, version, now)


def api_service(group: str, version: str, now: str, *, automanaged: str = "onstart") -> Object:
    """The APIService of a group version that this server serves itself."""
    minimum, priority = _PRIORITIES.get(group, (1000, 100))
    if (group, version) == ("autoscaling", "v2"):
        priority = 30
    spec: Object = {"version": version, "groupPriorityMinimum": minimum, "versionPriority": priority}
    if group:
        spec["group"] = group
    message = "Local APIServices are always available"
    condition = {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "Local",
        "message": message,
    }
    labels = {"kube-aggregator.kubernetes.io/automanaged": automanaged}
    return {
        "metadata": {"name": f"{version}.{group}", "labels": labels},
        "spec": spec,
        "status": {"conditions": [condition]},
    }


def service_network(config: Config, now: str) -> Iterator[tuple[Resource, Object]]:
    """The ServiceCIDR of the configured ranges."""
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": now, "reason": ""}
    condition["message"] = "Kubernetes default Service CIDR is ready"
    yield (
        servicecidrs.RESOURCE,
        {
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": list(config.service_cluster_ip_range)},
            "status": {"conditions": [condition]},
        },
    )


def kubernetes_service(config: Config, port: int) -> Iterator[tuple[Resource, Object]]:
    """The Service `kubernetes`, at the first address of the range, and the record that the address is taken."""
    network = ip_network(config.service_cluster_ip_range[0])
    address = str(network.network_address + 1)
    family = f"IPv{network.version}"
    spec = {
        "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        "clusterIP": address,
        "clusterIPs": [address],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": [family],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    metadata = {"name": "kubernetes", "namespace": "default", "labels": dict(SERVICE_LABELS)}
    yield services.RESOURCE, {"metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}
    labels = {"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
    parent = {"resource": "services", "namespace": "default", "name": "kubernetes"}
    yield ipaddresses.RESOURCE, {"metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}}


def kubernetes_endpoints(address: str, port: int) -> Iterator[tuple[Resource, Object]]:
    """Where the Service leads: this API server."""
    listed = [{"name": "https", "protocol": "TCP", "port": port}]
    metadata = {
        "name": "kubernetes",
        "namespace": "default",
        "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
    }
    yield endpoints.RESOURCE, {"metadata": metadata, "subsets": [{"addresses": [{"ip": address}], "ports": listed}]}
    yield (
        endpointslices.RESOURCE,
        {
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": f"IPv{ip_address(address).version}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": listed,
        },
    )


def authentication_config(config: Config) -> Iterator[tuple[Resource, Object]]:
    """What extension API servers need to authenticate requests that this one hands on."""
    data: dict[str, str] = {}
    if config.client_ca_file:
        data["client-ca-file"] = Path(config.client_ca_file).read_text()
    if config.requestheader_client_ca_file:
        data["requestheader-client-ca-file"] = Path(config.requestheader_client_ca_file).read_text()
        for name, values in (
            ("allowed-names", config.requestheader_allowed_names),
            ("username-headers", config.requestheader_username_headers),
            *((("uid-headers", uids),) if (uids := config.requestheader_uid_headers) else ()),
            ("group-headers", config.requestheader_group_headers),
            ("extra-headers-prefix", config.requestheader_extra_headers_prefix),
        ):
            data[f"requestheader-{name}"] = orjson.dumps(list(values)).decode()
    metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    yield configmaps.RESOURCE, {"metadata": metadata, "data": data} if data else {"metadata": metadata}
