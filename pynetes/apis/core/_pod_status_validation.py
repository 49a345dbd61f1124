"""What the status of a pod may not become."""

from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_SYSTEM = ("PodScheduled", "Ready", "Initialized")
_FAMILIES = 2


def validate(new: Object, old: Object) -> Errors:
    """Conditions, addresses and states of containers; a pod's class of service is for life."""
    status, before, spec = new.get("status") or {}, old.get("status") or {}, old.get("spec") or {}
    for index, condition in enumerate(status.get("conditions") or ()):
        if condition.get("type") not in _SYSTEM:
            # Upstream's own path.
            path = f"metadata.conditions[{index}].Type"
            yield from validation.checked(condition.get("type") or "", path, names.qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        yield from validation.checked(nominated, "status.nominatedNodeName", names.dns_subdomain)
    if (status.get("qosClass") or "") != (before.get("qosClass") or ""):
        yield field.invalid("status.qosClass", status.get("qosClass") or "", "field is immutable")
    policy = spec.get("restartPolicy") or "Always"
    for kind in ("containers", "initContainers"):
        yield from _restarted(f"{kind[:-1]}Statuses", status, before, policy, _restartable(spec.get(kind)))
    yield from _restarted("ephemeralContainerStatuses", status, before, "Never", ())
    yield from _claims(status.get("resourceClaimStatuses"), spec)
    yield from _addresses(status.get("podIPs") or [], "status.podIPs")
    yield from _host_addresses(status)


def _restartable(containers: Any) -> tuple[str, ...]:
    """Those that may run again whatever the pod's policy: sidecars, and who has a policy or rules of their own."""
    own = ("restartPolicy", "restartPolicyRules")
    return tuple(item.get("name", "") for item in containers or () if any(item.get(name) for name in own))


def _restarted(kind: str, status: Object, before: Object, policy: str, exempt: tuple[str, ...]) -> Errors:
    """What has ended for good does not run again."""
    if policy == "Always":
        return
    now = {item.get("name"): item for item in status.get(kind) or ()}
    for index, item in enumerate(before.get(kind) or ()):
        ended = (item.get("state") or {}).get("terminated")
        if ended is None or item.get("name") in exempt or (ended.get("exitCode") and policy == "OnFailure"):
            continue
        other = now.get(item.get("name"))
        if other is not None and (other.get("state") or {}).get("terminated") is None:
            yield field.forbidden(f"status.{kind}[{index}].state", "may not be transitioned to non-terminated state")


def _claims(statuses: Any, spec: Object) -> Errors:
    known, seen = {claim.get("name") for claim in spec.get("resourceClaims") or ()}, set()
    for index, item in enumerate(statuses or ()):
        path, name = f"status.resourceClaimStatuses[{index}].name", item.get("name") or ""
        if name not in known:
            yield field.invalid(path, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield field.duplicate(path, name)
        seen.add(name)
        if item.get("resourceClaimName") is not None:
            yield from validation.checked(item["resourceClaimName"], path, names.dns_subdomain)


def _host_addresses(status: Object) -> Errors:
    hosts = status.get("hostIPs") or []
    if hosts and hosts[0].get("ip") != status.get("hostIP"):
        yield field.invalid("status.hostIPs[0].ip", hosts[0].get("ip") or "", "must be equal to `hostIP`")
    yield from _addresses(hosts, "status.hostIPs")


def _addresses(items: list[Object], path: str) -> Errors:
    """One of each family."""
    texts = [item.get("ip") or "" for item in items]
    wrong = False
    for index, text in enumerate(texts):
        found = inet.ip(text)
        wrong = wrong or bool(found)
        yield from (field.invalid(f"{path}[{index}]", text, detail) for detail in found)
    if len(texts) < _FAMILIES or wrong:
        return
    if len(texts) > _FAMILIES or len({":" in text for text in texts}) < _FAMILIES:
        yield field.invalid(path, _printed(texts), "may specify no more than one IP for each IP family")
    for index, text in enumerate(texts):
        if text in texts[:index]:
            yield field.duplicate(f"{path}[{index}]", {"IP": text})


def _printed(texts: list[str]) -> list[Object]:
    return [{"IP": text} for text in texts]


def keep_generations(new: Object, old: Object) -> None:
    """A writer that knows nothing of observedGeneration does not take it away."""
    status, before = new.get("status") or {}, old.get("status") or {}
    if not status.get("observedGeneration") and before.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]
    former: dict[Any, list[int]] = {}
    for condition in before.get("conditions") or ():
        former.setdefault(condition.get("type"), []).append(condition.get("observedGeneration") or 0)
    for condition in status.get("conditions") or ():
        known = former.get(condition.get("type"))
        generation = known.pop(0) if known else 0
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation
