"""Every built-in kind, one file each, in a folder per API group.

The folder is the registry: `load` imports each module found in it and demands that it declares RESOURCE, so a forgotten
registration cannot exist and a file that declares nothing fails loudly. Modules starting with an underscore hold what
several kinds of a group share.
"""

import importlib
import pkgutil
from functools import cache

from pynetes.machinery.resource import Resource


@cache
def load() -> tuple[Resource, ...]:
    """All kinds, by GROUPS and plural. Raises AttributeError on a file without RESOURCE."""
    return tuple(resource for folder in GROUPS.values() for resource in _of(folder))


def _of(folder: str) -> list[Resource]:
    package = importlib.import_module(f"{__name__}.{folder}")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names if not name.startswith("_")]
    return [module.RESOURCE for module in modules]


@cache
def _by_plural() -> dict[tuple[str, str], Resource]:
    return {(resource.group, resource.plural): resource for resource in load()}


@cache
def _by_kind() -> dict[tuple[str, str], Resource]:
    return {
        (f"{resource.group}/{version}" if resource.group else version, resource.kind): resource
        for resource in load()
        for version in resource.versions
    }


def find(group: str, plural: str) -> Resource | None:
    """The kind served under this group and plural; None if there is none among the built-in ones."""
    return _by_plural().get((group, plural))


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The kind an object names in apiVersion and kind, in any served version."""
    return _by_kind().get((api_version, kind))


#: API group → folder, in the order in which upstream's discovery lists the groups.
GROUPS = {
    "": "core",
    "apiregistration.k8s.io": "apiregistration",
    "apps": "apps",
    "events.k8s.io": "events",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "certificates.k8s.io": "certificates",
    "networking.k8s.io": "networking",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "storage.k8s.io": "storage",
    "admissionregistration.k8s.io": "admissionregistration",
    "apiextensions.k8s.io": "apiextensions",
    "scheduling.k8s.io": "scheduling",
    "coordination.k8s.io": "coordination",
    "node.k8s.io": "node",
    "discovery.k8s.io": "discovery",
    "resource.k8s.io": "resource",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
}
