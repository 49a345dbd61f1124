"""The environment of a container: Services, then envFrom, then env, with $(VAR) put in. Pure, given the sources."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pynetes.kubelet import downward
from pynetes.machinery.meta import Object


class BadConfig(Exception):
    """The container cannot be made as the API objects stand; shown as CreateContainerConfigError."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything that env may refer to; absent objects are None."""

    config_maps: Mapping[str, Object | None]
    secrets: Mapping[str, Object | None]
    services: Iterable[Object] = ()
    node: downward.NodeFacts


REFERENCE = re.compile(r"\$(?:\$|\(([^()$]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put values in for $(NAME); $$ is a dollar sign; an unknown $(NAME) stays as it is."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return values.get(match.group(1), match.group(0))

    return REFERENCE.sub(replace, text)


def referenced(container: Object) -> tuple[dict[str, bool], dict[str, bool]]:
    """Names of ConfigMaps and Secrets that env refers to."""
    config_maps: dict[str, bool] = {}
    secrets: dict[str, bool] = {}
    for source in container.get("envFrom") or ():
        for kind, into in (("configMapRef", config_maps), ("secretRef", secrets)):
            if kind in source:
                into[source[kind]["name"]] = True
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        for kind, into in (("configMapKeyRef", config_maps), ("secretKeyRef", secrets)):
            if kind in origin:
                into[origin[kind]["name"]] = True
    return config_maps, secrets


def build(pod: Object, container: Object, sources: Sources) -> dict[str, str]:
    """The environment. Raises BadConfig naming what is missing."""
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        values.update(_from(pod, source, sources))
    services = service_variables(pod, sources.services)
    for variable in container.get("env") or ():
        value = _value(pod, container, variable, sources, {**services, **values})
        if value is not None:
            values[variable["name"]] = value
    return {**{name: value for name, value in services.items() if name not in values}, **values}


def _from(pod: Object, source: Object, sources: Sources) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for field, kind, objects in (
        ("configMapRef", "configmap", sources.config_maps),
        ("secretRef", "secret", sources.secrets),
    ):
        reference = source.get(field)
        if reference is None:
            continue
        obj = objects.get(reference["name"])
        if obj is None:
            if reference.get("optional"):
                return {}
            raise BadConfig(f'{kind} "{reference["name"]}" not found')
        data = downward.secret_data(obj) if kind == "secret" else obj.get("data") or {}
        return {f"{prefix}{key}": _text(value) for key, value in data.items()}
    return {}


def _value(pod: Object, container: Object, variable: Object, sources: Sources, so_far: Mapping[str, str]) -> str | None:
    origin = variable.get("valueFrom")
    if not origin:
        return expand(variable.get("value") or "", so_far)
    if "fieldRef" in origin:
        return downward.field(pod, origin["fieldRef"]["fieldPath"], sources.node)
    if "resourceFieldRef" in origin:
        return downward.resource(pod, container, origin["resourceFieldRef"], sources.node)
    if "configMapKeyRef" in origin:
        return _key("configmap", origin["configMapKeyRef"], sources.config_maps, pod)
    if "secretKeyRef" in origin:
        return _key("secret", origin["secretKeyRef"], sources.secrets, pod)
    raise BadConfig(f"environment variable {variable['name']}: unsupported valueFrom")


def _key(kind: str, reference: Object, objects: Mapping[str, Object | None], pod: Object) -> str | None:
    obj = objects.get(reference["name"])
    if obj is None:
        if reference.get("optional"):
            return None
        raise BadConfig(f'{kind} "{reference["name"]}" not found')
    data = downward.secret_data(obj) if kind == "secret" else obj.get("data") or {}
    if reference["key"] not in data:
        if reference.get("optional"):
            return None
        place = f"{pod['metadata'].get('namespace', '')}/{reference['name']}"
        title = "Secret" if kind == "secret" else "ConfigMap"
        raise BadConfig(f"couldn't find key {reference['key']} in {title} {place}")
    return _text(data[reference["key"]])


def _text(value: str | bytes) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """NAME_SERVICE_HOST and the Docker-link style variables of each Service of the namespace.

    default/kubernetes is always there, the others unless enableServiceLinks is false.
    """
    linked = pod["spec"].get("enableServiceLinks", True)
    chosen: dict[str, Object] = {}
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        if service["spec"].get("clusterIP") in (None, "", "None"):
            continue
        if namespace == pod["metadata"].get("namespace") and linked:
            chosen[name] = service
        elif namespace == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
    variables: dict[str, str] = {}
    for name in sorted(chosen):
        variables.update(_links(name, chosen[name]))
    return variables


def _links(name: str, service: Object) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    ip, ports = service["spec"]["clusterIP"], service["spec"].get("ports") or []
    if not ports:
        return {}
    variables = {f"{prefix}_SERVICE_HOST": ip, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    shown = f"[{ip}]" if ":" in ip else ip
    for index, port in enumerate(ports):
        protocol = (port.get("protocol") or "TCP").lower()
        url = f"{protocol}://{shown}:{port['port']}"
        if index == 0:
            variables[f"{prefix}_PORT"] = url
        each = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        variables.update({each: url, f"{each}_PROTO": protocol, f"{each}_PORT": str(port["port"]), f"{each}_ADDR": ip})
    return variables
