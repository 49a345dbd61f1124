"""Which resources a quota or a limit may speak of."""

from collections.abc import Iterator

from pynetes.machinery import field, names, validation

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
    yield from validation.checked(name, path, names.qualified_name)
    if "/" not in name and name not in STANDARD and not huge(name):
        yield field.invalid(path, name, "must be a standard resource type or fully qualified")


def huge(name: str) -> bool:
    """Huge pages of some size, also as a request."""
    return name.startswith(("hugepages-", "requests.hugepages-"))


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
    yield from validation.checked(name, path, names.qualified_name)
    if "/" not in name and name not in _LIMIT_TYPES:
        yield field.invalid(path, name, _TEXT_TYPE)


def for_limit(kind: str, name: str, path: str) -> Iterator[field.Error]:
    """A resource that a limit of this type may name."""
    yield from _qualified(name, path)
    standard = "/" not in name and name not in _COMPUTE and not huge(name)
    if kind in ("Pod", "Container") and standard:
        yield field.invalid(path, name, "must be a standard resource for containers")
