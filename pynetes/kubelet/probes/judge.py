"""Judges the results of one probe: thresholds, and what counts before there is a result. Pure."""

from dataclasses import dataclass

from pynetes.machinery.meta import Object

KINDS = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}


@dataclass(slots=True)
class Judge:
    """The verdict over a row of results."""

    kind: str
    success_threshold: int = 1
    failure_threshold: int = 3
    #: None until the first verdict: a container is alive, not ready, and not started until a probe says otherwise.
    verdict: bool | None = None
    _row: int = 0
    _last: bool | None = None

    @classmethod
    def of(cls, kind: str, probe: Object) -> "Judge":
        """For a probe of a container's spec."""
        return cls(kind, int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3))

    def add(self, success: bool) -> bool:
        """Take a result; whether the verdict changed."""
        self._row = self._row + 1 if success == self._last else 1
        self._last = success
        if self._row < (self.success_threshold if success else self.failure_threshold):
            return False
        changed = self.verdict != success
        self.verdict = success
        return changed

    @property
    def done(self) -> bool:
        """No more probing: a startup probe that has succeeded, or what the container will be restarted for."""
        return (self.kind == "startup" and self.verdict is True) or (self.kind != "readiness" and self.verdict is False)


def timing(probe: Object) -> tuple[float, float, float]:
    """Initial delay, period and timeout in seconds; a timeout of 0 means one second."""
    return (
        float(probe.get("initialDelaySeconds") or 0),
        float(probe.get("periodSeconds") or 10),
        float(probe.get("timeoutSeconds") or 1),
    )
