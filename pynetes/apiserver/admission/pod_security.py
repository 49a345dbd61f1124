"""PodSecurity: a namespace's labels say which of the Pod Security Standards its pods must meet.

enforce refuses pods, audit writes into the audit log, warn tells whoever creates pods or what makes pods; each by the
standards as one version of Kubernetes defined them. The standards themselves are in pod_security_standards.py.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pynetes.apis.core import namespaces, pods
from pynetes.apiserver.admission import pod_security_standards as standards
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors, field
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Key, Object

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
LEVELS = ("privileged", "baseline", "restricted")
#: Pods that are looked at when a namespace gets another level.
MOST_PODS = 3000
_EVALUATIONS = REGISTRY.counter(
    "pod_security_evaluations_total",
    "Number of policy evaluations that occurred, not counting ignored or exempt requests.",
    "decision",
    "policy_level",
    "policy_version",
    "mode",
    "request_operation",
    "resource",
    "subresource",
)
VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")

#: Where kinds with a pod template keep its spec.
TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template", "spec"),
    ("", "replicationcontrollers"): ("spec", "template", "spec"),
    ("apps", "daemonsets"): ("spec", "template", "spec"),
    ("apps", "deployments"): ("spec", "template", "spec"),
    ("apps", "replicasets"): ("spec", "template", "spec"),
    ("apps", "statefulsets"): ("spec", "template", "spec"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "jobs"): ("spec", "template", "spec"),
}


class Judged(NamedTuple):
    """What a namespace says for one mode, and what is wrong by it."""

    level: str
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def violations(self, spec: Object, metadata: Object) -> str:
        """Everything about the pod that is below the level; "" when nothing is."""
        if self.level == "privileged":
            return ""
        minor = standards.LATEST if self.version == "latest" else int(self.version.removeprefix("v1."))
        annotations = metadata.get("annotations")
        return ", ".join(standards.violations(self.level, spec, version=minor, annotations=annotations))


def policy_of(labels: Object) -> Mapping[str, Judged]:
    """Mode → level and version. Who is refused below a level is warned below it too, unless told otherwise."""
    return _policy_of(tuple(pair for pair in labels.items() if pair[0].startswith(PREFIX)))


@lru_cache(maxsize=1024)
def _policy_of(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, Judged]:
    labels = dict(pairs)
    found = {mode: _judged(labels, mode) for mode in MODES}
    if PREFIX + "warn" not in labels and LEVELS.index(found["enforce"].level) > LEVELS.index(found["warn"].level):
        found["warn"] = found["enforce"]
    return found


def _judged(labels: Object, mode: str) -> Judged:
    level = labels.get(PREFIX + mode) or "privileged"
    version = labels.get(f"{PREFIX}{mode}-version") or "latest"
    # Labels from before they were checked: fail closed, as upstream does.
    return Judged(level if level in LEVELS else "restricted", version if VERSION.fullmatch(version) else "latest")


class PodSecurity(Policy):
    """Pods, pod templates, and the labels themselves."""

    name = "PodSecurity"

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 for a pod below its namespace's level, 422 for labels that mean nothing; warns otherwise."""
        obj = attributes.obj
        if obj is None or attributes.operation not in (CREATE, UPDATE):
            return
        if attributes.on("", "namespaces"):
            _check_labels(obj)
            _warn_of_pods(ctx, attributes, obj)
            return
        pod = attributes.on("", "pods") or attributes.on("", "pods", UPDATE, subresource="ephemeralcontainers")
        path = TEMPLATES.get((attributes.resource.group, attributes.resource.plural))
        if not pod and (path is None or attributes.subresource):
            return
        if pod and attributes.operation == UPDATE:
            old = (attributes.old or {}).get("spec") or {}
            if not standards.significant(obj["spec"], old):
                return
        template = obj if pod else _at(obj, path[:-1]) if path else None
        if template and template.get("spec"):
            _judge(attributes, policy_of(_labels(ctx, attributes.namespace)), template, enforce=pod)


