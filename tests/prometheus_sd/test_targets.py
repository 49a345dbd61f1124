"""Target groups of each role, from objects."""

from pynetes.client.store import Store
from pynetes.machinery.meta import Object, key_of
from pynetes.prometheus_sd.targets import META, ROLES, Known


def _known(**objects: list[Object]) -> Known:
    stores = {field: Store() for field in Known._fields}
    for field, listed in objects.items():
        for obj in listed:
            stores[field].replace(key_of(obj), obj)
    return Known(**stores)


def _found(role: str, known: Known) -> dict[str, dict[str, str]]:
    """Address → labels without their common prefix."""
    groups = list(ROLES[role][0](known))
    return {
        address: {name.removeprefix(META): value for name, value in group["labels"].items()}
        for group in groups
        for address in group["targets"]
    }


def _meta(name: str, **more: object) -> Object:
    return {"name": name, "namespace": "shop", "uid": f"uid-{name}", **more}


def _pod(name: str, address: str) -> Object:
    return {
        "metadata": _meta(
            name,
            labels={"app.kubernetes.io/name": "web"},
            ownerReferences=[{"kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": True}],
        ),
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "c", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]},
                {"name": "admin", "image": "admin:1", "ports": [{"name": "admin", "containerPort": 9000}]},
                {"name": "quiet", "image": "quiet:1"},
            ],
        },
        "status": {
            "podIP": address,
            "hostIP": "10.0.0.1",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "containerID": "containerd://1"}],
        },
    }


SERVICE: Object = {
    "metadata": _meta("web", annotations={"prometheus.io/scrape": "true"}),
    "spec": {"clusterIP": "10.96.0.5", "type": "ClusterIP", "ports": [{"name": "http", "port": 80}]},
}


def test_a_node_is_its_kubelet() -> None:
    """The address that is dialled is the internal one, with the port that the kubelet reports."""
    node = {
        "metadata": {"name": "n1", "uid": "u", "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"providerID": "local://n1"},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "fd00::1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}},
        },
    }
    bare = {"metadata": {"name": "n2", "uid": "u2"}, "spec": {}}
    found = _found("node", _known(nodes=[node, bare]))
    assert list(found) == ["[fd00::1]:10350"]
    labels = found["[fd00::1]:10350"]
    assert labels["instance"] == "n1" and labels["node_label_kubernetes_io_os"] == "linux"
    assert labels["node_labelpresent_kubernetes_io_os"] == "true"
    assert labels["node_address_Hostname"] == "n1" and labels["node_provider_id"] == "local://n1"


def test_a_pods_ports_are_targets() -> None:
    """Every declared port, and the bare address for a container that declares none; no address, no target."""
    found = _found("pod", _known(pods=[_pod("web-a", "10.1.0.2"), _pod("pending", "")]))
    assert list(found) == ["10.1.0.2:8080", "10.1.0.2:9000", "10.1.0.2"]
    labels = found["10.1.0.2:8080"]
    assert labels["pod_container_id"] == "containerd://1" and labels["pod_ready"] == "true"
    assert (labels["pod_controller_kind"], labels["pod_controller_name"]) == ("ReplicaSet", "web-1")
    assert labels["pod_label_app_kubernetes_io_name"] == "web" and labels["namespace"] == "shop"


def test_an_endpoint_knows_its_service_and_its_pod() -> None:
    """Annotations of the Service decide what is scraped; ports no endpoint leads to are found as well."""
    reference = {"kind": "Pod", "namespace": "shop", "name": "web-a"}
    piece = {
        "metadata": _meta("web-x", labels={"kubernetes.io/service-name": "web"}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.1.0.2"], "conditions": {"ready": True}, "nodeName": "n1", "targetRef": reference}
        ],
    }
    old = {
        "metadata": _meta("web"),
        "subsets": [
            {
                "addresses": [{"ip": "10.1.0.2", "nodeName": "n1", "targetRef": reference}],
                "notReadyAddresses": [{"ip": "10.1.0.3"}],
                "ports": [{"name": "http", "port": 8080}],
            }
        ],
    }
    known = _known(endpointslices=[piece], endpoints=[old], services=[SERVICE], pods=[_pod("web-a", "10.1.0.2")])
    for role in ("endpointslice", "endpoints"):
        labels = _found(role, known)["10.1.0.2:8080"]
        assert labels["service_annotation_prometheus_io_scrape"] == "true" and labels["service_name"] == "web"
        assert labels["pod_name"] == "web-a" and labels["pod_container_name"] == "c"
        assert _found(role, known)["10.1.0.2:9000"]["pod_container_name"] == "admin"
    assert _found("endpointslice", known)["10.1.0.2:8080"]["endpointslice_endpoint_conditions_ready"] == "true"
    assert _found("endpoints", known)["10.1.0.3:8080"]["endpoint_ready"] == "false"


def test_services_and_ingresses_are_reached_by_name() -> None:
    """A Service by its DNS name, an Ingress by its host; TLS for the host, or a wildcard above it, means https."""
    ingress = {
        "metadata": _meta("web"),
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["*.example.com"], "secretName": "s"}],
            "rules": [
                {"host": "a.example.com", "http": {"paths": [{"path": "/x"}]}},
                {"host": "b.example.org"},
            ],
        },
    }
    found = _found("service", _known(services=[SERVICE]))
    assert found["web.shop.svc:80"]["service_cluster_ip"] == "10.96.0.5"
    found = _found("ingress", _known(ingresses=[ingress]))
    assert (found["a.example.com"]["ingress_scheme"], found["a.example.com"]["ingress_path"]) == ("https", "/x")
    assert (found["b.example.org"]["ingress_scheme"], found["b.example.org"]["ingress_path"]) == ("http", "/")
