"""Admission policies of both kinds: what they match, and expressions that must compile."""

import re
from collections.abc import Iterator
from typing import Any

from pynetes.apis.admissionregistration import _validation
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_BREAK = re.compile(r"[\n\r]")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_ANNOTATIONS, _ANNOTATION_LENGTH = 20, 5 * 1024
_NOTHING = "validations or auditAnnotations must contain at least one item"


def _common(spec: Object, old: Object | None, environment: Any) -> Iterator[field.Error]:
    policy = spec.get("failurePolicy")
    if policy is None:
        yield field.required("spec.failurePolicy")
    elif policy not in _validation.FAILURE_POLICIES:
        yield field.not_supported("spec.failurePolicy", policy, _validation.FAILURE_POLICIES)
    if (kind := spec.get("paramKind")) is not None:
        yield from _param_kind(kind, "spec.paramKind")
    match = spec.get("matchConstraints")
    if match is None:
        yield field.required("spec.matchConstraints")
    else:
        yield from _validation.match_resources(match, "spec.matchConstraints")
        if not match.get("resourceRules"):
            yield field.required("spec.matchConstraints.resourceRules")
    before = (old or {}).get("spec") or {}
    known = old is not None and all(spec.get(name) == before.get(name) for name in ("paramKind", "matchConditions"))
    if not known:
        listed = spec.get("matchConditions") or ()
        yield from _validation.conditions(listed, "spec.matchConditions", environment.condition)
    for index, variable in enumerate(spec.get("variables") or ()):
        yield from _variable(variable, f"spec.variables[{index}]", environment)


def _param_kind(kind: Object, path: str) -> Iterator[field.Error]:
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    if not api_version:
        yield field.required(f"{path}.apiVersion")
    elif api_version.count("/") > 1:
        yield field.invalid(f"{path}.apiVersion", api_version, f"unexpected GroupVersion string: {api_version}")
    else:
        group, _, version = api_version.rpartition("/")
        if group and (problems := names.dns_subdomain(group)):
            yield field.invalid(f"{path}.apiVersion", group, ",".join(problems))
        if not version:
            yield field.invalid(f"{path}.apiVersion", api_version, "version must be specified")
        elif problems := names.dns1035_label(version):
            yield field.invalid(f"{path}.apiVersion", version, ",".join(problems))
    if not name:
        yield field.required(f"{path}.kind")
    elif problems := names.dns1035_label(name.lower()):
        text = "may have mixed case, but should otherwise match: " + ",".join(problems)
        yield field.invalid(f"{path}.kind", name, text)


def _variable(variable: Object, path: str, environment: Any) -> Iterator[field.Error]:
    name, expression = variable.get("name") or "", variable.get("expression") or ""
    if not name.strip():
        yield field.required(f"{path}.name", "name is not specified")
    elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
        yield field.invalid(f"{path}.name", name, "must be a valid CEL identifier")
    if not expression.strip():
        yield field.required(f"{path}.expression", "expression is not specified")
    else:
        yield from environment.check(expression, f"{path}.expression")
    if _IDENTIFIER.fullmatch(name) and name not in _RESERVED:
        environment.declare(name)


