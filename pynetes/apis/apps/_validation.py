"""What the workload kinds check alike: selector and template, counts, rolling updates."""

from collections.abc import Iterator
from typing import Any

from pynetes.apis.core import _pod_validation
from pynetes.machinery import field, labels, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

#: How an empty selector is complained of: upstream has the same text for both.
_EMPTY = {"ReplicaSet": "deployment"}
#: A Deployment's template is checked as that of the ReplicaSets made from it.
_CALLED = {"daemonset": "DaemonSet", "statefulset": "StatefulSet"}


def selector_and_template(spec: Object, kind: str, *, restart: tuple[str, ...] = ("Always",)) -> Errors:
    """The selector must select the template's pods, which must be restarted as the kind needs."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        yield field.required("spec.selector")
    else:
        yield from validation.label_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield field.invalid("spec.selector", selector, f"empty selector is invalid for {_EMPTY.get(kind, kind)}")
    try:
        labels.from_label_selector(selector)
    except ValueError:
        # What the template must match is not known, so upstream says no more.
        yield field.invalid("spec.selector", selector, "invalid label selector")
        return
    yield from matches(selector, template)
    yield from _pod_validation.validate_template(template, "spec.template")
    yield from restart_policy(template, restart)
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {_CALLED.get(kind, 'ReplicaSet')} is not Supported"
        yield field.forbidden("spec.template.spec.activeDeadlineSeconds", detail)


def matches(selector: Any, template: Object) -> Errors:
    """The template's labels are selected by a selector that is sound."""
    given = (template.get("metadata") or {}).get("labels")
    if selector is None or not labels.from_label_selector(selector).matches(given):
        detail = "`selector` does not match template `labels`"
        yield field.invalid("spec.template.metadata.labels", given, detail)


def restart_policy(template: Object, allowed: tuple[str, ...]) -> Errors:
    """Whether pods of the template restart as their controller needs it."""
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy and policy not in allowed:
        yield field.not_supported("spec.template.spec.restartPolicy", policy, allowed)


def counts(spec: Object, *names: str) -> Errors:
    """Numbers of the spec from 0 up."""
    for name in names:
        yield from validation.non_negative(spec.get(name), f"spec.{name}")


def rolling_nodes(update: Object | None, path: str) -> Errors:
    """The same for a DaemonSet: a node has either its old pod for longer, or its new one sooner."""
    if update is None:
        return
    counts = {name: update.get(name) for name in ("maxUnavailable", "maxSurge")}
    for name, value in counts.items():
        yield from validation.int_or_percent(value, f"{path}.{name}")
    for name, value in counts.items():
        yield from validation.at_most_hundred_percent(value, f"{path}.{name}")
    some = {name: value not in (0, "0%", None) for name, value in counts.items()}
    if all(some.values()):
        detail = "may not be set when maxUnavailable is non-zero"
        yield field.invalid(f"{path}.maxSurge", counts["maxSurge"], detail)
    elif not any(some.values()):
        yield field.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def rolling(update: Object | None, path: str) -> Errors:
    """maxSurge and maxUnavailable are counts or percentages, and not both 0."""
    if update is None:
        return
    unavailable, surge = update.get("maxUnavailable"), update.get("maxSurge")
    yield from validation.int_or_percent(unavailable, f"{path}.maxUnavailable")
    yield from validation.int_or_percent(surge, f"{path}.maxSurge")
    if unavailable in (0, "0%", None) and surge in (0, "0%", None):
        yield field.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    yield from validation.at_most_hundred_percent(unavailable, f"{path}.maxUnavailable")
