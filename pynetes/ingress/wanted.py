"""The tables that nginx should have, which of them have changed, and which endpoints they need.

Everything here is put by its key, so that a change of one host or one Service touches nothing else.
"""

from collections.abc import Callable, Mapping

import orjson

from pynetes.ingress import table
from pynetes.ingress.rules import BackendRef, Certificate, Host
from pynetes.machinery.meta import Key


class Wanted:
    """`tables` by key; `changed` are the keys of those that differ from what nginx was told, with what that was."""

    def __init__(self, endpoints: Callable[[BackendRef], list[tuple[str, int]]]) -> None:
        self.tables: dict[str, bytes] = {}
        self.changed: dict[str, bytes | None] = {}
        self._endpoints = endpoints
        self._needs: dict[str, set[BackendRef]] = {}
        self._users: dict[BackendRef, set[str]] = {}
        self._of_service: dict[Key, set[BackendRef]] = {}

    def host(self, scope: str, name: str, host: Host | None) -> None:
        """The rules of a host, None when it has none any more, with the endpoints of their backends."""
        key = f"h:{scope}:{name}"
        self._put(key, orjson.dumps(table.of_host(host)) if host else None)
        before, now = self._needs.pop(key, set()), host.refs() if host else set()
        if now:
            self._needs[key] = now
        for ref in now - before:
            self._users.setdefault(ref, set()).add(key)
            self._of_service.setdefault(ref.service, set()).add(ref)
            self._put_endpoints(ref)
        for ref in before - now:
            self._users[ref].discard(key)
            if not self._users[ref]:
                self._let_go(ref)

    def certificate(self, scope: str, name: str, pair: Certificate | None) -> None:
        """What TLS clients see that ask for a host."""
        self._put(f"c:{scope}:{name}", orjson.dumps(pair._asdict()) if pair else None)

    def listeners(self, scope: str, named: Mapping[str, str] | None) -> None:
        """A port's listeners by their hosts."""
        self._put(f"l:{scope}", None if named is None else orjson.dumps(named))

    def service(self, key: Key) -> None:
        """The endpoints of a Service have changed, or its ports."""
        for ref in self._of_service.get(key, ()):
            self._put_endpoints(ref)

    def taken(self) -> set[str]:
        """The changed keys, which are not changed any more."""
        changed, self.changed = self.changed, {}
        return set(changed)

    def _let_go(self, ref: BackendRef) -> None:
        del self._users[ref]
        self._of_service[ref.service].discard(ref)
        if not self._of_service[ref.service]:
            del self._of_service[ref.service]
        self._put(f"b:{ref.text}", None)

    def _put_endpoints(self, ref: BackendRef) -> None:
        self._put(f"b:{ref.text}", orjson.dumps(self._endpoints(ref)))

    def _put(self, key: str, text: bytes | None) -> None:
        before = self.tables.get(key)
        if before == text:
            return
        if text is None:
            del self.tables[key]
        else:
            self.tables[key] = text
        if self.changed.setdefault(key, before) == text:  # there and back again since nginx was last told
            del self.changed[key]
