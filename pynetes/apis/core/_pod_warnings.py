"""What upstream warns of in pods and pod templates: deprecated or dead settings, and what one part hides of another.

Warnings are for people: nothing is refused here. Texts and order are what clients of upstream see.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pynetes.apis.core import _node_labels, _volumes
from pynetes.apis.core._pod_validation import LARGEST, template_of
from pynetes.machinery import inet, names, quantity
from pynetes.machinery.meta import Object
from pynetes.machinery.recent import Recent

Warnings = Callable[[Object, Object | None], list[str]]

#: Annotation → since when it does nothing, and the field that took its place.
_DEAD_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": ("v1.16", "priorityClassName"),
    "security.alpha.kubernetes.io/sysctls": ("v1.11", "sysctls"),
    "security.alpha.kubernetes.io/unsafe-sysctls": ("v1.11", "sysctls"),
}
_SECCOMP = ("v1.27", "seccompProfile")
#: Volume source → deprecated in, without function since (None: it can be enabled).
_OLD_VOLUMES = {
    "photonPersistentDisk": ("v1.11", "v1.16"),
    "gitRepo": ("v1.11", None),
    "scaleIO": ("v1.16", "v1.22"),
    "flocker": ("v1.22", "v1.25"),
    "storageos": ("v1.22", "v1.25"),
    "quobyte": ("v1.22", "v1.25"),
    "glusterfs": ("v1.25", "v1.26"),
    "cephfs": ("v1.28", "v1.31"),
    "rbd": ("v1.28", "v1.31"),
}
_BYTES = ("memory", "ephemeral-storage")
#: Specs that came lately and brought no warnings.
_QUIET: Recent[bool] = Recent(256)
_GROUPS = ("initContainers", "containers", "ephemeralContainers")


def of_pod(new: Object, old: Object | None) -> list[str]:
    """Warnings about a new pod; a change of one is made by programs, which read none."""
    if old is not None:
        return []
    metadata, spec = new.get("metadata") or {}, new.get("spec") or {}
    # Only annotations and names, beside the spec, can bring warnings.
    template = b"" if metadata.get("annotations") or name_warning(metadata) else template_of(spec)
    if _QUIET.get(template):
        return []
    found = [*name_warning(metadata, "the Pod's hostname"), *_warnings(metadata, spec, "")]
    if template and not found and len(template) <= LARGEST:
        _QUIET.put(template, True)
    return found


def of_template(*path: str, named: bool = False) -> Warnings:
    """Warnings about the pod template at a path; an update that leaves the spec alone brings none.

    named: pods are named after the object, so that its name is looked at when it comes.
    """

    def warnings(new: Object, old: Object | None) -> list[str]:
        if old is not None and old.get(path[0]) == new.get(path[0]):
            return []
        template: Any = new
        for name in path:
            template = template.get(name) or {}
        found = name_warning(new["metadata"]) if named and old is None else []
        found.extend(_warnings(template.get("metadata") or {}, template.get("spec") or {}, f"{'.'.join(path)}."))
        return found

    return warnings


def _warnings(metadata: Object, spec: Object, at: str) -> Iterator[str]:
    annotations = metadata.get("annotations") or {}
    yield from _labels(spec, f"{at}spec")
    for name in (name for name in _DEAD_ANNOTATIONS if name in annotations):
        yield _dead(f"{at}metadata", name, *_DEAD_ANNOTATIONS[name])
    for index, volume in enumerate(spec.get("volumes") or ()):
        for source, (since, dead) in _OLD_VOLUMES.items():
            if volume.get(source) is not None:
                shown = "storageOS" if source == "storageos" else source
                end = f", non-functional in {dead}+" if dead else ", and disabled by default in v1.33+"
                yield f"{at}spec.volumes[{index}].{shown}: deprecated in {since}{end}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}
        place = f"{at}spec.volumes[{index}].ephemeral.volumeClaimTemplate.spec"
        yield from _volumes.claim_warnings(template.get("spec") or {}, place)
    for volume in spec.get("volumes") or ():
        yield from _overlaps(volume)
    yield from _references(spec, f"{at}spec")
    yield from _fractions(spec.get("overhead"), f"{at}spec.overhead")
    seccomp = "seccomp.security.alpha.kubernetes.io/pod"
    if seccomp in annotations and not (spec.get("securityContext") or {}).get("seccompProfile"):
        yield _dead(f"{at}metadata", seccomp, *_SECCOMP)
    for container, place in _containers(spec, f"{at}spec"):
        yield from _container(spec, container, place, annotations, at)
    yield from _ports(spec, f"{at}spec")
    yield from _port_names(spec, f"{at}spec")
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{at}spec.terminationGracePeriodSeconds: {text}"
    yield from _affinities(spec, f"{at}spec.affinity")
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        yield from inet.ip_warnings(server, f"{at}spec.dnsConfig.nameservers[{index}]")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from inet.ip_warnings(alias.get("ip", ""), f"{at}spec.hostAliases[{index}].ip")


def name_warning(metadata: Object, where: str = "Pod names and hostnames") -> list[str]:
    """Pods' hosts are named after the object."""
    name = metadata.get("name")
    found = " ".join(names.dns_label(name)) if name else ""
    about = "which can result in surprising behavior; a DNS label is recommended"
    return [f"metadata.name: this is used in {where}, {about}: [{found}]"] if found else []