def _judge(attributes: Attributes, policy: Mapping[str, Judged], pod: Object, *, enforce: bool) -> None:
    spec, metadata = pod["spec"], pod.get("metadata") or {}
    audit, warn = policy["audit"], policy["warn"]
    if text := audit.violations(spec, metadata):
        attributes.annotations[f"{PREFIX}audit-violations"] = f"would violate PodSecurity {quote(str(audit))}: {text}"
        _count("deny", audit, "audit", attributes)
    if enforce:
        attributes.annotations[f"{PREFIX}enforce-policy"] = str(policy["enforce"])
        text = policy["enforce"].violations(spec, metadata)
        _count("deny" if text else "allow", policy["enforce"], "enforce", attributes)
        if text:
            raise attributes.forbidden(f"violates PodSecurity {quote(str(policy['enforce']))}: {text}")
    if text := warn.violations(spec, metadata):
        attributes.warnings.append(f"would violate PodSecurity {quote(str(warn))}: {text}")
        _count("deny", warn, "warn", attributes)


def _warn_of_pods(ctx: Context, attributes: Attributes, namespace: Object) -> None:
    """Who raises a namespace's level is told which pods there are below it: nothing happens to them."""
    if attributes.operation != UPDATE or attributes.subresource:
        return
    name = namespace["metadata"]["name"]
    new = _judged(namespace["metadata"].get("labels") or {}, "enforce")
    old = _judged(((attributes.old or {}).get("metadata") or {}).get("labels") or {}, "enforce")
    # Another version may ask for more even at a lower level.
    lowered = new.version == old.version and LEVELS.index(new.level) < LEVELS.index(old.level)
    if new == old or new.level == "privileged" or lowered:
        return
    found: dict[str, list[str]] = {}
    listed = list(ctx.objects.list(pods.RESOURCE, name))
    for pod in listed[:MOST_PODS]:
        if text := new.violations(pod["spec"], pod["metadata"]):
            found.setdefault(_reasons(text), []).append(pod["metadata"]["name"])
    if len(listed) > MOST_PODS:
        first = f"only checked against the first {MOST_PODS} of {len(listed)} existing pods"
        attributes.warnings.append(f"new PodSecurity enforce level {first}")
    if found:
        attributes.warnings.append(
            f"existing pods in namespace {quote(name)} violate the new PodSecurity enforce level {quote(str(new))}"
        )
        attributes.warnings.extend(sorted(f"{_pods(names)}: {reasons}" for reasons, names in found.items()))


def _reasons(text: str) -> str:
    """The texts of violations without what stands in parentheses."""
    return re.sub(r" \((?:[^()\"]|\"(?:[^\"\\\\]|\\\\.)*\")*\)", "", text)


def _pods(names: list[str]) -> str:
    others = len(names) - 1
    return min(names) + (f" (and {others} other pod{'s' if others > 1 else ''})" if others else "")


def _count(decision: str, judged: Judged, mode: str, attributes: Attributes) -> None:
    subresource = attributes.subresource
    what = "pod" if attributes.resource.plural == "pods" else "controller"
    operation = attributes.operation.lower()
    _EVALUATIONS.inc(decision, judged.level, judged.version, mode, operation, what, subresource)


def _labels(ctx: Context, namespace: str) -> Object:
    found = ctx.objects.get(namespaces.RESOURCE, Key("", namespace)) or {"metadata": {}}
    labels: Object = found["metadata"].get("labels") or {}
    return labels


def _at(obj: Object, path: tuple[str, ...]) -> Object | None:
    found: Object | None = obj
    for name in path:
        found = (found or {}).get(name)
    return found


def _check_labels(namespace: Object) -> None:
    problems = list(_label_problems(namespace["metadata"].get("labels") or {}))
    if problems:
        raise errors.invalid("Namespace", "", namespace["metadata"]["name"], problems)


def _label_problems(labels: Object) -> Iterator[field.Error]:
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            yield field.invalid(f"metadata.labels[{PREFIX}{mode}]", level, f"must be one of {', '.join(LEVELS)}")
        if version is not None and not VERSION.fullmatch(version):
            yield field.invalid(f"metadata.labels[{PREFIX}{mode}-version]", version, 'must be "latest" or "v1.x"')
