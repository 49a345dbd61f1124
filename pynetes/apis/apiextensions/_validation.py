"""What a CustomResourceDefinition must be for its resource to be servable."""

from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, names
from pynetes.machinery.meta import Object

SCOPES = ("Cluster", "Namespaced")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Names, scope and versions; scope and group may not change, nor names once they are accepted."""
    spec = new.get("spec") or {}
    about = spec.get("names") or {}
    group, plural, name = spec.get("group") or "", about.get("plural") or "", new["metadata"].get("name") or ""
    if name != f"{plural}.{group}":
        yield field.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield field.required("spec.group")
    elif problems := names.dns_subdomain(group):
        yield field.invalid("spec.group", group, ",".join(problems))
    elif "." not in group:
        yield field.invalid("spec.group", group, "should be a domain with at least one dot")
    if not spec.get("scope"):
        yield field.required("spec.scope")
    elif spec["scope"] not in SCOPES:
        yield field.not_supported("spec.scope", spec["scope"], SCOPES)
    yield from _versions(spec.get("versions") or [])
    yield from _names(about)
    if old is not None:
        yield from _unchanged(spec, old.get("spec") or {})


def _versions(versions: list[Any]) -> Iterator[field.Error]:
    if not versions:
        yield field.invalid("spec.versions", None, "must have exactly one version marked as storage version")
        return
    named = [version.get("name") for version in versions]
    if len(set(named)) != len(named):
        yield field.invalid("spec.versions", named, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield field.invalid("spec.versions", named, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        for problem in names.dns1035_label(version.get("name") or ""):
            yield field.invalid(f"{path}.name", version.get("name") or "", problem)
        source = (version.get("schema") or {}).get("openAPIV3Schema")
        if source is None:
            yield field.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        elif source.get("type") != "object":
            root = f"{path}.schema.openAPIV3Schema.type"
            if source.get("type"):
                yield field.invalid(root, source["type"], "must be object at the root")
            else:
                yield field.required(root, "must not be empty at the root")


def _names(about: Object) -> Iterator[field.Error]:
    for name in ("plural", "singular", "kind", "listKind"):
        value = about.get(name) or ""
        if not value and name != "singular":
            yield field.required(f"spec.names.{name}")
            continue
        for problem in names.dns1035_label(value.lower()) if value else ():
            yield field.invalid(f"spec.names.{name}", value, problem)
    if about.get("kind") and about.get("kind") == about.get("listKind"):
        yield field.invalid("spec.names.listKind", about["listKind"], "kind and listKind may not be the same")


def _unchanged(spec: Object, before: Object) -> Iterator[field.Error]:
    for name in ("group", "scope"):
        if spec.get(name) != before.get(name):
            yield field.invalid(f"spec.{name}", spec.get(name), "field is immutable")
    for name in ("plural", "kind"):
        value, old = (spec.get("names") or {}).get(name), (before.get("names") or {}).get(name)
        if value != old:
            yield field.invalid(f"spec.names.{name}", value, "field is immutable")
