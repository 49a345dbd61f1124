"""What webhooks and policies must be alike: rules, selectors, conditions, in upstream's order and words."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pynetes.machinery import field, names, validation, webhooks
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

FAILURE_POLICIES = ("Fail", "Ignore")
REINVOCATION_POLICIES = ("IfNeeded", "Never")
_MATCH_POLICIES = ("Equivalent", "Exact")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_LONGEST_WAIT, _CONDITIONS = 30, 64
_SEGMENTS = 3
_STATIC = ".static.k8s.io"


def reserved(new: Object, _: Object | None) -> list[str]:
    """Warns of the names that configuration in files has."""
    if not new["metadata"].get("name", "").endswith(_STATIC):
        return []
    return [
        f'metadata.name: names ending with "{_STATIC}" are reserved for static manifest-based configurations and '
        "cannot be managed via the API"
    ]


def webhook_configuration(new: Object, old: Object | None, *, mutating: bool) -> Errors:
    """Every webhook of a configuration; what was allowed once is not held against an update."""
    before = (old or {}).get("webhooks") or []
    hooks, seen = new.get("webhooks") or [], set()
    same = [hook.get("matchConditions") for hook in hooks] == [hook.get("matchConditions") for hook in before]
    for index, hook in enumerate(hooks):
        path, name = f"webhooks[{index}]", hook.get("name") or ""
        yield from _webhook(hook, path, mutating=mutating, conditions_known=same and old is not None)
        must = f"must specify one of {', '.join(webhooks.REVIEW_VERSIONS)}"
        versions = hook.get("admissionReviewVersions") or []
        yield from webhooks.review_versions(versions, f"{path}.admissionReviewVersions", required=must)
        if name and name in seen:
            yield field.duplicate(f"{path}.name", name)
        seen.add(name)


def _webhook(hook: Object, path: str, *, mutating: bool, conditions_known: bool) -> Errors:
    yield from _full_name(hook.get("name") or "", f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        yield from _rule(rule, f"{path}.rules[{index}]")
    yield from _known(hook.get("failurePolicy"), f"{path}.failurePolicy", FAILURE_POLICIES)
    yield from _known(hook.get("matchPolicy"), f"{path}.matchPolicy", _MATCH_POLICIES)
    if hook.get("sideEffects") is None:
        yield field.required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    yield from _known(hook.get("sideEffects"), f"{path}.sideEffects", _SIDE_EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _LONGEST_WAIT:
        text = f"the timeout value must be between 1 and {_LONGEST_WAIT} seconds"
        yield field.invalid(f"{path}.timeoutSeconds", seconds, text)
    for name in ("namespaceSelector", "objectSelector"):
        yield from validation.label_selector(hook.get(name), f"{path}.{name}")
    if mutating:
        yield from _known(hook.get("reinvocationPolicy"), f"{path}.reinvocationPolicy", REINVOCATION_POLICIES)
    yield from webhooks.client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    if not conditions_known and hook.get("matchConditions"):
        from pynetes.apis.admissionregistration import _expressions  # brings CEL, which not every server needs

        check = _expressions.Environment(params=False).condition
        yield from conditions(hook["matchConditions"], f"{path}.matchConditions", check)


def _full_name(name: str, path: str) -> Errors:
    if not name:
        yield field.required(path)
    elif problems := names.dns_subdomain(name):
        yield field.invalid(path, name, ",".join(problems))
    elif name.count(".") < _SEGMENTS - 1:
        yield field.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _known(value: Any, path: str, choices: Sequence[str]) -> Errors:
    if value is not None and value not in choices:
        yield field.not_supported(path, value, choices)


def _rule(rule: Object, path: str) -> Errors:
    operations = rule.get("operations") or []
    if not operations:
        yield field.required(f"{path}.operations")
    if len(operations) > 1 and "*" in operations:
        yield field.invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
    for index, operation in enumerate(operations):
        yield from _known(operation, f"{path}.operations[{index}]", _OPERATIONS)
    for name, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        listed = rule.get(name) or []
        if not listed:
            yield field.required(f"{path}.{name}")
        if len(listed) > 1 and "*" in listed:
            yield field.invalid(f"{path}.{name}", listed, f"if '*' is present, must not specify other {what}")
    for index, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            yield field.required(f"{path}.apiVersions[{index}]")
    yield from _resources(rule.get("resources") or [], f"{path}.resources")
    yield from _known(rule.get("scope"), f"{path}.scope", _SCOPES)


def _resources(resources: list[str], path: str) -> Errors:
    if not resources:
        yield field.required(path)
    all_of: set[str] = set()
    everywhere: set[str] = set()
    plain = False
    for index, text in enumerate(resources):
        if not text:
            yield field.required(f"{path}[{index}]")
            continue
        resource, slash, subresource = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        for known, part, shape in ((all_of, resource, f"{resource}/*"), (everywhere, subresource, f"*/{subresource}")):
            if part in known:
                yield field.invalid(f"{path}[{index}]", text, f"if '{shape}' is present, must not specify {text}")
        if subresource == "*":
            all_of.add(resource)
        if resource == "*":
            everywhere.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        yield field.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and plain:
        text = "if '*' is present, must not specify other resources without subresources"
        yield field.invalid(path, resources, text)


def match_resources(match: Object | None, path: str) -> Errors:
    """What a policy or a binding is for; None passes."""
    if match is None:
        return
    if match.get("matchPolicy") is None:
        yield field.required(f"{path}.matchPolicy")
    yield from _known(match.get("matchPolicy"), f"{path}.matchPolicy", _MATCH_POLICIES)
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            yield field.required(f"{path}.{name}")
        yield from validation.label_selector(match.get(name), f"{path}.{name}")
    for name in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(name) or ()):
            place, seen = f"{path}.{name}[{index}]", set()
            for number, each in enumerate(rule.get("resourceNames") or ()):
                yield from validation.checked(each, f"{place}.resourceNames[{number}]", names.path_segment)
                if each in seen:
                    yield field.duplicate(f"{place}.resourceNames[{number}]", each)
                seen.add(each)
            yield from _rule(rule, place)


def conditions(listed: Sequence[Object], path: str, check: Callable[[str, str], Errors]) -> Errors:
    """Match conditions; check says what is wrong with an expression at a place."""
    if len(listed) > _CONDITIONS:
        yield field.too_many(path, len(listed), _CONDITIONS)
    seen: set[str] = set()
    for index, condition in enumerate(listed):
        place, name = f"{path}[{index}]", condition.get("name") or ""
        expression = (condition.get("expression") or "").strip()
        if not expression:
            yield field.required(f"{place}.expression")
        else:
            yield from check(expression, f"{place}.expression")
        if not name:
            yield field.required(f"{place}.name")
            continue
        yield from validation.checked(name, f"{place}.name", names.qualified_name)
        if name in seen:
            yield field.duplicate(f"{place}.name", name)
        seen.add(name)


def binding(new: Object, old: Object | None) -> Errors:
    """The binding of a policy of either kind, without what only one has."""
    spec = new.get("spec") or {}
    if not spec.get("policyName"):
        yield field.required("spec.policyName")
    else:
        yield from validation.checked(spec["policyName"], "spec.policyName", names.dns_subdomain)
    yield from _param_ref(spec.get("paramRef"), "spec.paramRef")
    # Upstream's own spelling.
    yield from match_resources(spec.get("matchResources"), "spec.matchResouces")


def _param_ref(ref: Object | None, path: str) -> Errors:
    if ref is None:
        return
    name, selector = ref.get("name") or "", ref.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        yield from validation.checked(name, f"{path}.name", names.path_segment)
        if selector is not None:
            yield field.forbidden(f"{path}.name", exclusive)
    if selector is not None:
        yield from validation.label_selector(selector, f"{path}.selector")
        if name:
            yield field.forbidden(f"{path}.selector", exclusive)
    if not name and selector is None:
        yield field.required(path, "one of name or selector must be specified")
    action = ref.get("parameterNotFoundAction")
    if not action:
        yield field.required(f"{path}.parameterNotFoundAction")
    else:
        yield from _known(action, f"{path}.parameterNotFoundAction", ("Deny", "Allow"))
