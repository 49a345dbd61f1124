"""The roles and bindings that every cluster begins with, and their reconciliation when an API server starts.

bootstrap.yaml has them in one line per rule; here they become objects. An administrator may add to them, and may keep
one from being repaired with the annotation rbac.authorization.kubernetes.io/autoupdate: "false".
"""

import asyncio
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import yaml

from pynetes.apis.rbac import clusterrolebindings, clusterroles, rolebindings, roles
from pynetes.apiserver.authz import rules
from pynetes.apiserver.objects import Objects
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource

GROUP = "rbac.authorization.k8s.io"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"

#: Roles before the bindings that name them.
SECTIONS = (
    ("clusterroles", clusterroles.RESOURCE),
    ("clusterrolebindings", clusterrolebindings.RESOURCE),
    ("roles", roles.RESOURCE),
    ("rolebindings", rolebindings.RESOURCE),
)


@cache
def _data() -> Any:
    text = resources.files(__package__).joinpath("bootstrap.yaml").read_text()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def policy() -> Iterator[tuple[Resource, Object]]:
    """Every object, complete but for what storage adds."""
    for section, resource in SECTIONS:
        for name, described in _data()[section].items():
            yield resource, _object(resource, name, described)


def _object(resource: Resource, name: str, described: Any) -> Object:
    namespace, _, name = name.rpartition("/")
    metadata: Object = {"name": name, "labels": dict(LABELS), "annotations": {AUTOUPDATE: "true"}}
    if namespace:
        metadata["namespace"] = namespace
    obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    if isinstance(described, list):
        role, *subjects = described
        kind, role_name = role.split(" ")
        obj["subjects"] = [_subject(subject) for subject in subjects]
        obj["roleRef"] = {"apiGroup": GROUP, "kind": kind, "name": role_name}
        if not subjects:
            del obj["subjects"]
        return obj
    described = described or {}
    metadata["labels"] |= {f"{GROUP}/aggregate-to-{to}": "true" for to in described.get("aggregate-to", ())}
    obj["rules"] = [_rule(text) for text in described.get("rules", ())] or None
    if "aggregates" in described:
        label = {f"{GROUP}/aggregate-to-{described['aggregates']}": "true"}
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": label}]}
    return obj


def _subject(text: str) -> Object:
    kind, name = text.split(" ")
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"apiGroup": GROUP, "kind": kind, "name": name}


def _rule(text: str) -> Object:
    verbs, *rest = text.split(" ")
    rule: Object = {"verbs": verbs.split(",")}
    if len(rest) == 1:
        return rule | {"nonResourceURLs": rest[0].split(",")}
    rule["apiGroups"] = ["" if group == "core" else group for group in rest[0].split("+")]
    rule["resources"] = rest[1].split(",")
    if len(rest) > 2:
        rule["resourceNames"] = rest[2].removeprefix("=").split(",")
    return rule


async def reconcile(objects: Objects) -> list[str]:
    """Create what is missing, give back what was taken from the rest; says what was done.

    Several API servers may do this at once. Needs the namespaces kube-system and kube-public."""
    done: list[str] = []
    for _, resource in SECTIONS:
        # One store round trip each, so they go out together; roles are there before the bindings that name them.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_ensure(objects, kind, obj)) for kind, obj in policy() if kind is resource]
        done += [text for task in tasks if (text := task.result())]
    return done


async def _ensure(objects: Objects, resource: Resource, wanted: Object) -> str:
    key = key_of(wanted)
    found = objects.get(resource, key)
    if found is None:
        try:
            await objects.create(resource, wanted)
            return f"created {resource.plural} {key}"
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        await objects.fresh(resource)
        found = objects.get(resource, key)
    if found is None or repaired(found, wanted) is None:
        return ""
    return await _repair(objects, resource, key, wanted)


async def _repair(objects: Objects, resource: Resource, key: Key, wanted: Object) -> str:
    current = objects.get(resource, key) or {}
    if "roleRef" in wanted and current.get("roleRef") != wanted["roleRef"]:
        # A binding cannot be pointed elsewhere, only made again.
        await objects.delete(resource, key)
        await objects.create(resource, wanted)
        return f"recreated {resource.plural} {key}"
    await objects.update(resource, key, lambda obj: repaired(obj, wanted) or obj)
    return f"repaired {resource.plural} {key}"


def repaired(found: Object, wanted: Object) -> Object | None:
    """`found` with all that `wanted` has; None if nothing is missing or it is exempt. Additions of others stay."""
    metadata = found["metadata"]
    if (metadata.get("annotations") or {}).get(AUTOUPDATE) == "false":
        return None
    new = {**found, "metadata": dict(metadata)}
    for field in ("labels", "annotations"):
        new["metadata"][field] = {**(metadata.get(field) or {}), **wanted["metadata"][field]}
    if "roleRef" in wanted:
        held = found.get("subjects") or []
        new["subjects"] = held + [subject for subject in wanted.get("subjects") or () if subject not in held]
        new["roleRef"] = wanted["roleRef"]
        if not new["subjects"]:
            del new["subjects"]
    elif "aggregationRule" in wanted:
        new["aggregationRule"] = wanted["aggregationRule"]
    else:
        lacking = rules.missing(rules.compile_rules(found.get("rules")), wanted["rules"] or ())
        if lacking:
            new["rules"] = [*(found.get("rules") or ()), *lacking]
    return new if new != found else None
