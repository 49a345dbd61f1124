"""Gathers every mistake of an object about to be stored: metadata, schema, the record's own rules, immutable fields."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints import decode, objectmeta
from pynetes.machinery import errors, field, schema
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import gotext
from pynetes.machinery.schema.custom import CustomSchema

#: Kinds whose own validation of an update looks at the spec and not at the metadata again.
_SPEC_ONLY = frozenset(
    {
        "cronjobs",
        "csidrivers",
        "csinodes",
        "daemonsets",
        "deployments",
        "horizontalpodautoscalers",
        "ipaddresses",
        "jobs",
        "leases",
        "namespaces",
        "networkpolicies",
        "nodes",
        "poddisruptionbudgets",
        "podtemplates",
        "priorityclasses",
        "replicasets",
        "replicationcontrollers",
        "resourcequotas",
        "servicecidrs",
        "statefulsets",
        "storageclasses",
    }
)

#: A kind of which nothing is known.
_ANY = Resource(group="", versions=("v1",), kind="", plural="", name_rule="path-segment")


def on_create(scope: Scope, obj: Object) -> None:
    """Raises StatusError 422 with all causes."""
    resource = scope.resource
    _check_custom_kind(scope, obj)
    problems = list(objectmeta.validate(resource, obj))
    problems += _by_schema(scope, obj, None, [])
    if resource.validate is not None:
        problems += resource.validate(obj, None)
    fail(scope, obj, problems)


def on_update(scope: Scope, new: Object, old: Object, warnings: list[str]) -> None:
    """The same for an update of everything but status; warnings are added to. Raises StatusError 422."""
    resource = scope.resource
    _check_custom_kind(scope, new)
    problems = _metadata_problems(scope, new, old)
    problems += _by_schema(scope, new, old, warnings)
    problems += immutable_problems(scope, new, old)
    if resource.validate is not None:
        problems += resource.validate(new, old)
    fail(scope, new, problems)


def _metadata_problems(scope: Scope, new: Object, old: Object) -> list[field.Error]:
    """Upstream checks metadata once for every kind and again for each; a client sees each mistake as often."""
    resource = scope.resource
    alone = list(objectmeta.validate(resource, new, generic=True))
    change = list(objectmeta.validate_update(new, old))
    spec_only = resource.schema is not None or resource.plural in _SPEC_ONLY
    again = [] if spec_only else list(objectmeta.validate(resource, new))
    return [*alone, *change, *change, *again]


def on_status(scope: Scope, new: Object, old: Object, warnings: list[str]) -> None:
    """The same for an update of status. Raises StatusError 422."""
    resource = scope.resource
    _check_custom_kind(scope, new)
    problems = list(objectmeta.validate_update(new, old))
    problems += _by_schema(scope, new, old, warnings, status=True)
    if resource.validate_status is not None:
        problems += resource.validate_status(new, old)
    fail(scope, new, problems)


def on_part(
    scope: Scope, new: Object, old: Object, problems: Callable[[Object, Object], Iterator[field.Error]]
) -> None:
    """The same for an update of a part that has a subresource of its own. Raises StatusError 422."""
    found = [*objectmeta.validate_update(new, old), *problems(new, old)]
    fail(scope, new, found)


def _by_schema(
    scope: Scope, new: Object, old: Object | None, warnings: list[str], *, status: bool = False
) -> Iterator[field.Error]:
    found = schema.of(scope.resource, scope.version)
    if isinstance(found, CustomSchema):
        return found.validate(new, old, warnings, metadata=_embedded_metadata, status=status)
    return found.validate(new)


def _check_custom_kind(scope: Scope, obj: Object) -> None:
    if not scope.built_in:
        decode.check_custom_kind(obj, scope)


def _embedded_metadata(metadata: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    """What is wrong with the metadata of an object within a custom resource, whose kind may be any."""
    about = replace(_ANY, namespaced=bool(metadata.get("namespace")))
    for error in objectmeta.validate(about, {"metadata": {**metadata, "name": metadata.get("name") or "fakename"}}):
        yield error._replace(path=path + error.path.removeprefix("metadata"))


def immutable_problems(scope: Scope, new: Object, old: Object) -> Iterator[field.Error]:
    """Fields that the record declares immutable and the update changes."""
    for path in scope.resource.immutable:
        after = at(new, path)
        if after != at(old, path):
            yield field.invalid(path, _printed(scope, path, after), "field is immutable")


def _printed(scope: Scope, path: str, value: Any) -> Any:
    if scope.resource.schema is not None or not isinstance(value, dict | list):
        return value
    type_ = schema.of(scope.resource, scope.version).type
    for step in path.split("."):
        type_ = type_.fields[step].type
    return gotext.shown(type_, value)


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, None when absent."""
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def fail(scope: Scope, obj: Object, problems: list[field.Error]) -> None:
    """Raise if there are any."""
    if problems:
        name = obj["metadata"].get("name") or obj["metadata"].get("generateName") or ""
        resource = scope.resource
        # Both kinds of Event are core's, once they are decoded.
        group = resource.group if resource.storage_group is None else resource.storage_group
        raise errors.invalid(resource.kind, group, name, problems)
