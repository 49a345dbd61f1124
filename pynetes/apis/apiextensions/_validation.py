"""What a CustomResourceDefinition must be for its resource to be servable.

Upstream validates its internal form, where what all versions have in common stands once, above them; its paths do too.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from pynetes.apis.apiextensions import _approval, _structural
from pynetes.machinery import field, names, webhooks
from pynetes.machinery.meta import Object

SCOPES = ("Cluster", "Namespaced")
_STRATEGIES = ("None", "Webhook")
_ONE_STORAGE = "must have exactly one version marked as storage version"
_PRESERVING = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_TOKEN = re.compile(r"([.\[\]])")
_SELECTABLE_LIMIT, _WARNING_LIMIT = 8, 256


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Names, scope, versions, schemas; scope and group may not change, nor names once they are accepted."""
    yield from sorted(_all(new, old), key=lambda error: error.path != "metadata.name")


def _all(new: Object, old: Object | None) -> Iterator[field.Error]:
    spec = new.get("spec") or {}
    about = spec.get("names") or {}
    group, plural, name = spec.get("group") or "", about.get("plural") or "", new["metadata"].get("name") or ""
    if old is None and name != f"{plural}.{group}":
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
    yield from _versions(spec.get("versions") or [], _schemas(old))
    yield from _names(about)
    yield from _conversion(spec.get("conversion") or {})
    yield from _stored_versions(new, spec)
    yield from _approval.validate(new, old)
    if spec.get("preserveUnknownFields") and not ((old or {}).get("spec") or {}).get("preserveUnknownFields"):
        yield field.invalid("spec.preserveUnknownFields", True, _PRESERVING)
    if old is not None:
        yield from _unchanged(new, old)


def _schemas(old: Object | None) -> dict[str, Any]:
    """What the versions had for schemas before an update."""
    versions = ((old or {}).get("spec") or {}).get("versions") or ()
    return {version.get("name") or "": version.get("schema") for version in versions}


def _versions(versions: list[Any], before: dict[str, Any]) -> Iterator[field.Error]:
    shown = [_internal(version) for version in versions] or None
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield field.invalid("spec.versions", shown, _ONE_STORAGE)
    named = [version.get("name") for version in versions]
    if len(set(named)) != len(named):
        yield field.invalid("spec.versions", shown, "must contain unique version names")
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name") or ""
        if problems := names.dns1035_label(name):
            yield field.invalid(f"{path}.name", name, ",".join(problems))
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield field.required(f"{path}.schema.openAPIV3Schema")
        yield from _deprecation(version, f"{path}.deprecationWarning")
    yield from _parts(versions, before)


def _deprecation(version: Object, path: str) -> Iterator[field.Error]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield field.invalid(path, warning, "can only be set for deprecated versions")
        return
    if len(warning.encode()) > _WARNING_LIMIT:
        yield field.invalid(path, warning, f"must be <= {_WARNING_LIMIT} characters long")
    if not warning:
        yield field.invalid(path, warning, "must not be an empty string")
    at = next((index for index, each in enumerate(warning) if not each.isprintable()), None)
    if at is not None:
        found = len(warning[:at].encode())
        text = f"must only contain printable UTF-8 characters; non-printable character found at index {found}"
        yield field.invalid(path, warning, text)


def _internal(version: Object) -> Object:
    """A version as upstream's internal type shows it, what is common taken out."""
    return {
        "Name": version.get("name") or "",
        "Served": bool(version.get("served")),
        "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None,
        "Subresources": None,
        "AdditionalPrinterColumns": None,
        "SelectableFields": None,
    }


def _common(versions: list[Any], name: str) -> bool:
    return len({orjson.dumps(version.get(name), option=orjson.OPT_SORT_KEYS) for version in versions}) == 1


def _each(versions: list[Any], name: str) -> Iterator[tuple[str, Object]]:
    """The place of a part of versions, and a version that has it."""
    if versions and _common(versions, name):
        yield "spec", versions[0]
        return
    for index, version in enumerate(versions):
        yield f"spec.versions[{index}]", version


def _parts(versions: list[Any], before: dict[str, Any]) -> Iterator[field.Error]:
    for path, version in _each(versions, "schema"):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is not None:
            place = "validation" if path == "spec" else "schema"
            unchanged = before.get(version.get("name") or "") == version["schema"]
            yield from _structural.problems(schema, f"{path}.{place}.openAPIV3Schema", unchanged=unchanged)
    for path, version in _each(versions, "subresources"):
        if scale := (version.get("subresources") or {}).get("scale"):
            yield from _scale(scale, f"{path}.subresources.scale")
    for path, version in _each(versions, "additionalPrinterColumns"):
        for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
            yield from _column(column, f"{path}.additionalPrinterColumns[{index}]")
    for path, version in _each(versions, "selectableFields"):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        fields = version.get("selectableFields") or ()
        seen: set[str] = set()
        for index, each in enumerate(fields):
            yield from _selectable(
                each.get("jsonPath") or "", schema, f"{path}.selectableFields[{index}].jsonPath", seen
            )
        if len(seen) > _SELECTABLE_LIMIT:
            yield field.too_many(f"{path}.selectableFields", len(seen), _SELECTABLE_LIMIT)


