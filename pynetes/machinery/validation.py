"""What is checked of every object: metadata, immutable fields, label selectors, and small rules that many kinds share.

`validate` is the one entry: it gathers the mistakes of the metadata, of the schema, of immutable paths, and of the
kind's own hook, so that one answer names them all.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pynetes.machinery import field, names
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import Schema

_ANNOTATIONS_LIMIT = 256 * 1024
_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
_FIXED = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

Errors = Iterator[field.Error]


def validate(resource: Resource, schema: Schema, new: Object, old: Object | None) -> list[field.Error]:
    """Every mistake of a new object (old None) or of a change."""
    found = [*metadata(resource, new, old), *schema.validate(new)]
    if old is not None:
        found += immutable(resource.immutable, new, old)
    if resource.validate:
        found += resource.validate(new, old)
    return found


def metadata(resource: Resource, new: Object, old: Object | None) -> Errors:
    """Mistakes of metadata."""
    meta = new.get("metadata") or {}
    if old is None:
        yield from _name(resource, meta)
    if resource.namespaced and not meta.get("namespace"):
        yield field.required("metadata.namespace")
    yield from label_map(meta.get("labels"), "metadata.labels")
    yield from _annotations(meta.get("annotations"))
    yield from _owners(meta.get("ownerReferences"))
    yield from _finalizers(meta.get("finalizers"))
    if old is not None:
        before = old.get("metadata") or {}
        for name in _FIXED:
            if meta.get(name) != before.get(name):
                yield field.invalid(f"metadata.{name}", meta.get(name), "field is immutable")


def _name(resource: Resource, meta: Object) -> Errors:
    name, generated = meta.get("name") or "", meta.get("generateName") or ""
    if not name:
        yield field.required("metadata.name", "name or generateName is required")
        return
    if generated and resource.name_rule != "path-segment" and (texts := names.dns_label(f"{generated.rstrip('-')}")):
        yield from (field.invalid("metadata.generateName", generated, text) for text in texts if "consist" in text)
    rule = resource.name_rule
    if callable(rule):
        if text := rule(name):
            yield field.invalid("metadata.name", name, text)
        return
    yield from (field.invalid("metadata.name", name, text) for text in names.RULES[rule](name))


def label_map(labels: Any, path: str) -> Errors:
    """A map of labels: keys are qualified names, values label values."""
    for key, value in (labels or {}).items():
        yield from (field.invalid(path, key, text) for text in names.qualified_name(key))
        yield from (field.invalid(path, value, text) for text in names.label_value(value))


def _annotations(annotations: Any) -> Errors:
    size = 0
    for key, value in (annotations or {}).items():
        yield from (field.invalid("metadata.annotations", key, text) for text in names.qualified_name(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT:
        yield field.too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _owners(owners: Any) -> Errors:
    controllers = 0
    for owner in owners or ():
        group, slash, version = owner.get("apiVersion", "").rpartition("/")
        if not version:
            yield field.invalid("metadata.ownerReferences.apiVersion", owner["apiVersion"], "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield field.invalid(f"metadata.ownerReferences.{name}", owner.get(name, ""), "must not be empty")
        if owner.get("kind") == "Event" and (not slash or group == "events.k8s.io"):
            detail = f"{owner['apiVersion'] if slash else '/' + version}, Kind=Event is disallowed from being an owner"
            yield field.invalid("metadata.ownerReferences", owner, detail)
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        held = [f"{owner.get('kind')}/{owner.get('name')}" for owner in owners if owner.get("controller")]
        detail = (
            f'Only one reference can have Controller set to true. Found "true" in references for {" and ".join(held)}'
        )
        yield field.invalid("metadata.ownerReferences", owners, detail)


def _finalizers(finalizers: Any) -> Errors:
    for index, name in enumerate(finalizers or ()):
        if texts := names.qualified_name(name):
            yield from (field.invalid("metadata.finalizers", name, text) for text in texts)
        elif "/" not in name and name not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield field.invalid(f"metadata.finalizers[{index}]", name, detail)


def immutable(paths: Sequence[str], new: Object, old: Object) -> Errors:
    """Mistakes for each path (spec.selector) whose value changed."""
    for path in paths:
        before, after = _at(old, path), _at(new, path)
        if before != after:
            yield field.invalid(path, after, "field is immutable")


def _at(obj: Any, path: str) -> Any:
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


# --- rules that kinds share


def non_negative(value: Any, path: str) -> Errors:
    """A number from 0 up; None passes."""
    if isinstance(value, int) and value < 0:
        yield field.invalid(path, value, "must be greater than or equal to 0")


def one_of(value: Any, path: str, allowed: Sequence[str], *, optional: bool = False) -> Errors:
    """An enumeration; an empty value is a required one missing, unless optional."""
    if not value:
        if not optional:
            yield field.required(path)
    elif value not in allowed:
        yield field.not_supported(path, value, allowed)


def checked(value: str, path: str, rule: Callable[[str], list[str]]) -> Errors:
    """One error for each text that the name rule has."""
    yield from (field.invalid(path, value, text) for text in rule(value))


def label_selector(selector: Any, path: str) -> Errors:
    """A LabelSelector; None passes."""
    if selector is None:
        return
    yield from label_map(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        place = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values")
        if operator in ("In", "NotIn"):
            if not values:
                yield field.required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield field.forbidden(
                    f"{place}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            yield field.invalid(f"{place}.operator", operator, "not a valid selector operator")
        yield from checked(expression.get("key", ""), f"{place}.key", names.qualified_name)


def int_or_percent(value: Any, path: str) -> Errors:
    """A count from 0 up or a percentage; None passes."""
    if isinstance(value, str):
        yield from checked(value, path, names.percent)
    else:
        yield from non_negative(value, path)


def at_most_hundred_percent(value: Any, path: str) -> Errors:
    """Not above 100%."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) > 100:
        yield field.invalid(path, value, "must not be greater than 100%")


def port(value: Any, path: str) -> Errors:
    """A port by number or name."""
    if isinstance(value, int):
        yield from (field.invalid(path, value, text) for text in names.port_number(value))
    else:
        yield from checked(value, path, names.port_name)
