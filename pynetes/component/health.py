"""/healthz, /livez and /readyz: named checks, each a function that returns None or says what is wrong.

The answers are upstream's: "ok", or with ?verbose (and on failure) one [+]name ok or [-]name failed line per check.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from pynetes.component.metrics import Registry

Check = Callable[[], str | None]


class Result(NamedTuple):
    """An HTTP answer."""

    status: int
    text: str


#: What /metrics/slis shows, apart from the component's other metrics as upstream has it.
SLIS = Registry()
_LAST = SLIS.gauge("kubernetes_healthcheck", "This metric records the result of a single healthcheck.", "type", "name")
_ALL = SLIS.counter(
    "kubernetes_healthchecks_total", "This metric records the results of all healthcheck.", "type", "name", "status"
)
ALIVE, READY = frozenset({"healthz", "livez"}), frozenset({"readyz"})


class Checks:
    """The checks of one component, answered in the order in which they were added."""

    def __init__(self, *, before: Callable[[], Awaitable[None]] | None = None) -> None:
        """before is awaited before requests are answered: it finds out what checks, which wait for nothing, tell."""
        self._before = before
        self._checks: dict[str, tuple[Check, frozenset[str]]] = {}
        self.live("ping", lambda: None)

    def live(self, name: str, check: Check, *, ready: bool = True) -> None:
        """Add what must hold for the process to be worth keeping; counts towards readiness as well unless told not."""
        self._checks[name] = check, ALIVE | READY if ready else ALIVE

    def ready(self, name: str, check: Check) -> None:
        """Add what must hold before work is sent here."""
        self._checks[name] = check, READY

    async def look(self) -> None:
        """Find out what has to be asked for; before `answer`."""
        if self._before is not None:
            await self._before()

    def answer(self, endpoint: str, *, verbose: bool = False, exclude: Collection[str] = (), only: str = "") -> Result:
        """endpoint is healthz, livez or readyz; only picks one check, as /livez/NAME does."""
        checks = {name: check for name, (check, endpoints) in self._checks.items() if endpoint in endpoints}
        if only:
            if only not in checks:
                return Result(404, "404 page not found\n")
            wrong = checks[only]()
            return Result(500, f"internal server error: {wrong}\n") if wrong else Result(200, "ok")
        found = {name: check() for name, check in checks.items() if name not in exclude}
        for name, wrong in found.items():
            _LAST.set(0 if wrong else 1, endpoint, name)
            _ALL.inc(endpoint, name, "error" if wrong else "success")
        failures = {name: wrong for name, wrong in found.items() if wrong}
        if not failures and not verbose:
            return Result(200, "ok")
        lines = [f"[-]{n} failed: reason withheld" if n in failures else _fine(n, n in exclude) for n in checks]
        if strangers := ",".join(f'"{name}"' for name in sorted(set(exclude) - checks.keys())):
            lines.append(f"warn: some health checks cannot be excluded: no matches for {strangers}")
        verdict = "failed" if failures else "passed"
        return Result(500 if failures else 200, "\n".join([*lines, f"{endpoint} check {verdict}", ""]))


def _fine(name: str, excluded: bool) -> str:
    return f"[+]{name} excluded: ok" if excluded else f"[+]{name} ok"
