"""RBAC's PolicyRules: what they match, what they cover, and how upstream prints them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pynetes.machinery.field import quote
from pynetes.machinery.meta import Object

ALL = "*"


class Rule(NamedTuple):
    """One PolicyRule, ready to match."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    paths: tuple[str, ...]


def compile_rules(rules: Iterable[Object] | None) -> tuple[Rule, ...]:
    """Compile the `rules` of a Role or ClusterRole."""
    return tuple(
        Rule(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in rules or ()
    )


def allows_resource(rule: Rule, verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
    """Whether the rule grants the verb on the resource."""
    if verb not in rule.verbs and ALL not in rule.verbs:
        return False
    if group not in rule.groups and ALL not in rule.groups:
        return False
    full = f"{resource}/{subresource}" if subresource else resource
    held = rule.resources
    if full not in held and ALL not in held and not (subresource and f"*/{subresource}" in held):
        return False
    return not rule.names or name in rule.names


def allows_path(rule: Rule, verb: str, path: str) -> bool:
    """Whether the rule grants the verb on a non-resource URL; a trailing * matches any rest."""
    if verb not in rule.verbs and ALL not in rule.verbs:
        return False
    return any(_path_covers(held, path) for held in rule.paths)


def _path_covers(held: str, wanted: str) -> bool:
    return held in (ALL, wanted) or (held.endswith(ALL) and wanted.startswith(held.rstrip(ALL)))


def missing(held: Sequence[Rule], wanted: Iterable[Object]) -> list[Object]:
    """What `wanted` grants beyond `held`, broken down to single rights. Empty means covered."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(rule, part) for rule in held)]


def _parts(rule: Object) -> Iterator[Object]:
    verbs = rule.get("verbs") or ()
    names: Sequence[str | None] = rule.get("resourceNames") or (None,)
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                for name in names:
                    part: Object = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    if name is not None:
                        part["resourceNames"] = [name]
                    yield part
    for path in rule.get("nonResourceURLs") or ():
        for verb in verbs:
            yield {"nonResourceURLs": [path], "verbs": [verb]}


def _covers(held: Rule, part: Object) -> bool:
    (verb,) = part["verbs"]
    if verb not in held.verbs and ALL not in held.verbs:
        return False
    if "nonResourceURLs" in part:
        return any(_path_covers(path, part["nonResourceURLs"][0]) for path in held.paths)
    (group,), (resource,) = part["apiGroups"], part["resources"]
    if group not in held.groups and ALL not in held.groups:
        return False
    _, slash, subresource = resource.partition("/")
    wild = bool(slash) and f"*/{subresource}" in held.resources
    if resource not in held.resources and ALL not in held.resources and not wild:
        return False
    # A right to named objects covers only those names; no names at all covers every name.
    return not held.names or ("resourceNames" in part and part["resourceNames"][0] in held.names)


def describe(parts: Iterable[Object]) -> str:
    """Missing rights one rule a line, those that differ only in the verb joined, as upstream prints them."""
    joined: dict[tuple[str, ...], Object] = {}
    for part in parts:
        fields = ("apiGroups", "resources", "resourceNames", "nonResourceURLs")
        key = tuple(f"{name}={part.get(name)}" for name in fields)
        if key in joined and "resources" in part:
            joined[key]["verbs"] = [*joined[key]["verbs"], *part["verbs"]]
        else:
            joined[key if "resources" in part else (*key, *part["verbs"])] = dict(part)
    return "\n".join(sorted({_compact(rule) for rule in joined.values()}))


def _compact(rule: Object) -> str:
    shown = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    return "{" + ", ".join(f"{title}:{go_list(rule[name])}" for title, name in shown if rule.get(name)) + "}"


def go_list(texts: Iterable[str]) -> str:
    """A list of strings as Go's %q prints it: ["a" "b"]."""
    return "[" + " ".join(quote(text) for text in texts) + "]"
