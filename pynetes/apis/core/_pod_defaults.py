"""Defaults of a pod's spec, shared by Pod and by every kind that carries a pod template."""

from typing import Any

from pynetes.machinery.meta import Object

_HANDLERS = ("postStart", "preStop")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_FILE_MODE = 0o644
_RBD = (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring"))
_AZURE_DISK: tuple[tuple[str, Any], ...] = (
    ("cachingMode", "ReadWrite"),
    ("kind", "Shared"),
    ("fsType", "ext4"),
    ("readOnly", False),
)


def pull_policy(image: str) -> str:
    """Always for the tag latest, given or implied; a digest or another tag does not move."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def default_spec(spec: Object) -> None:
    """Fill in a pod spec in place."""
    put = spec.setdefault
    put("restartPolicy", "Always")
    put("terminationGracePeriodSeconds", 30)
    put("dnsPolicy", "ClusterFirst")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        # The old name of the field is kept equal to the new one.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    put("securityContext", {})
    put("schedulerName", "default-scheduler")
    for name in CONTAINER_LISTS:
        for container in spec.get(name) or ():
            default_container(container)
    for volume in spec.get("volumes") or ():
        default_volume(volume)


def default_host_ports(spec: Object) -> None:
    """In the host's network a port is the host's. Of pods, not of templates: a template says what it was given."""
    if spec.get("hostNetwork"):
        for name in ("containers", "initContainers"):
            for container in spec.get(name) or ():
                for port in container.get("ports") or ():
                    port.setdefault("hostPort", port.get("containerPort"))


def default_template(template: Object | None) -> None:
    """Fill in the spec of a pod template, if there is one."""
    if template and template.get("spec") is not None:
        default_spec(template["spec"])


def default_container(container: Object) -> None:
    """Fill in one container of any sort."""
    put = container.setdefault
    put("terminationMessagePath", "/dev/termination-log")
    put("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        if (source := variable.get("valueFrom")) and source.get("fieldRef") is not None:
            source["fieldRef"].setdefault("apiVersion", "v1")
        if source and source.get("fileKeyRef") is not None:
            source["fileKeyRef"].setdefault("optional", False)
    for name in _PROBES:
        if probe := container.get(name):
            _default_probe(probe)
    if lifecycle := container.get("lifecycle"):
        for name in _HANDLERS:
            if handler := lifecycle.get(name):
                _default_http(handler)


def _default_probe(probe: Object) -> None:
    # Upstream takes 0 for unset in these.
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(name):
            probe[name] = value
    _default_http(probe)
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")
        if probe["grpc"]["service"] is None:
            probe["grpc"]["service"] = ""


def _default_http(handler: Object) -> None:
    if (http := handler.get("httpGet")) is not None:
        http.setdefault("path", "/")
        http.setdefault("scheme", "HTTP")


def default_volume(volume: Object) -> None:
    """Fill in a volume; one without any source is an emptyDir."""
    sources = [name for name in volume if name != "name"]
    if not sources:
        volume["emptyDir"] = {}
        return
    for name in sources:
        if default := _VOLUMES.get(name):
            default(volume[name])


def _file_mode(source: Object) -> None:
    source.setdefault("defaultMode", _FILE_MODE)


def _downward_items(source: Object) -> None:
    for item in source.get("items") or ():
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def _downward(source: Object) -> None:
    _file_mode(source)
    _downward_items(source)


def _projected(source: Object) -> None:
    _file_mode(source)
    for projection in source.get("sources") or ():
        if (token := projection.get("serviceAccountToken")) is not None:
            token.setdefault("expirationSeconds", 3600)
        if (downward := projection.get("downwardAPI")) is not None:
            _downward_items(downward)
        if (certificate := projection.get("podCertificate")) is not None:
            certificate.setdefault("maxExpirationSeconds", 86400)


def _pairs(*pairs: tuple[str, Any]) -> Any:
    def default(source: Object) -> None:
        for name, value in pairs:
            source.setdefault(name, value)

    return default


def _ephemeral(source: Object) -> None:
    template = source.get("volumeClaimTemplate") or {}
    template.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _image(source: Object) -> None:
    if "pullPolicy" not in source:
        source["pullPolicy"] = pull_policy(source.get("reference", ""))


_VOLUMES = {
    "secret": _file_mode,
    "configMap": _file_mode,
    "downwardAPI": _downward,
    "projected": _projected,
    "hostPath": _pairs(("type", "")),
    "iscsi": _pairs(("iscsiInterface", "default")),
    "rbd": _pairs(*_RBD),
    "azureDisk": _pairs(*_AZURE_DISK),
    "scaleIO": _pairs(("storageMode", "ThinProvisioned"), ("fsType", "xfs")),
    "ephemeral": _ephemeral,
    "image": _image,
}
#: The same sources, as a PersistentVolume has them.
PERSISTENT_VOLUMES = {name: _VOLUMES[name] for name in ("hostPath", "iscsi", "rbd", "azureDisk")} | {
    "scaleIO": _pairs(("storageMode", "ThinProvisioned"), ("fsType", "xfs"))
}


def default_requests(container: Object) -> None:
    """What a container is limited to and does not request, it requests in full. Pods only, not templates."""
    resources = container.get("resources")
    if resources and (limits := resources.get("limits")):
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def merge_label_keys(spec: Object, labels: Object) -> None:
    """What a new pod's own labels are under matchLabelKeys and mismatchLabelKeys becomes part of the selectors beside
    them (KEP-3633, KEP-3243). Pods only, not templates."""
    affinity = spec.get("affinity") or {}
    terms = [*(spec.get("topologySpreadConstraints") or ())]
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        terms += pods.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = pods.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += (each["podAffinityTerm"] for each in preferred if each.get("podAffinityTerm"))
    for term in terms:
        selector = term.get("labelSelector")
        if selector is None:
            continue
        for member, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
            made = [
                {"key": key, "operator": operator, "values": [labels[key]]}
                for key in term.get(member) or ()
                if key in labels
            ]
            if made:
                selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *made]
