"""Reads EncryptionConfiguration: which resources are encrypted, and with which providers and keys in which order.

The first provider of a resource writes; all of them read. Errors name the place in the file, never what stands there.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import yaml

from pynetes.component.config import seconds
from pynetes.machinery.resource import Resource
from pynetes.storage.encryption.ciphers import Identity, Local, Provider

API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1")


#: Makes the provider of (name, endpoint, timeout in seconds).
Services: TypeAlias = Callable[[str, str, float], Provider]


@runtime_checkable
class Watched(Protocol):
    """A provider that is somewhere else, and may be unwell."""

    name: str
    changed: Callable[[], None]

    async def watch(self) -> None:
        """For ever."""

    def problem(self) -> str | None:
        """What is wrong with it."""


class Rule(NamedTuple):
    """One entry of `resources`."""

    #: "secrets", "deployments.apps", "*.apps", "*." (the core group), "*.*".
    resources: frozenset[str]
    providers: Sequence[Provider]

    def covers(self, group: str, plural: str) -> bool:
        """Whether the rule is about this resource."""
        return not self.resources.isdisjoint((f"{plural}.{group}" if group else plural, f"*.{group}", "*.*"))


class Rules:
    """Finds the providers of a key of the store. The first entry that covers a resource counts, as upstream has it."""

    def __init__(self, rules: Sequence[Rule], resources: Sequence[Resource], *, digest: str = "") -> None:
        self._rules = rules
        #: Of the file, as the metrics show it.
        self.digest = digest
        #: Providers that somebody has to watch.
        self.watched = {one.name: one for rule in rules for one in rule.providers if isinstance(one, Watched)}
        self._known = {resource.prefix: resource for resource in resources}
        self._found: dict[str, Sequence[Provider]] = {}

    def of(self, key: str) -> Sequence[Provider]:
        """Empty for what is not encrypted."""
        parts = key.split("/", 4)
        wide = "/".join(parts[:3]) + "/"
        prefix = wide if wide in self._known else "/".join(parts[:4]) + "/"
        found = self._found.get(prefix)
        if found is None:
            found = self._found[prefix] = self._providers(prefix)
        return found

    def prefixes(self) -> Iterator[str]:
        """Where in the store resources lie that are encrypted, or were; beside them there may be others."""
        yield from (prefix for prefix in self._known if self.of(f"{prefix}x"))
        groups = {resource.group for resource in self._known.values()}
        names = {name for rule in self._rules for name in rule.resources}
        # Custom resources lie below their group.
        custom = {name.partition(".")[::2] for name in names if "." in name} - {("*", "")}
        for plural, group in sorted(custom):
            if group == "*":
                yield "/registry/"
            elif group not in groups:
                yield f"/registry/{group}/" if plural == "*" else f"/registry/{group}/{plural}/"

    def _providers(self, prefix: str) -> Sequence[Provider]:
        resource = self._known.get(prefix)
        if resource is not None:
            group, plural = resource.group, resource.plural
        else:
            # A custom resource: /registry/GROUP/PLURAL/.
            _, _, group, plural, *_ = [*prefix.split("/"), "", ""]
        return next((rule.providers for rule in self._rules if rule.covers(group, plural)), ())


def load(path: str, resources: Sequence[Resource], services: Services | None = None) -> Rules:
    """Raises OSError, or ValueError naming file and place. services: makes providers of kms."""
    content = Path(path).read_bytes()
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        # The parser's own text quotes the lines around, keys among them.
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{path}:{mark.line + 1 if mark else 1}: not YAML") from None
    try:
        return Rules(list(_rules(document, services)), resources, digest=f"sha256:{sha256(content).hexdigest()}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rules(document: Any, services: Services | None) -> Iterator[Rule]:
    if not isinstance(document, dict) or document.get("kind") != "EncryptionConfiguration":
        raise ValueError("kind: must be EncryptionConfiguration")
    if document.get("apiVersion") not in API_VERSIONS:
        raise ValueError(f"apiVersion: must be {API_VERSIONS[0]}")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ValueError("resources: required")
    for number, entry in enumerate(entries):
        at = f"resources[{number}]"
        if not isinstance(entry, dict) or not _texts(entry.get("resources")):
            raise ValueError(f"{at}.resources: must list resources")
        providers = entry.get("providers")
        if not isinstance(providers, list) or not providers:
            raise ValueError(f"{at}.providers: must list providers")
        made = [
            one for index, item in enumerate(providers) for one in _made(f"{at}.providers[{index}]", item, services)
        ]
        if len({provider.prefix for provider in made}) != len(made):
            raise ValueError(f"{at}.providers: two of them have the same name")
        yield Rule(frozenset(entry["resources"]), made)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


def _made(at: str, item: Any, services: Services | None) -> Iterator[Provider]:
    if not isinstance(item, dict) or len(item) != 1:
        raise ValueError(f"{at}: must have exactly one of aesgcm, aescbc, secretbox, kms, identity")
    [(kind, options)] = item.items()
    if kind == "identity":
        yield Identity()
    elif kind in ("aesgcm", "aescbc", "secretbox"):
        keys = options.get("keys") if isinstance(options, dict) else None
        if not isinstance(keys, list) or not keys:
            raise ValueError(f"{at}.{kind}.keys: required")
        for number, key in enumerate(keys):
            yield _local(f"{at}.{kind}.keys[{number}]", kind, key)
    elif kind == "kms":
        yield _service(f"{at}.kms", options, services)
    else:
        raise ValueError(f"{at}: unknown provider")


def _service(at: str, options: Any, services: Services | None) -> Provider:
    if not isinstance(options, dict) or options.get("apiVersion") != "v2":
        raise ValueError(f"{at}.apiVersion: must be v2; v1 is not served")
    name, endpoint = options.get("name"), options.get("endpoint")
    if not isinstance(name, str) or not name or ":" in name:
        raise ValueError(f"{at}.name: required, without a colon")
    if not isinstance(endpoint, str) or not endpoint.startswith("unix://"):
        raise ValueError(f"{at}.endpoint: must be unix:///PATH or unix://@NAME")
    if "cachesize" in options:
        raise ValueError(f"{at}.cachesize: is not allowed for v2")
    try:
        timeout = seconds(str(options.get("timeout") or "3s"))
    except ValueError:
        raise ValueError(f"{at}.timeout: must be a duration such as 3s") from None
    if timeout <= 0 or services is None:
        raise ValueError(f"{at}.timeout: must be more than nothing")
    return services(name, endpoint, timeout)


def _local(at: str, kind: str, key: Any) -> Local:
    name = key.get("name") if isinstance(key, dict) else None
    if not isinstance(name, str) or not name or ":" in name:
        raise ValueError(f"{at}.name: required, without a colon")
    try:
        secret = base64.b64decode(str(key.get("secret") or ""), validate=True)
    except binascii.Error:
        raise ValueError(f"{at}.secret: must be base64") from None
    try:
        return Local(kind, name, secret)
    except ValueError as error:
        raise ValueError(f"{at}.secret: {error}") from None
