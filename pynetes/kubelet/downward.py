"""The downward API: fields and resources of the pod, as environment variables and as files show them."""

import base64
import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What of the node shows in a pod."""

    name: str = ""
    ips: tuple[str, ...] = ()
    #: Of the pod's own sandbox, known before they stand in its status.
    pod_ips: tuple[str, ...] = ()
    #: Amounts as in node status, which stand in for limits that a container has not.
    allocatable: dict[str, str] = dataclass_field(default_factory=dict)


def field(pod: Object, path: str, node: NodeFacts) -> str:
    """The value of a fieldPath, "" where the pod has none."""
    metadata, spec = pod["metadata"], pod["spec"]
    match = SUBSCRIPT.match(path)
    if match:
        return str((metadata.get(match.group(1)) or {}).get(match.group(2), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return listing(metadata.get(path.removeprefix("metadata.")) or {})
    ips = list(node.pod_ips) or [entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or ()]
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": node.ips[0] if node.ips else "",
        "status.hostIPs": ",".join(node.ips),
        "status.podIP": ips[0] if ips else "",
        "status.podIPs": ",".join(ips),
    }
    if path not in values:
        raise ValueError(f"unsupported fieldPath: {path}")
    return str(values[path])


def listing(values: dict[str, str]) -> str:
    """Labels or annotations as key="value" lines, sorted, the value escaped as a Go string."""
    return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values))


def _quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def resource(pod: Object, container: Object, reference: Object, node: NodeFacts) -> str:
    """A container's limits.X or requests.X in units of the divisor, rounded up; limits fall back to the node's."""
    named = reference.get("containerName")
    if named:
        containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
        container = next((one for one in containers if one["name"] == named), container)
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(name)
    if amount is None and kind == "requests":
        amount = (resources.get("limits") or {}).get(name)
    if amount is None:
        amount = node.allocatable.get(name, "0") if kind == "limits" else "0"
    divisor = reference.get("divisor") or "1"
    divisor = "1" if divisor == "0" else divisor
    if name == "cpu":
        return str(-(-quantity.parse(amount).milli() // max(quantity.parse(divisor).milli(), 1)))
    return str(-(-quantity.parse(amount).value() // max(quantity.parse(divisor).value(), 1)))


def secret_data(secret: Object) -> dict[str, bytes]:
    """A Secret's values."""
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def config_map_data(config_map: Object) -> dict[str, bytes]:
    """A ConfigMap's values, text and binary."""
    values = {key: value.encode() for key, value in (config_map.get("data") or {}).items()}
    values.update({key: base64.b64decode(value) for key, value in (config_map.get("binaryData") or {}).items()})
    return values
