"""Objects to target groups, role by role, with the meta labels that Prometheus' own kubernetes_sd documents.

Pure: objects in, groups out. A group is {"targets": [address, …], "labels": {…}}; its targets share the labels. As the
protocol has no place for labels of a single target, a target that has some is a group of its own.
Source of the rules: the section kubernetes_sd_config of Prometheus' configuration documentation.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pynetes.client.store import Store
from pynetes.machinery.meta import Key, Object, key_of

META = "__meta_kubernetes_"
#: Which of a node's addresses is dialled, best first.
ADDRESSES = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
Labels = dict[str, str]


class Known(NamedTuple):
    """What the informers have."""

    nodes: Store
    services: Store
    pods: Store
    endpoints: Store
    endpointslices: Store
    ingresses: Store


def group(address: str, labels: Labels) -> Object:
    """One target. Empty labels are no labels to Prometheus, but it shows them, as with its own discovery."""
    return {"targets": [address], "labels": labels}


def _meta(kind: str, obj: Object) -> Labels:
    """Name, namespace, labels and annotations of an object, under the label names that its kind has."""
    metadata = obj["metadata"]
    found = {f"{META}{kind}_name": metadata["name"]}
    if metadata.get("namespace"):
        found[f"{META}namespace"] = metadata["namespace"]
    for field, what in (("labels", "label"), ("annotations", "annotation")):
        for name, value in (metadata.get(field) or {}).items():
            clean = _NOT_A_NAME.sub("_", name)
            found[f"{META}{kind}_{what}_{clean}"] = value
            found[f"{META}{kind}_{what}present_{clean}"] = "true"
    return found


def node(known: Known) -> Iterator[Object]:
    """One target per node: its kubelet."""
    for one in known.nodes.listed():
        status = one.get("status") or {}
        addresses: dict[str, str] = {}
        for each in status.get("addresses") or ():
            addresses.setdefault(each["type"], each["address"])
        host = next((addresses[kind] for kind in ADDRESSES if kind in addresses), "")
        if not host:
            continue
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 0
        labels = _meta("node", one) | {"instance": one["metadata"]["name"]}
        labels[f"{META}node_provider_id"] = (one.get("spec") or {}).get("providerID") or ""
        labels |= {f"{META}node_address_{kind}": address for kind, address in addresses.items()}
        yield group(_joined(host, port), labels)


def service(known: Known) -> Iterator[Object]:
    """One target per port of a Service, by its DNS name."""
    for one in known.services.listed():
        spec, metadata = one["spec"], one["metadata"]
        shared = _of_service(one)
        for port in spec.get("ports") or ():
            described = {
                f"{META}service_port_name": port.get("name") or "",
                f"{META}service_port_number": str(port["port"]),
                f"{META}service_port_protocol": port.get("protocol") or "TCP",
            }
            yield group(f"{metadata['name']}.{metadata['namespace']}.svc:{port['port']}", shared | described)


def _of_service(one: Object) -> Labels:
    spec = one["spec"]
    labels = _meta("service", one) | {f"{META}service_type": spec.get("type") or "ClusterIP"}
    if spec.get("type") == "ExternalName":
        return labels | {f"{META}service_external_name": spec.get("externalName") or ""}
    if spec.get("type") == "LoadBalancer":
        labels[f"{META}service_loadbalancer_ip"] = spec.get("loadBalancerIP") or ""
    return labels | {f"{META}service_cluster_ip": spec.get("clusterIP") or ""}


def pod(known: Known) -> Iterator[Object]:
    """One target per declared port of a container; a container that declares none is its address alone."""
    for one in known.pods.listed():
        address = (one.get("status") or {}).get("podIP")
        if not address:
            continue
        shared = of_pod(one)
        for container, port, init in _ports(one):
            target = _joined(address, port["containerPort"]) if port else _bracketed(address)
            yield group(target, shared | _of_container(one, container, port, init=init))


def of_pod(one: Object) -> Labels:
    """What every target in a pod has."""
    status, spec, metadata = one.get("status") or {}, one["spec"], one["metadata"]
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    labels = _meta("pod", one) | {
        f"{META}pod_ip": status.get("podIP") or "",
        f"{META}pod_host_ip": status.get("hostIP") or "",
        f"{META}pod_node_name": spec.get("nodeName") or "",
        f"{META}pod_ready": (conditions.get("Ready") or "unknown").lower(),
        f"{META}pod_phase": status.get("phase") or "",
        f"{META}pod_uid": metadata["uid"],
    }
    owner = next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), None)
    if owner:
        labels |= {f"{META}pod_controller_kind": owner["kind"], f"{META}pod_controller_name": owner["name"]}
    return labels


def _ports(one: Object) -> Iterator[tuple[Object, Object | None, bool]]:
    """Container, port (None if it declares none), whether it is an init container."""
    for field, init in (("containers", False), ("initContainers", True)):
        for container in one["spec"].get(field) or ():
            for port in container.get("ports") or (None,):
                yield container, port, init


def _of_container(one: Object, container: Object, port: Object | None, *, init: bool) -> Labels:
    status = one.get("status") or {}
    statuses = status.get("initContainerStatuses" if init else "containerStatuses") or ()
    ids = {each["name"]: each.get("containerID") or "" for each in statuses}
    labels = {
        f"{META}pod_container_name": container["name"],
        f"{META}pod_container_image": container.get("image") or "",
        f"{META}pod_container_id": ids.get(container["name"], ""),
        f"{META}pod_container_init": "true" if init else "false",
    }
    return labels if port is None else labels | _of_port(port)


def _of_port(port: Object) -> Labels:
    return {
        f"{META}pod_container_port_name": port.get("name") or "",
        f"{META}pod_container_port_number": str(port["containerPort"]),
        f"{META}pod_container_port_protocol": port.get("protocol") or "TCP",
    }


def endpoints(known: Known) -> Iterator[Object]:
    """One target per address and port of an Endpoints object, and per further port of the pods behind it."""
    for one in known.endpoints.listed():
        key = key_of(one)
        shared = _meta("endpoints", one) | _service_of(known, key)
        seen = _Seen()
        for subset in one.get("subsets") or ():
            for field, ready in (("addresses", "true"), ("notReadyAddresses", "false")):
                for port in subset.get("ports") or ():
                    described = {
                        f"{META}endpoint_port_name": port.get("name") or "",
                        f"{META}endpoint_port_protocol": port.get("protocol") or "TCP",
                        f"{META}endpoint_ready": ready,
                    }
                    for address in subset.get(field) or ():
                        labels = shared | described | _of_address(address, "endpoint_")
                        behind = _pod_of(known, address.get("targetRef"))
                        labels |= seen.bound(behind, port.get("port"))
                        yield group(_joined(address["ip"], port["port"]), labels)
        yield from seen.others(shared)


def _of_address(address: Object, prefix: str) -> Labels:
    labels = _of_target(address.get("targetRef"), f"{prefix}address_")
    for field, name in (("nodeName", "node_name"), ("hostname", "hostname")):
        if address.get(field):
            labels[f"{META}{prefix}{name}"] = address[field]
    return labels


def _of_target(reference: Object | None, prefix: str) -> Labels:
    if not reference:
        return {}
    kind, name = reference.get("kind") or "", reference.get("name") or ""
    return {f"{META}{prefix}target_kind": kind, f"{META}{prefix}target_name": name}


def endpointslice(known: Known) -> Iterator[Object]:
    """One target per address and port of an EndpointSlice, and per further port of the pods behind it."""
    for one in known.endpointslices.listed():
        metadata = one["metadata"]
        name = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        shared = _meta("endpointslice", one) | {f"{META}endpointslice_address_type": one["addressType"]}
        shared |= _service_of(known, Key(metadata["namespace"], name))
        seen = _Seen()
        for port in one.get("ports") or ():
            if port.get("port") is None:
                continue
            described = {
                f"{META}endpointslice_port": str(port["port"]),
                f"{META}endpointslice_port_name": port.get("name") or "",
                f"{META}endpointslice_port_protocol": port.get("protocol") or "TCP",
            }
            if port.get("appProtocol"):
                described[f"{META}endpointslice_port_app_protocol"] = port["appProtocol"]
            for endpoint in one.get("endpoints") or ():
                labels = shared | described | _of_endpoint(endpoint)
                labels |= seen.bound(_pod_of(known, endpoint.get("targetRef")), port["port"])
                for address in endpoint.get("addresses") or ():
                    yield group(_joined(address, port["port"]), labels)
        yield from seen.others(shared)


def _of_endpoint(endpoint: Object) -> Labels:
    conditions = endpoint.get("conditions") or {}
    labels = _of_target(endpoint.get("targetRef"), "endpointslice_address_")
    for name in ("ready", "serving", "terminating"):
        if conditions.get(name) is not None:
            labels[f"{META}endpointslice_endpoint_conditions_{name}"] = "true" if conditions[name] else "false"
    for field, name in (("hostname", "hostname"), ("nodeName", "node_name"), ("zone", "zone")):
        if endpoint.get(field):
            labels[f"{META}endpointslice_endpoint_{name}"] = endpoint[field]
    for name, value in (endpoint.get("deprecatedTopology") or {}).items():
        clean = _NOT_A_NAME.sub("_", name)
        labels[f"{META}endpointslice_endpoint_topology_{clean}"] = value
        labels[f"{META}endpointslice_endpoint_topology_present_{clean}"] = "true"
    return labels


class _Seen:
    """Pods behind endpoints, and which of their ports an endpoint has named already."""

    def __init__(self) -> None:
        self._pods: dict[Key, tuple[Object, set[int]]] = {}

    def bound(self, behind: Object | None, number: int | None) -> Labels:
        """The labels of the pod, and of the container whose port it is."""
        if behind is None:
            return {}
        _, named = self._pods.setdefault(key_of(behind), (behind, set()))
        labels = of_pod(behind)
        for container, port, init in _ports(behind):
            if port and port["containerPort"] == number:
                named.add(port["containerPort"])
                return labels | _of_container(behind, container, port, init=init)
        return labels

    def others(self, shared: Labels) -> Iterator[Object]:
        """Ports of those pods that no endpoint leads to."""
        for behind, named in self._pods.values():
            address = (behind.get("status") or {}).get("podIP")
            for container, port, init in _ports(behind):
                if address and port and port["containerPort"] not in named:
                    labels = shared | of_pod(behind) | _of_container(behind, container, port, init=init)
                    yield group(_joined(address, port["containerPort"]), labels)


def _pod_of(known: Known, reference: Object | None) -> Object | None:
    if not reference or reference.get("kind") != "Pod":
        return None
    return known.pods.get(Key(reference.get("namespace") or "", reference.get("name") or ""))


def _service_of(known: Known, key: Key) -> Labels:
    found = known.services.get(key)
    return _of_service(found) if found else {}


def ingress(known: Known) -> Iterator[Object]:
    """One target per path of a rule, by the rule's host."""
    for one in known.ingresses.listed():
        spec = one["spec"]
        shared = _meta("ingress", one)
        shared[f"{META}ingress_class_name"] = spec.get("ingressClassName") or ""
        secured = [host for each in spec.get("tls") or () for host in each.get("hosts") or ("",)]
        for rule in spec.get("rules") or ():
            host = rule.get("host") or ""
            scheme = "https" if any(_covers(name, host) for name in secured) else "http"
            for path in _paths(rule):
                described = {
                    f"{META}ingress_scheme": scheme,
                    f"{META}ingress_host": host,
                    f"{META}ingress_path": path,
                }
                yield group(host, shared | described)


def _covers(name: str, host: str) -> bool:
    """Whether a certificate's name is the host, or the wildcard above it."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def _paths(rule: Object) -> Iterable[str]:
    return [each.get("path") or "/" for each in (rule.get("http") or {}).get("paths") or ()] or ["/"]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _joined(host: str, port: int) -> str:
    return f"{_bracketed(host)}:{port}"


#: Role → how its targets are found, and the resources (fields of Known) that they depend on.
ROLES: Mapping[str, tuple[Callable[[Known], Iterator[Object]], tuple[str, ...]]] = {
    "node": (node, ("nodes",)),
    "service": (service, ("services",)),
    "pod": (pod, ("pods",)),
    "endpoints": (endpoints, ("endpoints", "services", "pods")),
    "endpointslice": (endpointslice, ("endpointslices", "services", "pods")),
    "ingress": (ingress, ("ingresses",)),
}
