"""Hosts with the rules of all Ingresses, kept up to date by difference.

An Ingress that changes concerns the hosts that it names and that it named before. Only these are put together anew,
from the Ingresses that name them, oldest first: so one path more costs the same beside ten Ingresses and ten thousand.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pynetes.ingress import policies
from pynetes.ingress.ingresses import Cluster, Read, is_ours
from pynetes.ingress.rules import ANY_HOST, PREFIX, Backend, Host, Problem, Rule, Source
from pynetes.machinery.meta import Key, Object, key_of

_Name = TypeVar("_Name")


class Hosts:
    """`hosts` is what the Ingresses come to."""

    def __init__(self, cluster: Cluster, classes: Mapping[str, Object]) -> None:
        """classes: the IngressClasses by name; others need another one of this."""
        self.hosts: dict[str, Host] = {}
        self.read: dict[Key, Read] = {}
        self._cluster, self._classes = cluster, classes
        self._naming: dict[str, set[Key]] = {}
        self._needing: dict[tuple[str, Key], set[Key]] = {}
        self._problems: dict[str, list[Problem]] = {}
        self._changed: set[Key] = set()

    def needing(self, kind: str, key: Key) -> set[Key]:
        """The Ingresses that depend on a Service or Secret."""
        return self._needing.get((kind, key), set())

    def change(self, changed: Mapping[Key, Object | None]) -> set[str]:
        """Take over Ingresses as they are now (None: gone); the hosts whose rules may be others now."""
        concerned = {ANY_HOST} if ANY_HOST not in self.hosts and self._cluster.default_backend else set()
        for key, ingress in changed.items():
            before = self.read.pop(key, None)
            if before is not None:
                concerned |= before.hosts
                _forget(self._naming, before.hosts, key)
                _forget(self._needing, before.needs, key)
            if ingress is not None and is_ours(ingress, self._cluster, self._classes):
                now = self.read[key] = Read(ingress, self._cluster)
                concerned |= now.hosts
                for host in now.hosts:
                    self._naming.setdefault(host, set()).add(key)
                for need in now.needs:
                    self._needing.setdefault(need, set()).add(key)
        self._changed.update(changed)
        for host in concerned:
            self._changed |= self._naming.get(host, set())
            self._put_together(host)
        return concerned

    def _put_together(self, name: str) -> None:
        naming = sorted((self.read[key] for key in self._naming.get(name, ())), key=lambda each: each.source)
        host, problems = Host(), []
        plain = [each for each in naming if not each.canary]
        for each in plain:
            problems += each.add_to(name, host)
        for each in plain:
            each.join_www(name, host)
        for each in naming:
            if each.canary:
                each.stand_beside(name, host)
        if name == ANY_HOST and host.default is None:
            host.default = _default(self._cluster)
        self._problems[name] = problems
        if plain or host.default is not None:
            self.hosts[name] = host
        else:
            self.hosts.pop(name, None)
        if not problems:
            del self._problems[name]

    def problems(self, key: Key) -> list[Problem]:
        """What is wrong with an Ingress, by itself or beside others."""
        read = self.read[key]
        beside = (problem for name in read.hosts for problem in self._problems.get(name, ()))
        return [*read.problems, *(problem for problem in beside if problem.obj is read.ingress)]

    def taken_changes(self) -> set[Key]:
        """The Ingresses about which something else may be to be told than before."""
        changed, self._changed = self._changed, set()
        return changed


def of_all(ingresses: Iterable[Object], classes: Iterable[Object], cluster: Cluster) -> Hosts:
    """From nothing."""
    made = Hosts(cluster, {each["metadata"]["name"]: each for each in classes})
    made.change({key_of(each): each for each in ingresses})
    return made


def _default(cluster: Cluster) -> Rule | None:
    """What the controller's own flag names serves whatever nothing else does."""
    if cluster.default_backend is None:
        return None
    policy = policies.policy_of({"metadata": {"name": ""}}, {}, None)
    return Rule(Source("", "", "", ""), PREFIX, "/", policy, backends=(Backend(cluster.default_backend),))


def _forget(index: dict[_Name, set[Key]], names: Iterable[_Name], key: Key) -> None:
    for name in names:
        index[name].discard(key)
        if not index[name]:
            del index[name]
