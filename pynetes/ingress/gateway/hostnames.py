"""Names that a listener and a route have in common.

A wildcard stands for one label or more. No name at all means every name, which is written "*" in the tables.
"""

from collections.abc import Iterable

ANY = "*"


def common(listener: str, route: str) -> str | None:
    """The narrower of two names, None when nothing is both."""
    if not listener or listener == ANY:
        return route or ANY
    if not route or route == ANY:
        return listener
    if listener == route:
        return route
    if listener.startswith("*.") and route.endswith(listener[1:]):
        return route
    if route.startswith("*.") and listener.endswith(route[1:]):
        return listener
    return None


def attached(listener: str, routes: Iterable[str]) -> list[str]:
    """The names under which a route with these names is served by a listener; [] when there is none."""
    wanted = [name.lower() for name in routes] or [ANY]
    found = (common(listener.lower(), name) for name in wanted)
    return list(dict.fromkeys(name for name in found if name))
