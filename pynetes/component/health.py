"""/healthz, /livez and /readyz: named checks, each a function that returns None or says what is wrong.

The answers are upstream's: "ok", or with ?verbose (and on failure) one [+]name ok or [-]name failed line per check.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

Check = Callable[[], str | None]


class Result(NamedTuple):
    """An HTTP answer."""

    status: int
    text: str


class Checks:
    """The checks of one component. A liveness check counts towards readiness as well."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {"ping": lambda: None}
        self._ready: dict[str, Check] = {}

    def live(self, name: str, check: Check) -> None:
        """Add what must hold for the process to be worth keeping."""
        self._live[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Add what must hold before work is sent here."""
        self._ready[name] = check

    def answer(self, endpoint: str, *, verbose: bool = False, exclude: Collection[str] = (), only: str = "") -> Result:
        """endpoint is healthz, livez or readyz; only picks one check, as /livez/NAME does."""
        checks = self._live | self._ready if endpoint == "readyz" else self._live
        if only:
            if only not in checks:
                return Result(404, "404 page not found\n")
            checks = {only: checks[only]}
        failures = {name: wrong for name, check in checks.items() if name not in exclude and (wrong := check())}
        if not failures and not verbose:
            return Result(200, "ok")
        lines = [f"[-]{n} failed: reason withheld" if n in failures else _fine(n, n in exclude) for n in checks]
        verdict = "failed" if failures else "passed"
        return Result(500 if failures else 200, "\n".join([*lines, f"{endpoint} check {verdict}", ""]))


def _fine(name: str, excluded: bool) -> str:
    return f"[+]{name} excluded: ok" if excluded else f"[+]{name} ok"
