"""Which resources are served now: the built-in ones, and those of CustomResourceDefinitions while these exist."""

from collections.abc import Iterable, Iterator

from pynetes.machinery.resource import Resource


class Served:
    """Finds a resource by path; `revision` moves with every change, so that discovery documents can be kept."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.revision = 0
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._resources: dict[tuple[str, str], Resource] = {}
        self._alike: dict[Resource, list[Resource]] = {}
        for resource in resources:
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._resources.values()))

    def add(self, resource: Resource) -> None:
        """Serve it, or serve it as it is now."""
        self.remove(resource.group, resource.plural)
        self._resources[resource.group, resource.plural] = resource
        for version in resource.versions:
            self._by_path[resource.group, version, resource.plural] = resource.at(version)
        self._alike.clear()
        self.revision += 1

    def remove(self, group: str, plural: str) -> None:
        """Serve it no more."""
        gone = self._resources.pop((group, plural), None)
        if gone is not None:
            for version in gone.versions:
                del self._by_path[group, version, plural]
            self._alike.clear()
            self.revision += 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path."""
        return self._by_path.get((group, version, plural))

    def get(self, group: str, plural: str) -> Resource | None:
        """The resource, in whatever versions."""
        return self._resources.get((group, plural))

    def alike(self, resource: Resource) -> list[Resource]:
        """Others with the same storage."""
        found = self._alike.get(resource)
        if found is None:
            found = self._alike[resource] = [r for r in self if r.prefix == resource.prefix and r != resource]
        return found

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource whose objects bear this apiVersion and kind."""
        group, _, version = api_version.rpartition("/")
        found = (r for r in self if r.kind == kind and r.group == group and version in r.versions)
        return next((r.at(version) for r in found), None)

    def group_versions(self) -> dict[str, list[str]]:
        """Groups and their versions, preferred first, in the order of registration."""
        found: dict[str, list[str]] = {}
        for resource in self:
            versions = found.setdefault(resource.group, [])
            versions.extend(version for version in resource.versions if version not in versions)
        return {group: sorted(versions, key=priority) for group, versions in found.items()}

    def of_version(self, group: str, version: str) -> list[Resource]:
        """The resources of one group version, by plural."""
        found = (r.at(version) for r in self if r.group == group and version in r.versions)
        return sorted(found, key=lambda r: r.plural)


def priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as upstream does: v2, v1, v1beta2, v1beta1, v1alpha1, then the rest by name."""
    head = version.removeprefix("v")
    for rank, word in ((1, "beta"), (2, "alpha")):
        major, found, minor = head.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return rank, -int(major), -int(minor), version
    return (0, -int(head), 0, version) if head.isdigit() else (3, 0, 0, version)
