"""FlowSchema: which requests share a queue."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.flowcontrol import _status
from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """In the middle of the order unless told otherwise."""
    spec = obj.get("spec")
    if spec is not None and not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


_LOWEST_PRECEDENCE = 10000
_DISTINGUISHERS = ("ByNamespace", "ByUser")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A level, a place in the order, and rules that say for whom and for what."""
    name, spec = new["metadata"].get("name"), new.get("spec") or {}
    precedence = spec.get("matchingPrecedence") or 0
    if precedence <= 0:
        yield field.invalid("spec.matchingPrecedence", precedence, "must be a positive value")
    if precedence > _LOWEST_PRECEDENCE:
        detail = f"must not be greater than {_LOWEST_PRECEDENCE}"
        yield field.invalid("spec.matchingPrecedence", precedence, detail)
    if precedence == 1 and name != "exempt":
        yield field.invalid(
            "spec.matchingPrecedence", precedence, "only the schema named 'exempt' may have matchingPrecedence 1"
        )
    method = (spec.get("distinguisherMethod") or {}).get("type")
    if spec.get("distinguisherMethod") is not None and method not in _DISTINGUISHERS:
        yield field.not_supported("spec.distinguisherMethod.type", {"Type": method or ""}, _DISTINGUISHERS)
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    if level:
        yield from validation.checked(level, "spec.priorityLevelConfiguration.name", names.dns_subdomain)
    else:
        yield field.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rule_problems(rule, f"spec.rules[{index}]")


def _rule_problems(rule: Object, path: str) -> Iterator[field.Error]:
    if not rule.get("subjects"):
        yield field.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(rule.get("subjects") or ()):
        yield from _subject_problems(subject, f"{path}.subjects[{index}]")
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        yield field.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, each in enumerate(rule.get("resourceRules") or ()):
        yield from _resource_rule_problems(each, f"{path}.resourceRules[{index}]")
    for index, each in enumerate(rule.get("nonResourceRules") or ()):
        place = f"{path}.nonResourceRules[{index}]"
        yield from _verb_problems(each, place)
        urls = each.get("nonResourceURLs") or ()
        if not urls:
            yield field.required(f"{place}.nonResourceURLs", "nonResourceURLs must contain at least one value")
        elif "*" in urls:
            if len(urls) > 1:
                detail = "if '*' is present, must not specify other non-resource URLs"
                yield field.invalid(f"{place}.nonResourceURLs", list(urls), detail)
        else:
            for number, url in enumerate(urls):
                yield from _url_problems(url, f"{place}.nonResourceURLs[{number}]")


def _subject_problems(subject: Object, path: str) -> Iterator[field.Error]:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        yield field.not_supported(f"{path}.kind", kind, tuple(_SUBJECTS))
        return
    member = _SUBJECTS[kind]
    yield from _own_subject(subject.get(member), kind, f"{path}.{member}")
    for other in ("ServiceAccount", "User", "Group"):
        if other != kind and subject.get(_SUBJECTS[other]) is not None:
            detail = f"{_SUBJECTS[other]} is forbidden when subject kind is not '{other}'"
            yield field.forbidden(f"{path}.{_SUBJECTS[other]}", detail)


def _own_subject(given: Object | None, kind: str, path: str) -> Iterator[field.Error]:
    if given is None:
        yield field.required(path, f"{_SUBJECTS[kind]} is required when subject kind is '{kind}'")
        return
    if not given.get("name"):
        yield field.required(f"{path}.name")
    if kind != "ServiceAccount":
        return
    if given.get("name") not in (None, "", "*"):
        yield from validation.checked(given["name"], f"{path}.name", names.dns_subdomain)
    if not given.get("namespace"):
        yield field.required(f"{path}.namespace", "must specify namespace for service account")
    else:
        yield from validation.checked(given["namespace"], f"{path}.namespace", names.dns_label)


def _verb_problems(rule: Object, path: str) -> Iterator[field.Error]:
    verbs = rule.get("verbs") or ()
    if not verbs:
        yield field.required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" in verbs:
        if len(verbs) > 1:
            yield field.invalid(f"{path}.verbs", list(verbs), "if '*' is present, must not specify other verbs")
    elif any(verb not in _VERBS for verb in verbs):
        # The set prints in Go's order, which is the alphabet's.
        yield field.not_supported(f"{path}.verbs", list(verbs), _VERBS)


def _resource_rule_problems(rule: Object, path: str) -> Iterator[field.Error]:
    yield from _verb_problems(rule, path)
    for member, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values = rule.get(member) or ()
        if not values:
            yield field.required(f"{path}.{member}", f"resource rules must supply at least one {one}")
        elif "*" in values and len(values) > 1:
            detail = f"if '*' is present, must not specify other {many}"
            yield field.invalid(f"{path}.{member}", list(values), detail)
    namespaces = rule.get("namespaces") or ()
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        yield field.required(f"{path}.namespaces", detail)
    elif "*" in namespaces:
        if len(namespaces) > 1:
            detail = "if '*' is present, must not specify other namespaces"
            yield field.invalid(f"{path}.namespaces", list(namespaces), detail)
    else:
        for number, namespace in enumerate(namespaces):
            for text in names.dns_label(namespace):
                yield field.invalid(f"{path}.namespaces[{number}]", namespace, f"{_EACH}{text}")


_EACH = "each member of this list must be '*' or a DNS-1123 label; "


def _url_problems(url: str, path: str) -> Iterator[field.Error]:
    """The first mistake only."""
    if not url:
        yield field.invalid(path, url, "must not be empty")
    elif not url.startswith("/"):
        yield field.invalid(path, url, "must start with slash")
    elif " " in url:
        yield field.invalid(path, url, "must not contain white-space")
    elif "//" in url:
        yield field.invalid(path, url, "must not contain double slash")
    elif "*" in url and (url.find("*") != len(url) - 1 or not url.endswith("/*")):
        yield field.invalid(path, url, "wildcard can only do suffix matching")


def _missing(obj: Object, _: datetime) -> str:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item.get("type") == "Dangling":
            return str(item.get("status") or "")
    return "?"


RESOURCE = Resource(
    group="flowcontrol.apiserver.k8s.io",
    versions=("v1",),
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=("status",),
    default=default,
    validate=validate,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    validate_status=_status.validate,
    columns=(
        Column("PriorityLevel", ".spec.priorityLevelConfiguration.name"),
        Column("MatchingPrecedence", cells.path(".spec.matchingPrecedence", 0)),
        Column("DistinguisherMethod", cells.path(".spec.distinguisherMethod.type", "<none>")),
        Column.AGE,
        Column("MissingPL", _missing),
    ),
)
