"""The Services through which Gateways are reached: their names, and what they should be, as pure functions.

They lie in the controller's namespace, where the pods are that they select; so a name has to hold the Gateway's
namespace as well, and to be a label of DNS, which names of Gateways need not be.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pynetes.machinery import inet
from pynetes.machinery.meta import Key, Object, key_of

#: On a Gateway's Service: whose it is.
OWNER = "gateway.networking.k8s.io/gateway-name"
OWNER_NAMESPACE = "gateway.networking.k8s.io/gateway-namespace"
CLASS = "gateway.networking.k8s.io/gateway-class-name"
#: Which labels and annotations its Gateway asked for, so that they go when they are not asked for any more.
ASKED = "pynetes.io/gateway-infrastructure"
LONGEST = 63
DIGITS = 16
Ports = Mapping[tuple[Key, int], int]


def service_name(gateway: Key) -> str:
    """The Service of a Gateway. What is too long, or could be read as another Gateway's, ends in a hash instead, behind
    a beginning that the plain names do not have."""
    plain = f"gateway-{gateway.namespace}-{gateway.name}"
    if len(plain) <= LONGEST and "-" not in gateway.namespace and "." not in gateway.name:
        return plain
    readable = f"gw-{gateway.namespace}-{gateway.name}".replace(".", "-")
    return _hashed(readable, str(gateway))


def label_of(name: str) -> str:
    """A name as the value of a label, which is at most 63 characters long (GEP-1762)."""
    return name if len(name) <= LONGEST else _hashed(name, name)


def chosen(gateway: Object) -> list[str]:
    """The addresses that a Gateway asks for; one without a value may be any."""
    return [each["value"] for each in gateway["spec"].get("addresses") or () if each.get("value")]


def _hashed(text: str, whole: str) -> str:
    digits = hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]
    return f"{text[: LONGEST - DIGITS - 1].rstrip('-.')}-{digits}"


def is_ours(service: Object, namespace: str) -> bool:
    """Whether this controller made it. Others label their Services with a Gateway's name too, but with one only, and
    anybody may do so in a namespace of his own."""
    labels = service["metadata"].get("labels") or {}
    return key_of(service).namespace == namespace and OWNER in labels and OWNER_NAMESPACE in labels


def ports_of(found: Iterable[Object], gateways: Iterable[Key]) -> dict[tuple[Key, int], int]:
    """Ports of nginx that Services of Gateways already lead to."""
    known = {each["metadata"]["name"]: each for each in found}
    ports: dict[tuple[Key, int], int] = {}
    for key in gateways:
        service = known.get(service_name(key))
        for port in (service["spec"].get("ports") or ()) if service else ():
            if isinstance(port.get("targetPort"), int):
                ports[key, port["port"]] = port["targetPort"]
    return ports


def wanted(gateway: Object, ports: Ports, *, namespace: str, selector: Mapping[str, str]) -> Object | None:
    """A Gateway's Service as it should be; None for one that has no listener to lead to."""
    key = key_of(gateway)
    open_ports = [
        {"name": f"port-{port}", "port": port, "targetPort": number, "protocol": "TCP"}
        for (owner, port), number in sorted(ports.items())
        if owner == key
    ]
    if not open_ports:
        return None
    asked = gateway["spec"].get("infrastructure") or {}
    labels, annotations = dict(asked.get("labels") or {}), dict(asked.get("annotations") or {})
    owner = {
        OWNER: label_of(key.name),
        OWNER_NAMESPACE: key.namespace,
        CLASS: label_of(gateway["spec"]["gatewayClassName"]),
    }
    noted = {ASKED: json.dumps([sorted(labels), sorted(annotations)])} if labels or annotations else {}
    metadata = {
        "name": service_name(key),
        "namespace": namespace,
        "labels": {**labels, **owner},
        "annotations": {**annotations, **noted},
    }
    spec: Object = {"type": "LoadBalancer", "selector": dict(selector), "ports": open_ports}
    if addresses := [each for each in chosen(gateway) if not inet.ip(each)]:
        # A Service has one address of its balancer's; that there are more, the Gateway's status tells.
        spec["loadBalancerIP"] = addresses[0]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def change(known: Object, wish: Object) -> Object | None:
    """A merge patch that makes a Service what it should be; None where it is. What others have added to it stays."""
    metadata, fields = known["metadata"], wish["metadata"]
    noted = (metadata.get("annotations") or {}).get(ASKED)
    before = json.loads(noted) if noted else [[], []]
    patch: dict[str, Any] = {}
    for kind, noted_names in zip(("labels", "annotations"), before, strict=True):
        has, should = metadata.get(kind) or {}, fields[kind]
        gone = {*noted_names, *([ASKED] if kind == "annotations" and noted else ())} - set(should)
        part = {name: None for name in sorted(gone) if name in has}
        part |= {name: value for name, value in should.items() if has.get(name) != value}
        if part:
            patch.setdefault("metadata", {})[kind] = part
    pairs = [{(each["port"], each["targetPort"]) for each in one["spec"]["ports"]} for one in (known, wish)]
    if pairs[0] != pairs[1]:
        patch["spec"] = {"ports": wish["spec"]["ports"]}
    address = wish["spec"].get("loadBalancerIP")
    if known["spec"].get("loadBalancerIP") != address:
        patch.setdefault("spec", {})["loadBalancerIP"] = address
    return patch or None
