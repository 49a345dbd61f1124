"""Which resources there are: from discovery once, and of custom resources as they come and go."""

from collections.abc import Iterator
from typing import Any

import orjson

from pynetes import apis
from pynetes.client.rest import Client
from pynetes.controllers import _conditions as conditions
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, is_deleting
from pynetes.machinery.resource import Resource

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
#: Kinds that are served in two groups, and the group whose copy is the other's echo.
_ECHOES = frozenset((("events.k8s.io", "events"),))
#: Groups whose objects are measurements: nobody can delete them, so not knowing them holds no namespace back.
_MEASUREMENTS = frozenset(("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"))


async def discover(client: Client) -> tuple[list[Resource], list[str]]:
    """Every resource of the API server in its preferred version, and the groups that could not be discovered."""
    found: dict[tuple[str, str], Resource] = {}
    failed: list[str] = []
    for path in ("/api", "/apis"):
        answer = await client.request("GET", path, accept=_AGGREGATED)
        for group in orjson.loads(answer.body).get("items") or ():
            name = (group.get("metadata") or {}).get("name") or ""
            for version in group.get("versions") or ():
                if version.get("freshness") == "Stale" and name not in _MEASUREMENTS:
                    failed.append(f"{name}/{version['version']}")
                for entry in version.get("resources") or ():
                    found.setdefault((name, entry["resource"]), _record(name, version["version"], entry))
    return [resource for name, resource in found.items() if name not in _ECHOES], failed


def _record(group: str, version: str, entry: Any) -> Resource:
    kind = (entry.get("responseKind") or {}).get("kind") or ""
    builtin = apis.find(group, entry["resource"])
    if builtin is not None and version in builtin.versions:
        return builtin
    return Resource(
        group=group,
        versions=(version,),
        kind=kind,
        plural=entry["resource"],
        namespaced=entry.get("scope") == "Namespaced",
        verbs=tuple(entry.get("verbs") or ()),
    )


def custom(definition: Object) -> Resource | None:
    """The resource that a CustomResourceDefinition defines; None while it is not served."""
    if is_deleting(definition) or not conditions.is_true(definition, "Established"):
        return None
    spec = definition["spec"]
    versions = tuple(version["name"] for version in spec.get("versions") or () if version.get("served"))
    if not versions:
        return None
    return Resource(
        group=spec["group"],
        versions=versions,
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        namespaced=spec.get("scope") == "Namespaced",
    )


def builtin() -> Iterator[Resource]:
    """The built-in kinds whose objects can be listed, watched and deleted, each once."""
    for resource in apis.load():
        usable = resource.stored and {"list", "watch", "delete"} <= set(resource.verbs)
        if usable and (resource.group, resource.plural) not in _ECHOES:
            yield resource


def is_absent(error: StatusError) -> bool:
    """Whether an object or a whole resource is not there."""
    return error.code in (404, 405)