def _affinities(spec: Object, at: str) -> Iterator[str]:
    """Terms that match no pod."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        required, preferred = (f"{each}DuringSchedulingIgnoredDuringExecution" for each in ("required", "preferred"))
        terms = [(term, f"{required}[{index}]") for index, term in enumerate(affinity.get(required) or ())]
        for index, weighted in enumerate(affinity.get(preferred) or ()):
            terms.append((weighted.get("podAffinityTerm") or {}, f"{preferred}[{index}].podAffinityTerm"))
        for term, place in terms:
            if term.get("labelSelector") is None:
                yield f"{at}.{kind}.{place}.labelSelector: a null labelSelector results in matching no pod"


def _dead(metadata: str, annotation: str, since: str, field: str) -> str:
    return f'{metadata}.annotations[{annotation}]: non-functional in {since}+; use the "{field}" field instead'


def _containers(spec: Object, at: str) -> Iterator[tuple[Object, str]]:
    for group in _GROUPS:
        for index, container in enumerate(spec.get(group) or ()):
            yield container, f"{at}.{group}[{index}]"


def _labels(spec: Object, at: str) -> Iterator[str]:
    """Labels of nodes that go by another name now, wherever nodes are chosen by them."""
    for label in spec.get("nodeSelector") or {}:
        if text := _node_labels.old(label):
            yield f"{at}.nodeSelector[{label}]: {text}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    place = f"{at}.affinity.nodeAffinity"
    required, preferred = (f"{kind}DuringSchedulingIgnoredDuringExecution" for kind in ("required", "preferred"))
    for index, term in enumerate((affinity.get(required) or {}).get("nodeSelectorTerms") or ()):
        yield from _node_labels.in_term(term, f"{place}.{required}.nodeSelectorTerms[{index}]", values=False)
    for index, term in enumerate(affinity.get(preferred) or ()):
        preference = term.get("preference") or {}
        yield from _node_labels.in_term(preference, f"{place}.{preferred}[{index}].preference", values=True)
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        place = f"{at}.topologySpreadConstraints[{index}]"
        if text := _node_labels.old(constraint.get("topologyKey", "")):
            yield f"{place}.topologyKey: {constraint['topologyKey']} is {text}"
        if constraint.get("labelSelector") is None:
            yield f"{place}.labelSelector: a null labelSelector results in matching no pod"


def _references(spec: Object, at: str) -> Iterator[str]:
    """Addresses and pull secrets that come twice, or say nothing."""
    for index, address in _again([alias.get("ip", "") for alias in spec.get("hostAliases") or ()]):
        yield f'{at}.hostAliases[{index}].ip: duplicate ip "{address}"'
    secrets = [secret.get("name") or "" for secret in spec.get("imagePullSecrets") or ()]
    for index, name in _again(secrets):
        yield f'{at}.imagePullSecrets[{index}].name: duplicate name "{name}"'
    for index, name in enumerate(secrets):
        if not name:
            yield f'{at}.imagePullSecrets[{index}].name: invalid empty name ""'


def _again(values: Sequence[str]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index, value
        seen.add(value)


def _fractions(amounts: Object | None, at: str, names: Sequence[str] = _BYTES) -> Iterator[str]:
    for name in names:
        if amounts and name in amounts:
            found = quantity.parse(amounts[name])
            if found.milli() % 1000:
                yield f'{at}[{name}]: fractional byte value "{found}" is invalid, must be an integer'


def _container(spec: Object, container: Object, place: str, annotations: Object, at: str) -> Iterator[str]:
    security = container.get("securityContext") or {}
    seccomp = f"container.seccomp.security.alpha.kubernetes.io/{container.get('name', '')}"
    if seccomp in annotations and not security.get("seccompProfile"):
        yield _dead(f"{at}metadata", seccomp, *_SECCOMP)
    armor = f"container.apparmor.security.beta.kubernetes.io/{container.get('name', '')}"
    profile = security.get("appArmorProfile") or (spec.get("securityContext") or {}).get("appArmorProfile")
    if at and armor in annotations and not profile:
        text = 'deprecated since v1.30; use the "appArmorProfile" field instead'
        yield f"{at}metadata.annotations[{armor}]: {text}"
    resources = container.get("resources") or {}
    for name in _BYTES:
        for side in ("limits", "requests"):
            yield from _fractions(resources.get(side), f"{place}.resources.{side}", (name,))
    seen: set[str] = set()
    for index, item in enumerate(container.get("env") or ()):
        name, own = item.get("name", ""), f"$({item.get('name', '')})"
        value = item.get("value") or ""
        if name in seen and (item.get("valueFrom") is not None or value == own or own not in value):
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            yield f"{place}.env[{index}]: {text}"
        seen.add(name)


def _port_names(spec: Object, at: str) -> Iterator[str]:
    """Services and probes go by the first port of a name."""
    known: dict[str, str] = {}
    for container, place in _containers(spec, at):
        for index, port in enumerate(container.get("ports") or ()):
            where, name = f"{place}.ports[{index}]", port.get("name") or ""
            first = known.setdefault(name, where)
            if name and first != where:
                text = f"services and probes that select ports by name will use {first}"
                yield f'{where}: duplicate port name "{name}" with {first}, {text}'


def _ports(spec: Object, at: str) -> Iterator[str]:
    """Ports that are the same, of one container or several."""
    known: dict[tuple[Any, Any], list[tuple[str, Object]]] = {}
    for container, place in _containers(spec, at):
        for index, port in enumerate(container.get("ports") or ()):
            where, host, address = f"{place}.ports[{index}]", port.get("hostPort") or 0, port.get("hostIP") or ""
            if address and not host:
                shown = f"Name:{port.get('name', '')} HostPort:0 ContainerPort:{port.get('containerPort', 0)}"
                shown += f" Protocol:{port.get('protocol', '')} HostIP:{address}"
                yield f"{where}: hostIP set without hostPort: {{{shown}}}"
            others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for there, other in others:
                other_host, other_address = other.get("hostPort") or 0, other.get("hostIP") or ""
                if (address, host) == (other_address, other_host):
                    yield f"{where}: duplicate port definition with {there}"
                elif not host or not other_host:
                    yield f"{where}: overlapping port definition with {there}"
                elif host == other_host and not (address and other_address):
                    yield f"{where}: dangerously ambiguous port definition with {there}"
            others.append((where, port))


class _Path(NamedTuple):
    """Where a volume puts a file, and from what."""

    path: str
    source: str

    def __str__(self) -> str:
        return f'"{self.path}" ({self.source})' if self.source else f'"{self.path}"'


def _overlaps(volume: Object) -> Iterator[str]:
    """Files of one volume that hide one another."""
    name = volume.get("name", "")
    paths: list[_Path] = []
    about = ""
    if found := volume.get("configMap"):
        about, paths = f'ConfigMap "{found.get("name", "")}"', _items(found, "")
    elif found := volume.get("secret"):
        about, paths = f'Secret "{found.get("secretName", "")}"', _items(found, "")
    elif found := volume.get("downwardAPI"):
        about, paths = "DownwardAPI", _items(found, "")
    elif found := volume.get("projected"):
        about = "Projected"
        for source in found.get("sources") or ():
            paths += _projected(source)
    for index, one in enumerate(paths):
        for other in paths[:index]:
            if one.path == other.path or _within(one.path, other.path) or _within(other.path, one.path):
                yield f'volume "{name}" ({about}): overlapping paths: {one} with {other}'


def _within(inner: str, outer: str) -> bool:
    return inner.startswith(f"{outer}/")


def _items(source: Object, about: str) -> list[_Path]:
    return [_Path(item.get("path", "").rstrip("/"), about) for item in source.get("items") or ()]


def _projected(source: Object) -> list[_Path]:
    if found := source.get("configMap"):
        return _items(found, f'ConfigMap "{found.get("name", "")}"')
    if found := source.get("secret"):
        return _items(found, f'Secret "{found.get("name", "")}"')
    if found := source.get("downwardAPI"):
        return _items(found, "DownwardAPI")
    if found := source.get("serviceAccountToken"):
        return [_Path(found.get("path", "").rstrip("/"), "ServiceAccountToken")]
    if found := source.get("clusterTrustBundle"):
        about = f'ClusterTrustBundle "{found.get("name") or found.get("signerName") or ""}"'
        return [_Path(found.get("path", "").rstrip("/"), about)]
    return []
