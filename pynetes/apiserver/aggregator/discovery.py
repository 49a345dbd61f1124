"""Shows aggregated group versions in the documents of discovery, beside the groups served here. Pure."""

from collections.abc import Iterator
from typing import Protocol

from pynetes.machinery.meta import Object


class Elsewhere(Protocol):
    """What is served elsewhere, as discovery sees it."""

    @property
    def revision(self) -> int:
        """Moves whenever the documents would change."""

    def groups(self) -> dict[str, list[str]]:
        """Groups and their versions, preferred first."""

    def rows(self, group: str, version: str) -> list[Object]:
        """Its last known APIResource rows."""

    def is_fresh(self, group: str, version: str) -> bool:
        """Whether it answers now."""


def group(own: Object | None, name: str, elsewhere: Elsewhere) -> Object | None:
    """APIGroup with the versions of both."""
    versions = elsewhere.groups().get(name)
    if not versions:
        return own
    known = {each["version"] for each in own["versions"]} if own else set()
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions if version not in known]
    if own is not None:
        return {**own, "versions": [*own["versions"], *listed]}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(own: Object, elsewhere: Elsewhere) -> Object:
    """APIGroupList with the groups of both."""
    rows = {row["name"]: row for row in own["groups"]}
    for name in elsewhere.groups():
        found = group(rows.get(name), name, elsewhere)
        if found is not None:
            rows[name] = {key: value for key, value in found.items() if key not in ("kind", "apiVersion")}
    return {**own, "groups": list(rows.values())}


def aggregated(own: Object, elsewhere: Elsewhere) -> Object:
    """APIGroupDiscoveryList of /apis with the groups of both."""
    items = {item["metadata"].get("name", ""): item for item in own["items"]}
    for name, versions in elsewhere.groups().items():
        item = items.get(name) or {"metadata": {"name": name}, "versions": []}
        known = {each["version"] for each in item["versions"]}
        added = [_version(name, version, elsewhere) for version in versions if version not in known]
        items[name] = {**item, "versions": [*item["versions"], *added]}
    return {**own, "items": list(items.values())}


def _version(name: str, version: str, elsewhere: Elsewhere) -> Object:
    fresh = elsewhere.is_fresh(name, version)
    rows = list(_resources(elsewhere.rows(name, version)))
    found: Object = {"version": version, "freshness": "Current" if fresh else "Stale"}
    return {**found, "resources": rows} if rows else found


def _resources(rows: list[Object]) -> Iterator[Object]:
    for row in rows:
        if "/" in row["name"]:
            continue
        found: Object = {
            "resource": row["name"],
            "responseKind": _kind(row),
            "scope": "Namespaced" if row.get("namespaced") else "Cluster",
            "singularResource": row.get("singularName") or "",
            "verbs": row.get("verbs") or [],
        }
        found |= {key: row[key] for key in ("shortNames", "categories") if row.get(key)}
        below = [each for each in rows if each["name"].startswith(f"{row['name']}/")]
        if below:
            found["subresources"] = [
                {
                    "subresource": each["name"].partition("/")[2],
                    "responseKind": _kind(each),
                    "verbs": each.get("verbs") or [],
                }
                for each in below
            ]
        yield found


def _kind(row: Object) -> Object:
    return {"group": row.get("group") or "", "version": row.get("version") or "", "kind": row.get("kind") or ""}
