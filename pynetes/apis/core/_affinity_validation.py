"""What affinities, node selectors and DNS settings of a pod may not say."""

from collections.abc import Iterator, Sequence
from typing import Any

from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_NAMESERVERS, _SEARCHES, _SEARCH_LENGTH = 3, 32, 2048


def validate(affinity: Object | None, path: str) -> Errors:
    """Node affinity, then affinity to pods and against them."""
    if affinity is None:
        return
    nodes = affinity.get("nodeAffinity")
    if nodes is not None:
        if nodes.get(_REQUIRED) is not None:
            yield from node_selector(nodes[_REQUIRED], f"{path}.nodeAffinity.{_REQUIRED}")
        for index, each in enumerate(nodes.get(_PREFERRED) or ()):
            place = f"{path}.nodeAffinity.{_PREFERRED}[{index}]"
            yield from _weight(each, place)
            # A node that no value can match is one less to prefer: not a mistake.
            yield from _term(each.get("preference") or {}, f"{place}.preference", values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for index, term in enumerate(pods.get(_REQUIRED) or ()):
            yield from _pod_term(term, f"{path}.{kind}.{_REQUIRED}[{index}]")
        for index, each in enumerate(pods.get(_PREFERRED) or ()):
            place = f"{path}.{kind}.{_PREFERRED}[{index}]"
            yield from _weight(each, place)
            yield from _pod_term(each.get("podAffinityTerm") or {}, f"{place}.podAffinityTerm")


def node_selector(selector: Object, path: str) -> Errors:
    """At least one term, each of requirements on labels and fields."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        yield field.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from _term(term, f"{path}.nodeSelectorTerms[{index}]")


def _weight(each: Object, path: str) -> Errors:
    weight = each.get("weight") or 0
    if not 1 <= weight <= 100:
        yield field.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _term(term: Object, path: str, *, values: bool = True) -> Errors:
    for index, item in enumerate(term.get("matchExpressions") or ()):
        place, operator = f"{path}.matchExpressions[{index}]", item.get("operator", "")
        given = item.get("values") or ()
        if operator in ("In", "NotIn"):
            if not given:
                yield field.required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if given:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield field.forbidden(f"{place}.values", detail)
        elif operator in ("Gt", "Lt"):
            if len(given) != 1:
                detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                yield field.required(f"{place}.values", detail)
        else:
            yield field.invalid(f"{place}.operator", operator, "not a valid selector operator")
        yield from validation.checked(item.get("key", ""), f"{place}.key", names.qualified_name)
        for number, value in enumerate(given if values else ()):
            yield from validation.checked(value, f"{place}.values[{number}]", names.label_value)
    yield from _fields(term, path)


def _fields(term: Object, path: str) -> Errors:
    for index, item in enumerate(term.get("matchFields") or ()):
        place = f"{path}.matchFields[{index}]"
        if item.get("operator") not in ("In", "NotIn"):
            yield field.invalid(f"{place}.operator", item.get("operator", ""), "not a valid selector operator")
        elif len(item.get("values") or ()) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield field.required(f"{place}.values", detail)
        if item.get("key") != "metadata.name":
            yield field.invalid(f"{place}.key", item.get("key", ""), "not a valid field selector key")
            continue
        for number, value in enumerate(item.get("values") or ()):
            yield from validation.checked(value, f"{place}.values[{number}]", names.dns_subdomain)


def _pod_term(term: Object, path: str) -> Errors:
    yield from validation.label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from validation.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        yield from validation.checked(name, f"{path}.namespace", names.dns_label)
    yield from _label_keys(term, path)
    key = term.get("topologyKey", "")
    if not key:
        yield field.required(f"{path}.topologyKey", "can not be empty")
    yield from validation.checked(key, f"{path}.topologyKey", names.qualified_name)


def _label_keys(term: Object, path: str) -> Errors:
    selector = term.get("labelSelector")
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        if term.get(name) and selector is None:
            yield field.forbidden(f"{path}.{name}", "must not be specified when labelSelector is not set")
            continue
        for index, key in enumerate(term.get(name) or ()):
            yield from validation.checked(key, f"{path}.{name}[{index}]", names.qualified_name)
    keys = term.get("matchLabelKeys") or ()
    yield from twice(keys, selector or {}, path)
    for index, key in enumerate(keys):
        if key in (term.get("mismatchLabelKeys") or ()):
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield field.invalid(f"{path}.matchLabelKeys[{index}]", key, detail)


def twice(keys: Sequence[str], selector: Object, path: str) -> Errors:
    """Keys whose labels the selector asks for already, beside what was made for the key itself."""
    places = {key: index for index, key in enumerate(keys)}
    asked = {*(selector.get("matchLabels") or ())}
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in places and key in asked:
            yield field.invalid(f"{path}[{places[key]}]", key, "exists in both matchLabelKeys and labelSelector")
        asked.add(key)


def validate_dns(config: Any, path: str) -> Errors:
    """As many name servers and search domains as resolvers take."""
    if config is None:
        return
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if len(servers) > _NAMESERVERS:
        detail = f"must not have more than {_NAMESERVERS} nameservers"
        yield field.invalid(f"{path}.nameservers", list(servers), detail)
    for index, server in enumerate(servers):
        yield from validation.checked(server, f"{path}.nameservers[{index}]", inet.ip)
    if len(searches) > _SEARCHES:
        yield field.invalid(f"{path}.searches", list(searches), f"must not have more than {_SEARCHES} search paths")
    if len(" ".join(searches)) > _SEARCH_LENGTH:
        detail = f"must not have more than {_SEARCH_LENGTH} characters (including spaces) in the search list"
        yield field.invalid(f"{path}.searches", list(searches), detail)
    for index, search in enumerate(searches):
        if search != ".":
            yield from validation.checked(search.removesuffix("."), f"{path}.searches[{index}]", names.dns_search)
    for index, item in enumerate(config.get("options") or ()):
        if not item.get("name"):
            yield field.required(f"{path}.options[{index}]", "must not be empty")
