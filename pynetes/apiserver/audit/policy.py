"""The audit policy: the first rule that matches a request says how much of it is written down, and at which stages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pynetes.apiserver.authn.user import User
from pynetes.apiserver.requestinfo import RequestInfo

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")

#: Judgements that are remembered.
REMEMBERED = 4096
#: Characters of a path up to which what was decided about it is remembered.
LONGEST = 2048


class Level(IntEnum):
    """How much; each has what the one before has. The names are the API's."""

    None_ = 0
    Metadata = 1
    Request = 2
    RequestResponse = 3


LEVELS = {"None": Level.None_, "Metadata": Level.Metadata, "Request": Level.Request}
LEVELS["RequestResponse"] = Level.RequestResponse


class Wanted(NamedTuple):
    """What is to be written of one request."""

    level: Level
    omitted: frozenset[str]
    omit_managed_fields: bool


NOTHING = Wanted(Level.None_, frozenset(), omit_managed_fields=False)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; an empty list matches everything, but resources and URLs exclude each other's requests."""

    wanted: Wanted
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    #: (group, resources, names)
    resources: Sequence[tuple[str, frozenset[str], frozenset[str]]]
    namespaces: frozenset[str]
    urls: Sequence[str]

    def matches(self, user: User | None, info: RequestInfo) -> bool:
        """Whether the rule is about this request. Without a user (authentication failed) no user's rule is."""
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.groups and (user is None or self.groups.isdisjoint(user.groups)):
            return False
        if self.verbs and info.verb not in self.verbs and "*" not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return info.is_resource_request and self._resource(info)
        if self.urls:
            return not info.is_resource_request and any(_covers(url, info.path) for url in self.urls)
        return True

    def _resource(self, info: RequestInfo) -> bool:
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        if not self.resources:
            return True
        parent, child = info.resource, info.subresource
        full = f"{parent}/{child}" if child else parent
        names = {full, "*", f"{parent}/*" if child else full, f"*/{child}" if child else full}
        return any(
            group == info.api_group
            and (not those or (not names.isdisjoint(those) and (not named or info.name in named)))
            for group, those, named in self.resources
        )


def _covers(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url[:-1]))


class Policy:
    """All rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        #: Requests that differ only in the object's name are judged alike where no rule looks at names.
        self._by_name = any(names for rule in rules for _, _, names in rule.resources)
        self._known: dict[object, Wanted] = {}

    def decide(self, user: User | None, info: RequestInfo) -> Wanted:
        """The first match counts; what no rule matches is not written."""
        who = (user.name, user.groups) if user is not None else None
        what: tuple[str, ...] = (info.path,)
        if info.is_resource_request:
            what = (info.api_group, info.resource, info.subresource, info.namespace, info.name if self._by_name else "")
        key = (who, info.verb, what)
        found = self._known.get(key)
        if found is None:
            found = next((rule.wanted for rule in self._rules if rule.matches(user, info)), NOTHING)
            # A line may have a megabyte: strangers shall not have thousands of them remembered.
            if len(info.path) <= LONGEST:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found


def load(path: str) -> Policy:
    """Raises OSError, or ValueError naming file and place."""
    try:
        document = yaml.safe_load(Path(path).read_bytes())
        return Policy(list(_rules(document)))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _rules(document: Any) -> Iterator[Rule]:
    if not isinstance(document, dict) or document.get("kind") != "Policy":
        raise ValueError("kind: must be Policy")
    if document.get("apiVersion") != "audit.k8s.io/v1":
        raise ValueError("apiVersion: must be audit.k8s.io/v1")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise ValueError("rules: at least one is needed")
    omitted = _stages("omitStages", document)
    managed = bool(document.get("omitManagedFields"))
    for number, rule in enumerate(rules):
        yield _rule(f"rules[{number}]", rule, omitted, managed=managed)


def _rule(at: str, rule: Any, omitted: frozenset[str], *, managed: bool) -> Rule:
    if not isinstance(rule, dict):
        raise ValueError(f"{at}: must be an object")
    level = LEVELS.get(str(rule.get("level")))
    if level is None:
        raise ValueError(f"{at}.level: must be one of {', '.join(LEVELS)}")
    urls = rule.get("nonResourceURLs") or []
    resources = rule.get("resources") or []
    if urls and (resources or rule.get("namespaces")):
        raise ValueError(f"{at}.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs")
    for index, item in enumerate(resources):
        if item.get("resourceNames") and not item.get("resources"):
            raise ValueError(f"{at}.resources[{index}].resourceNames: using resourceNames requires at least 1 resource")
    own = rule.get("omitManagedFields")
    return Rule(
        wanted=Wanted(level, omitted | _stages(f"{at}.omitStages", rule), managed if own is None else bool(own)),
        users=frozenset(rule.get("users") or ()),
        groups=frozenset(rule.get("userGroups") or ()),
        verbs=frozenset(rule.get("verbs") or ()),
        resources=[
            (
                item.get("group") or "",
                frozenset(item.get("resources") or ()),
                frozenset(item.get("resourceNames") or ()),
            )
            for item in resources
        ],
        namespaces=frozenset(rule.get("namespaces") or ()),
        urls=[str(url) for url in urls],
    )


def _stages(at: str, of: Any) -> frozenset[str]:
    stages = frozenset(of.get("omitStages") or ())
    if unknown := stages - set(STAGES):
        raise ValueError(f"{at}: unknown stage {sorted(unknown)[0]!r}; known are {', '.join(STAGES)}")
    return stages
