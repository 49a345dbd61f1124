"""What the probes and the lifecycle handlers of containers may not be."""

from collections.abc import Iterator

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_SCHEMES = ("HTTP", "HTTPS")


def validate_probes(container: Object, path: str) -> Errors:
    """Whether and when a container is asked how it is."""
    for name in PROBES:
        if container.get(name) is not None:
            yield from _probe(container[name], f"{path}.{name}", readiness=name == "readinessProbe")


def validate_lifecycle(lifecycle: Object | None, path: str, grace: int | None) -> Errors:
    """What happens after its start and before its end."""
    for name in ("postStart", "preStop"):
        if (lifecycle or {}).get(name) is not None:
            yield from _handler((lifecycle or {})[name], f"{path}.{name}", (*_HANDLERS[:3], "sleep"), grace)


def _sleep(sleep: Object, path: str, grace: int | None) -> Errors:
    seconds = sleep.get("seconds") or 0
    if grace is not None and not 0 <= seconds <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield field.invalid(path, seconds, detail)


def _probe(probe: Object, path: str, *, readiness: bool) -> Errors:
    yield from _handler(probe, path, _HANDLERS, None)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from validation.non_negative(probe.get(name), f"{path}.{name}")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield field.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if readiness and grace is not None:
        yield field.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    if not readiness and probe.get("successThreshold", 1) != 1:
        yield field.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Object, path: str, kinds: tuple[str, ...], grace: int | None) -> Errors:
    given = [name for name in kinds if handler.get(name) is not None]
    if not given:
        yield field.required(path, "must specify a handler type")
        return
    action, place = handler[given[0]], f"{path}.{given[0]}"
    match given[0]:
        case "exec":
            if not action.get("command"):
                yield field.required(f"{place}.command")
        case "sleep":
            yield from _sleep(action, place, grace)
        case "httpGet":
            yield from _http_get(action, place)
        case _:
            yield from validation.port(action.get("port", 0), f"{place}.port")
    for name in given[1:]:
        yield field.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")


def _http_get(action: Object, path: str) -> Errors:
    if not action.get("path"):
        yield field.required(f"{path}.path")
    yield from validation.port(action.get("port", 0), f"{path}.port")
    if action.get("scheme") not in _SCHEMES:
        yield field.not_supported(f"{path}.scheme", action.get("scheme") or "", _SCHEMES)
    for header in action.get("httpHeaders") or ():
        yield from validation.checked(header.get("name") or "", f"{path}.httpHeaders", names.http_header)