def validating(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A ValidatingAdmissionPolicy."""
    from pynetes.apis.admissionregistration import _expressions  # brings CEL, which not every server needs

    spec = new.get("spec") or {}
    environment = _expressions.Environment(params=spec.get("paramKind") is not None)
    yield from _common(spec, old, environment)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        for name in ("validations", "auditAnnotations"):
            yield field.required(f"spec.{name}", _NOTHING)
        return
    for index, each in enumerate(validations):
        yield from _validation_of(each, f"spec.validations[{index}]", environment)
    if len(annotations) > _ANNOTATIONS:
        text = f"must not have more than {_ANNOTATIONS} auditAnnotations"
        yield field.invalid("spec.auditAnnotations", list(annotations), text)
    seen: set[str] = set()
    for index, each in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{index}]", each.get("key") or ""
        yield from _annotation(each, path, new["metadata"].get("name") or "", environment)
        if key in seen:
            yield field.duplicate(f"{path}.key", key)
        seen.add(key)


def _validation_of(each: Object, path: str, environment: Any) -> Iterator[field.Error]:
    expression, message, told = (each.get(name) or "" for name in ("expression", "message", "messageExpression"))
    if not expression.strip():
        yield field.required(f"{path}.expression", "expression is not specified")
    else:
        yield from environment.check(expression, f"{path}.expression", ("bool",))
    if told and not told.strip():
        yield field.invalid(f"{path}.messageExpression", told, "must be non-empty if specified")
    elif told:
        yield from environment.check(told, f"{path}.messageExpression", ("string",), authorizer=False)
    if message and not message.strip():
        yield field.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif _BREAK.search(message.strip()):
        yield field.invalid(f"{path}.message", message, "message must not contain line breaks")
    if (reason := each.get("reason")) is not None and reason not in _REASONS:
        yield field.not_supported(f"{path}.reason", reason, _REASONS)


def _annotation(each: Object, path: str, policy: str, environment: Any) -> Iterator[field.Error]:
    key, expression = each.get("key") or "", each.get("valueExpression") or ""
    if policy:
        yield from validation.checked(f"{policy}/{key}", f"{path}.key", names.qualified_name)
    else:
        yield field.invalid(f"{path}.key", key, "requires metadata.name be non-empty")
    if not expression.strip():
        yield field.required(f"{path}.valueExpression", "valueExpression is not specified")
    elif len(expression.strip().encode()) > _ANNOTATION_LENGTH:
        yield field.required(f"{path}.valueExpression", f"must not exceed {_ANNOTATION_LENGTH} bytes in length")
    else:
        yield from environment.check(expression, f"{path}.valueExpression", ("string", "null_type"))


def validating_binding(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A ValidatingAdmissionPolicyBinding."""
    yield from _validation.binding(new, old)
    path, listed = "spec.validationActions", (new.get("spec") or {}).get("validationActions") or []
    seen: set[str] = set()
    for index, action in enumerate(listed):
        if action not in _ACTIONS:
            yield field.not_supported(f"{path}[{index}]", action, _ACTIONS)
        if action in seen:
            yield field.duplicate(f"{path}[{index}]", action)
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API"
            " response and headers serves no purpose)"
        )
        yield field.invalid(path, listed, text)
    if not seen:
        yield field.required(path, "at least one validation action is required")


def mutating(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A MutatingAdmissionPolicy."""
    from pynetes.apis.admissionregistration import _expressions  # brings CEL, which not every server needs

    spec = new.get("spec") or {}
    environment = _expressions.Environment(params=spec.get("paramKind") is not None)
    yield from _common(spec, old, environment)
    if not spec.get("mutations"):
        yield field.required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(spec.get("mutations") or ()):
        yield from _mutation(mutation, f"spec.mutations[{index}]", environment)
    policy = spec.get("reinvocationPolicy")
    if not policy:
        yield field.required("spec.reinvocationPolicy")
    elif policy not in _validation.REINVOCATION_POLICIES:
        yield field.not_supported("spec.reinvocationPolicy", policy, _validation.REINVOCATION_POLICIES)


def _mutation(mutation: Object, path: str, environment: Any) -> Iterator[field.Error]:
    kind = mutation.get("patchType") or ""
    if not kind:
        yield field.required(f"{path}.patchType")
        return
    if kind not in _PATCHES:
        yield field.not_supported(f"{path}.patchType", kind, tuple(_PATCHES))
        return
    for name, member in _PATCHES.items():
        given = mutation.get(member)
        if name != kind:
            if given is not None:
                yield field.forbidden(f"{path}.{member}", f"must not be set when patchType is {kind}")
        elif given is None:
            yield field.required(f"{path}.{member}", f"must be set when patchType is {kind}")
        elif not (expression := given.get("expression") or "").strip():
            yield field.required(f"{path}.{member}.expression", "expression is not specified")
        else:
            yield from environment.check_made(expression, f"{path}.{member}.expression", kind)
