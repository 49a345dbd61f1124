"""Versions of a CustomResourceDefinition: names, schemas, subresources, columns, fields to select by."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pynetes.apis.apiextensions import _internal, _structural
from pynetes.machinery import field, go_print, names
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import fieldpath

_ONE_STORAGE = "must have exactly one version marked as storage version"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_LIMIT, _WARNING_LIMIT = 8, 256
#: What a root schema may have beside a status subresource: whatever else it says would not hold for the status alone.
_AT_ROOT = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
    "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
    "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
_WITH_STATUS = "of the schema if the status subresource is enabled"


def problems(spec: Object, old: Object | None, between: Callable[[], Iterable[field.Error]]) -> Iterator[field.Error]:
    """In upstream's order: versions, what is said `between` (of names), then what all versions share."""
    versions = spec.get("versions") or []
    common, rest = _internal.parts(versions)
    before = _schemas(old)
    for index, version in enumerate(versions):
        if _schema(version) is None:
            yield field.required(f"spec.versions[{index}].schema.openAPIV3Schema")
    if spec.get("preserveUnknownFields") and any(map(_has_defaults, versions)):
        yield field.invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
    for index, (version, own) in enumerate(zip(versions, rest, strict=True)):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        if wrong := names.dns1035_label(name):
            yield field.invalid(f"{path}.name", name, ",".join(wrong))
        yield from _deprecation(version, f"{path}.deprecationWarning")
        unchanged = name in before and before[name] == version.get("schema")
        yield from _parts(own, path, status=_status(version), unchanged=unchanged)
    shown = _internal.versions(rest)
    if len({version.get("name") for version in versions}) != len(versions):
        yield _quoted("must contain unique version names", shown)
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield _quoted(_ONE_STORAGE, shown)
    yield from between()
    first = (versions[0].get("name") or "") if versions else ""
    unchanged = first in before and before[first] == common.get("schema")
    yield from _parts(common, "spec", status=any(map(_status, versions)), unchanged=unchanged)


def _quoted(detail: str, shown: Any, path: str = "spec.versions") -> field.Error:
    """A mistake that quotes an internal form."""
    text = go_print.json(shown, ordered=True)
    return field.Error("FieldValueInvalid", path, f"Invalid value: {text}: {detail}")


def _schemas(old: Object | None) -> dict[str, Any]:
    """What the versions had for schemas before an update."""
    versions = ((old or {}).get("spec") or {}).get("versions") or ()
    return {version.get("name") or "": version.get("schema") for version in versions}


def _schema(part: Object) -> Any:
    return (part.get("schema") or {}).get("openAPIV3Schema")


def _status(version: Object) -> bool:
    return (version.get("subresources") or {}).get("status") is not None


def _has_defaults(version: Object) -> bool:
    def has(schema: Any) -> bool:
        if isinstance(schema, list):
            return any(map(has, schema))
        return isinstance(schema, dict) and ("default" in schema or any(map(has, schema.values())))

    return has(_schema(version))


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


def _parts(part: Object, path: str, *, status: bool, unchanged: bool) -> Iterator[field.Error]:
    """Members of one version, or of all together."""
    schema = _schema(part)
    if schema is not None:
        place = f"{path}.{'validation' if path == 'spec' else 'schema'}.openAPIV3Schema"
        if status:
            yield from _beside_status(schema, place)
        yield from _structural.problems(schema, place, unchanged=unchanged)
    if scale := (part.get("subresources") or {}).get("scale"):
        yield from _scale(scale, f"{path}.subresources.scale")
    for index, column in enumerate(part.get("additionalPrinterColumns") or ()):
        yield from _column(column, f"{path}.additionalPrinterColumns[{index}]")
    if fields := part.get("selectableFields"):
        if part.get("schema") is not None:
            yield from _selectables(fields, schema or {}, f"{path}.selectableFields")
        elif path == "spec":
            text = "may only be set when validations.schema is included"
            yield field.invalid(f"{path}.selectableFields", "", text)
        else:
            # Upstream says the opposite of what it means.
            text = "may only be set when `version.schema.openAPIV3Schema` is not included"
            yield field.invalid(f"{path}.selectableFields", "", text)


def _beside_status(schema: Object, path: str) -> Iterator[field.Error]:
    for name in _internal.set_members(schema):
        if name == "Type" and schema["type"] != "object":
            text = f'only "object" is allowed as the type at the root {_WITH_STATUS}'
            yield field.invalid(f"{path}.type", schema["type"], text)
            return
        if name not in _AT_ROOT:
            text = f"only [{' '.join(_AT_ROOT)}] fields are allowed at the root {_WITH_STATUS}"
            yield _quoted(text, _internal.described(schema), path)
            return


def _selectables(fields: Sequence[Object], schema: Object, path: str) -> Iterator[field.Error]:
    seen: set[str] = set()
    for index, each in enumerate(fields):
        yield from _selectable(each.get("jsonPath") or "", schema, f"{path}[{index}].jsonPath", seen)
    if len(seen) > _SELECTABLE_LIMIT:
        yield field.too_many(path, len(seen), _SELECTABLE_LIMIT)


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
    try:
        found = fieldpath.resolve(schema, json_path, brackets=False)
    except ValueError as error:
        yield field.invalid(path, json_path, f"is an invalid path: {error}")
        return
    if re.split(r"[.\[]", found.path)[0] == "metadata":
        yield field.invalid(path, json_path, "must not point to fields in metadata")
    if found.schema.get("type") not in ("string", "boolean", "integer"):
        text = "must point to a field of type string, boolean or integer."
        yield field.invalid(path, json_path, f"{text} Enum string fields and strings with formats are allowed.")
    if json_path in seen:
        yield field.duplicate(path, json_path)
    seen.add(json_path)
