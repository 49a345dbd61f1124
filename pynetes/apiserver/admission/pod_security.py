"""PodSecurity: a namespace's labels say which of the Pod Security Standards its pods must meet.

enforce refuses pods; warn (and enforce, for templates) tells whoever creates them. The standards themselves are in
pod_security_standards.py.
"""

import re
from collections.abc import Iterator

from pynetes.apis.core import namespaces
from pynetes.apiserver.admission import pod_security_standards as standards
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery import errors, field
from pynetes.machinery.field import quote
from pynetes.machinery.meta import Key, Object

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
LEVELS = ("privileged", "baseline", "restricted")
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
            return
        pod = attributes.on("", "pods") or attributes.on("", "pods", UPDATE, subresource="ephemeralcontainers")
        path = TEMPLATES.get((attributes.resource.group, attributes.resource.plural))
        if not pod and (path is None or attributes.subresource):
            return
        labels = _labels(ctx, attributes.namespace)
        if pod:
            self._pod(attributes, labels, obj["spec"])
        elif path is not None:
            spec = _at(obj, path)
            if spec is not None:
                self._warn(attributes, labels, spec, ("enforce", "warn"))

    def _pod(self, attributes: Attributes, labels: Object, spec: Object) -> None:
        if attributes.operation == UPDATE and not attributes.subresource:
            old = (attributes.old or {}).get("spec") or {}
            if standards.relevant(spec) == standards.relevant(old):
                return
        level, text = _violations(labels, "enforce", spec)
        if text:
            raise attributes.forbidden(f"violates PodSecurity {quote(level)}: {text}")
        self._warn(attributes, labels, spec, ("warn",))

    def _warn(self, attributes: Attributes, labels: Object, spec: Object, modes: tuple[str, ...]) -> None:
        for mode in modes:
            level, text = _violations(labels, mode, spec)
            if text:
                warning = f"would violate PodSecurity {quote(level)}: {text}"
                if warning not in attributes.warnings:
                    attributes.warnings.append(warning)
                return


def _labels(ctx: Context, namespace: str) -> Object:
    found = ctx.objects.get(namespaces.RESOURCE, Key("", namespace)) or {"metadata": {}}
    labels: Object = found["metadata"].get("labels") or {}
    return labels


def _violations(labels: Object, mode: str, spec: Object) -> tuple[str, str]:
    """The level as messages name it, and everything about the pod that is below it."""
    level = labels.get(PREFIX + mode) or "privileged"
    version = labels.get(f"{PREFIX}{mode}-version") or "latest"
    if level not in LEVELS:
        # Labels from before they were checked: fail closed, as upstream does.
        level = "restricted"
    return f"{level}:{version}", ", ".join(standards.violations(level, spec))


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
