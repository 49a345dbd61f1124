"""Which resources a quota or a limit may speak of."""

from collections.abc import Iterator

from pynetes.machinery import field, names

STANDARD = frozenset(
    (
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
        "storage",
        "requests.storage",
    )
)
_NOT_IN_QUOTA = frozenset(("storage",))
#: Counted in whole numbers.
INTEGER = frozenset(
    (
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    )
)
_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_COMPUTE = frozenset(("cpu", "memory", "ephemeral-storage"))
_TEXT_TYPE = "must be a standard limit type or fully qualified"


def _qualified(name: str, path: str) -> Iterator[field.Error]:
    if wrong := names.qualified_name(name):
        yield from (field.invalid(path, name, text) for text in wrong)
    elif "/" not in name and name not in STANDARD and not huge(name):
        yield field.invalid(path, name, "must be a standard resource type or fully qualified")


def huge(name: str) -> bool:
    """Huge pages of some size, also as a request."""
    return name.startswith(("hugepages-", "requests.hugepages-"))


def extended(name: str) -> bool:
    """A resource of somebody else's domain."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def whole(name: str) -> bool:
    """A resource of which there are no parts."""
    return name in INTEGER or extended(name)


def for_quota(name: str, path: str) -> Iterator[field.Error]:
    """What a quota may bound."""
    yield from _qualified(name, path)
    if "/" not in name and (name not in STANDARD or name in _NOT_IN_QUOTA) and not huge(name):
        yield field.invalid(path, name, "must be a standard resource for quota")


def in_quota(name: str) -> bool:
    """A standard resource that quotas know by name."""
    return (name in STANDARD and name not in _NOT_IN_QUOTA) or name.startswith("requests.hugepages-")


def limit_type(name: str, path: str) -> Iterator[field.Error]:
    """What a LimitRange may bound: pods, containers, claims, or a type with a domain."""
    if wrong := names.qualified_name(name):
        yield from (field.invalid(path, name, text) for text in wrong)
    elif "/" not in name and name not in _LIMIT_TYPES:
        yield field.invalid(path, name, _TEXT_TYPE)


def for_limit(kind: str, name: str, path: str) -> Iterator[field.Error]:
    """A resource that a limit of this type may name."""
    if kind in ("Pod", "Container"):
        yield from for_container(name, path)
    else:
        yield from _qualified(name, path)


def standard(name: str, path: str) -> Iterator[field.Error]:
    """A resource of any kind: a standard one, or one with a domain."""
    yield from _qualified(name, path)


def for_container(name: str, path: str) -> Iterator[field.Error]:
    """A resource of containers: a standard one, or one with a domain."""
    yield from _qualified(name, path)
    if "/" not in name:
        if name not in _COMPUTE and not name.startswith("hugepages-"):
            yield field.invalid(path, name, "must be a standard resource for containers")
    elif "kubernetes.io/" not in name and not extended(name):
        yield field.invalid(path, name, "doesn't follow extended resource name standard")