def _scale(scale: Object, path: str) -> Iterator[field.Error]:
    for name, root in (
        ("specReplicasPath", (".spec",)),
        ("statusReplicasPath", (".status",)),
        ("labelSelectorPath", (".spec", ".status")),
    ):
        value = scale.get(name) or ""
        if not value:
            if name != "labelSelectorPath":
                yield field.required(f"{path}.{name}")
        elif not value.startswith("."):
            yield field.invalid(f"{path}.{name}", value, "must be a simple json path starting with .")
        elif not any(value.startswith(f"{each}.") for each in root):
            where = root[0] if len(root) == 1 else f"either {' or '.join(root)}"
            yield field.invalid(f"{path}.{name}", value, f"should be a json path under {where}")


def _column(column: Object, path: str) -> Iterator[field.Error]:
    if not column.get("name"):
        yield field.required(f"{path}.name")
    if not column.get("type"):
        yield field.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif column["type"] not in _COLUMN_TYPES:
        yield field.invalid(f"{path}.type", column["type"], f"must be one of {','.join(_COLUMN_TYPES)}")
    if (form := column.get("format")) and form not in _COLUMN_FORMATS:
        yield field.invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not (json_path := column.get("jsonPath")):
        yield field.required(f"{path}.JSONPath")
    elif not json_path.startswith("."):
        yield field.invalid(f"{path}.JSONPath", json_path, "must be a simple json path starting with .")


def _selectable(json_path: str, schema: Object, path: str, seen: set[str]) -> Iterator[field.Error]:
    if not json_path:
        yield field.required(path)
        return
    found, wrong = _at(schema, json_path)
    if wrong:
        yield field.invalid(path, json_path, f"is an invalid path: {wrong}")
        return
    if json_path.split(".")[1] == "metadata":
        yield field.invalid(path, json_path, "must not point to fields in metadata")
    if found.get("type") not in ("string", "boolean", "integer"):
        text = "must point to a field of type string, boolean or integer."
        yield field.invalid(path, json_path, f"{text} Enum string fields and strings with formats are allowed.")
    if json_path in seen:
        yield field.duplicate(path, json_path)
    seen.add(json_path)


def _at(schema: Object, json_path: str) -> tuple[Object, str]:
    """The schema of a field (.spec.color), and what is wrong with the path."""
    tokens = [token for token in _TOKEN.split(json_path) if token]
    node: Any = schema
    while tokens:
        token = tokens.pop(0)
        if token == "[":
            return {}, "array notation is not allowed"
        if token != ".":
            return {}, f"expected [ or . but got: {token}"
        if not tokens:
            return {}, "unexpected end of JSON path"
        name, extra = tokens.pop(0), node.get("additionalProperties")
        named = node.get("properties") is not None
        node = node["properties"].get(name) if named else extra
        if not isinstance(node, dict):
            return {}, "does not refer to a valid field"
    return node, ""


def _names(about: Object) -> Iterator[field.Error]:
    plural, singular, kind = (about.get(name) or "" for name in ("plural", "singular", "kind"))
    list_kind = about.get("listKind") or ""
    for name, value in (("plural", plural), ("singular", singular), ("kind", kind), ("listKind", list_kind)):
        path = f"spec.names.{name}"
        if not value:
            yield field.required(path)
            continue
        mixed = name in ("kind", "listKind")
        if problems := names.dns1035_label(value.lower() if mixed else value):
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            yield field.invalid(path, value, prefix + ",".join(problems))
    for name in ("shortNames", "categories"):
        for index, value in enumerate(about.get(name) or ()):
            if problems := names.dns1035_label(value):
                yield field.invalid(f"spec.names.{name}[{index}]", value, ",".join(problems))
    if kind and kind == list_kind:
        yield field.invalid("spec.names.listKind", list_kind, "kind and listKind may not be the same")


def _conversion(conversion: Object) -> Iterator[field.Error]:
    strategy, path = conversion.get("strategy") or "", "spec.conversion"
    webhook = conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions")
    if strategy not in _STRATEGIES:
        if not strategy:
            yield field.required(f"{path}.strategy")
        else:
            yield field.not_supported(f"{path}.strategy", strategy, _STRATEGIES)
        return
    if strategy == "None":
        for name, value in (("webhookClientConfig", config), ("conversionReviewVersions", versions)):
            if value:
                yield field.forbidden(f"{path}.{name}", "should not be set when strategy is not set to Webhook")
        return
    if config is None:
        yield field.required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
    else:
        yield from webhooks.client_config(config, f"{path}.webhookClientConfig")
    yield from webhooks.review_versions(versions or [], f"{path}.conversionReviewVersions")


def _stored_versions(new: Object, spec: Object) -> Iterator[field.Error]:
    stored = (new.get("status") or {}).get("storedVersions") or []
    if not stored:
        yield field.invalid("status.storedVersions", None, "must have at least one stored version")
        return
    known = [version.get("name") for version in spec.get("versions") or ()]
    for index, name in enumerate(stored):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from"
                " status.storedVersions"
            )
            yield field.invalid(f"status.storedVersions[{index}]", name, text)


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    conditions = (old.get("status") or {}).get("conditions") or ()
    established = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
    if established and spec.get("scope") != before.get("scope"):
        yield field.invalid("spec.scope", spec.get("scope"), "field is immutable")
    if established:
        value, was = (spec.get("names") or {}).get("kind"), (before.get("names") or {}).get("kind")
        if value != was:
            yield field.invalid("spec.names.kind", value, "field is immutable")
    if spec.get("group") != before.get("group"):
        yield field.invalid("spec.group", spec.get("group"), "field is immutable")
    value, was = (spec.get("names") or {}).get("plural"), (before.get("names") or {}).get("plural")
    if value != was:
        yield field.invalid("spec.names.plural", value, "field is immutable")
