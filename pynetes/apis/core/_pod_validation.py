"""What a pod may not be, and which of its fields may change."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from pynetes.apis.core import (
    _affinity_validation,
    _container_validation,
    _pod_resources,
    _security_validation,
    _volume_validation,
)
from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.recent import Recent
from pynetes.machinery.schema import gotext, types

Errors = Iterator[field.Error]

#: Specs without mistakes that came lately.
_VALID: Recent[bool] = Recent(256)
#: Longer ones are not remembered.
LARGEST = 16 << 10
#: The name that the ServiceAccount admission plugin generates, as a JSON text.
_TOKEN_VOLUME = re.compile(rb'"kube-api-access-[a-z0-9]{5}"')
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_UNSATISFIABLE, _INCLUSION = ("DoNotSchedule", "ScheduleAnyway"), ("Honor", "Ignore")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod(new: Object, old: Object | None) -> Errors:
    """Mistakes of a pod, or of a change to it."""
    spec = new.get("spec") or {}
    yield from validate_own(new)
    if old is not None:
        yield from validate_mirror(new, old)
        yield from _validate_update(spec, old.get("spec") or {})
        return
    if spec.get("ephemeralContainers"):
        yield field.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield field.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


_MIRROR, _APPARMOR = "kubernetes.io/config.mirror", "container.apparmor.security.beta.kubernetes.io/"


def validate_mirror(new: Object, old: Object) -> Errors:
    """A pod is a mirror or none for life, by its status too: a node makes mirrors of what it likes, and they give it
    no right to what they refer to."""
    now, before = ((pod["metadata"].get("annotations") or {}).get(_MIRROR) for pod in (new, old))
    if now != before:
        path = f"metadata.annotations[{_MIRROR}]"
        what = "add" if before is None else "remove or update"
        yield field.forbidden(path, f"may not {what} mirror pod annotation")


_COST = "controller.kubernetes.io/pod-deletion-cost"
_PROFILES = ("", "runtime/default", "unconfined")


def _is_cost(text: str) -> bool:
    """32 bits, without sign or zeros in front."""
    return bool(re.fullmatch(r"-[0-9]+|0|[1-9][0-9]*", text)) and -(1 << 31) <= int(text) < 1 << 31


def _annotated(annotations: Object, spec: Object, path: str = "metadata.annotations") -> Errors:
    """A mirror is of a pod that runs already; profiles are of containers that are there."""
    if _MIRROR in annotations and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        yield field.invalid(f"{path}[{_MIRROR}]", annotations[_MIRROR], detail)
    if not _is_cost(annotations.get(_COST, "0")):
        yield field.invalid(f"{path}[{_COST}]", annotations[_COST], "must be a 32bit integer")
    lists = ("initContainers", "containers", "ephemeralContainers")
    for key, profile in annotations.items():
        name = key.removeprefix(_APPARMOR)
        if name == key:
            continue
        if name not in (item.get("name") for kind in lists for item in spec.get(kind) or ()):
            yield field.invalid(f"{path}[{key}]", name, "container not found")
        if profile not in _PROFILES and not profile.startswith("localhost/"):
            detail = f"invalid AppArmor profile name: {field.quote(profile)}"
            yield field.invalid(f"{path}[{key}]", profile, detail)


def template_of(spec: Object) -> bytes:
    """JSON that is the same for all pods of one template: they differ in the name of the token's volume only."""
    written = orjson.dumps(spec)
    generated = set(_TOKEN_VOLUME.findall(written))
    return written.replace(generated.pop(), b'"kube-api-access-"') if len(generated) == 1 else written


def validate_own(pod: Object) -> Errors:
    """A pod's spec and what its annotations say of that. The token's volume has a valid name in all of them, so what
    was found right once is not looked at again."""
    spec = pod.get("spec") or {}
    yield from _annotated(pod["metadata"].get("annotations") or {}, spec)
    template = template_of(spec)
    if _VALID.get(template):
        return
    problems = list(_of_pod(spec, pod["metadata"].get("name") or ""))
    yield from problems
    # What an ephemeral volume's claim is called depends on the pod's own name.
    named = any(volume.get("ephemeral") for volume in spec.get("volumes") or ())
    if not problems and not named and len(template) <= LARGEST:
        _VALID.put(template, True)


def _of_pod(spec: Object, name: str) -> Errors:
    """What holds for a pod, and not only for templates of one."""
    yield from validate_spec(spec, "spec", name)
    if not spec.get("serviceAccountName"):
        for place, source in _projections(spec):
            if source.get("serviceAccountToken") is not None:
                detail = "must not be specified when serviceAccountName is not set"
                yield field.forbidden(f"{place}.serviceAccountToken", detail)
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield from _container_validation.validate_image(container, f"spec.{kind}[{index}]")


def _projections(spec: Object) -> Iterator[tuple[str, Object]]:
    for index, volume in enumerate(spec.get("volumes") or ()):
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            yield f"spec.volumes[{index}].projected.sources[{number}]", source


def validate_template(template: Object | None, path: str) -> Errors:
    """Mistakes of a pod template."""
    template = template or {}
    metadata = template.get("metadata") or {}
    yield from validation.label_map(metadata.get("labels"), f"{path}.labels")
    for key in metadata.get("annotations") or ():
        yield from validation.checked(key.lower(), f"{path}.annotations", names.qualified_name)
    spec = template.get("spec") or {}
    yield from _annotated(metadata.get("annotations") or {}, spec, f"{path}.annotations")
    yield from validate_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        yield field.forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def validate_spec(spec: Object, path: str, pod: str | None = None) -> Errors:
    """Mistakes of a pod spec, in upstream's order; None is the name of no pod, but of a template."""
    volumes: set[str] = set()
    yield from _volume_validation.validate_volumes(spec.get("volumes"), f"{path}.volumes", volumes, pod)
    yield from _claims(spec.get("resourceClaims"), f"{path}.resourceClaims")
    yield from _container_validation.validate_containers(spec, path, volumes)
    yield from _pod_resources.validate(spec, f"{path}.resources")
    yield from _container_validation.validate_host_network(spec, path, template=pod is None)
    yield from validation.one_of(spec.get("restartPolicy"), f"{path}.restartPolicy", ("Always", "OnFailure", "Never"))
    yield from validation.one_of(spec.get("dnsPolicy"), f"{path}.dnsPolicy", _DNS_POLICIES)
    yield from validation.label_map(spec.get("nodeSelector"), f"{path}.nodeSelector")
    yield from _security_validation.validate_pod(spec, path)
    yield from _affinity_validation.validate(spec.get("affinity"), f"{path}.affinity")
    yield from _dns(spec, path)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        place = f"{path}.readinessGates[{index}].conditionType"
        yield from validation.checked(gate.get("conditionType", ""), place, names.qualified_name)
    yield from _gates(spec.get("schedulingGates"), f"{path}.schedulingGates")
    yield from _spread(spec.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints")
    yield from _security_validation.validate_host_processes(spec, path)
    yield from _host_users(spec, path)
    yield from _last(spec, path)


def _last(spec: Object, path: str) -> Errors:
    """The rest of a spec, from the account on."""
    yield from _named(spec, path, ("serviceAccountName", "nodeName"))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        detail = "must be between 1 and 2147483647, inclusive"
        yield field.invalid(f"{path}.activeDeadlineSeconds", deadline, detail)
    yield from _named(spec, path, ("hostname", "subdomain"))
    yield from validate_tolerations(spec.get("tolerations"), f"{path}.tolerations")
    yield from _aliases(spec.get("hostAliases"), f"{path}.hostAliases")
    yield from _named(spec, path, ("priorityClassName",))
    if spec.get("runtimeClassName") is not None:
        yield from validation.checked(spec["runtimeClassName"], f"{path}.runtimeClassName", names.dns_subdomain)
    if spec.get("preemptionPolicy") is not None:
        policies = ("PreemptLowerPriority", "Never")
        yield from validation.one_of(spec["preemptionPolicy"], f"{path}.preemptionPolicy", policies)
    if spec.get("overhead") is not None:
        yield from _container_validation.validate_resources({"limits": spec["overhead"]}, f"{path}.overhead")
    yield from _security_validation.validate_os(spec, path)


_NAMED = {
    "serviceAccountName": names.dns_subdomain,
    "nodeName": names.dns_subdomain,
    "hostname": names.dns_label,
    "subdomain": names.dns_label,
    "priorityClassName": names.dns_subdomain,
}


def _named(spec: Object, path: str, members: tuple[str, ...]) -> Errors:
    for name in members:
        if spec.get(name):
            yield from validation.checked(spec[name], f"{path}.{name}", _NAMED[name])


def _dns(spec: Object, path: str) -> Errors:
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        if spec.get("dnsConfig") is None:
            yield field.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        else:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield field.required(f"{path}.dnsConfig.nameservers", detail)
        return
    yield from _affinity_validation.validate_dns(spec.get("dnsConfig"), f"{path}.dnsConfig")


def _host_users(spec: Object, path: str) -> Errors:
    if spec.get("hostUsers") is False:
        for name, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(name):
                yield field.forbidden(f"{path}.{shown}", "when `hostUsers` is false")


def validate_tolerations(tolerations: Any, path: str) -> Errors:
    """Mistakes of tolerations."""
    for index, item in enumerate(tolerations or ()):
        place = f"{path}[{index}]"
        key, operator, value = item.get("key", ""), item.get("operator", ""), item.get("value", "")
        if key:
            yield from validation.checked(key, f"{place}.key", names.qualified_name)
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield field.invalid(f"{place}.operator", operator, detail)
        effect = item.get("effect", "")
        if item.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield field.invalid(f"{place}.effect", effect, detail)
        if operator in ("Equal", ""):
            if wrong := names.label_value(value):
                yield field.invalid(f"{place}.operator", value, ";".join(wrong))
        elif operator == "Exists":
            if value:
                yield field.invalid(f"{place}.operator", value, "value must be empty when `operator` is 'Exists'")
        else:
            yield field.not_supported(f"{place}.operator", operator, ("Equal", "Exists"))
        if effect:
            yield from validation.one_of(effect, f"{place}.effect", _EFFECTS)


def _claims(claims: Any, path: str) -> Errors:
    seen: set[str] = set()
    for index, claim in enumerate(claims or ()):
        place, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield field.required(f"{place}.name")
        elif name in seen:
            yield field.duplicate(f"{place}.name", name)
        else:
            yield from validation.checked(name, f"{place}.name", names.dns_label)
        seen.add(name)
        given = [key for key in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(key) is not None]
        shown = {
            "Name": name,
            "ResourceClaimName": claim.get("resourceClaimName"),
            "ResourceClaimTemplateName": claim.get("resourceClaimTemplateName"),
        }
        if len(given) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield field.invalid(place, shown, detail)
        if not given:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield field.invalid(place, shown, detail)
        for key in given:
            yield from validation.checked(claim[key], f"{place}.{key}", names.dns_subdomain)


def _spread(constraints: Any, path: str) -> Errors:
    constraints = constraints or ()
    for index, item in enumerate(constraints):
        place = f"{path}[{index}]"
        key, action = item.get("topologyKey") or "", item.get("whenUnsatisfiable") or ""
        if item.get("maxSkew", 0) <= 0:
            yield field.invalid(f"{place}.maxSkew", item.get("maxSkew", 0), "must be greater than zero")
        if not key:
            yield field.required(f"{place}.topologyKey", "can not be empty")
        if action not in _UNSATISFIABLE:
            yield field.not_supported(f"{place}.whenUnsatisfiable", action, _UNSATISFIABLE)
        later = ((each.get("topologyKey"), each.get("whenUnsatisfiable")) for each in constraints[index + 1 :])
        if (key, action) in later:
            yield field.duplicate(f"{place}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        least = item.get("minDomains")
        if least is not None and least <= 0:
            yield field.invalid(f"{place}.minDomains", least, "must be greater than zero")
        if least is not None and action != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            yield field.invalid(f"{place}.minDomains", least, detail)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if item.get(name) is not None and item[name] not in _INCLUSION:
                yield field.not_supported(f"{place}.{name}", item[name], _INCLUSION)
        yield from _label_keys(item, f"{place}.matchLabelKeys")
        yield from validation.label_selector(item.get("labelSelector"), f"{place}.labelSelector")


def _label_keys(constraint: Object, path: str) -> Errors:
    keys, selector = constraint.get("matchLabelKeys") or (), constraint.get("labelSelector")
    if keys and selector is None:
        yield field.forbidden(path, "must not be specified when labelSelector is not set")
    for index, key in enumerate(keys):
        yield from validation.checked(key, f"{path}[{index}]", names.qualified_name)
    if keys:
        yield from _affinity_validation.twice(keys, selector or {}, path)


def _gates(gates: Any, path: str) -> Errors:
    seen: set[str] = set()
    for index, gate in enumerate(gates or ()):
        name = gate.get("name", "")
        yield from validation.checked(name, f"{path}[{index}]", names.qualified_name)
        if name in seen:
            yield field.duplicate(f"{path}[{index}]", name)
        seen.add(name)


def _aliases(aliases: Any, path: str) -> Errors:
    for index, item in enumerate(aliases or ()):
        yield from validation.checked(item.get("ip", ""), f"{path}[{index}].ip", inet.ip)
        for number, host in enumerate(item.get("hostnames") or ()):
            yield from validation.checked(host, f"{path}[{index}].hostnames[{number}]", names.dns_subdomain)


def _validate_update(new: Object, old: Object) -> Errors:
    """Only images, a shorter deadline, more tolerations and fewer scheduling gates may change."""
    for name in ("containers", "initContainers"):
        if len(new.get(name) or ()) != len(old.get(name) or ()):
            yield field.forbidden(f"spec.{name}", "pod updates may not add or remove containers")
            return
        for index, container in enumerate(new.get(name) or ()):
            if not container.get("image"):
                yield field.required(f"spec.{name}[{index}].image")
            yield from _container_validation.validate_image(container, f"spec.{name}[{index}]")
    before, after = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if problem := _deadline_problem(before, after):
        yield field.invalid("spec.activeDeadlineSeconds", after, problem)
        if after is not None:
            return
    kept = [_without_seconds(item) for item in new.get("tolerations") or ()]
    if any(_without_seconds(item) not in kept for item in old.get("tolerations") or ()):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield field.forbidden("spec.tolerations", detail)
    else:
        yield from validate_tolerations(new.get("tolerations"), "spec.tolerations")
    before_gates = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for index, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in before_gates:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'"
            yield field.forbidden(f"spec.schedulingGates[{index}].name", detail)
    yield from _narrowed(new, old)
    munged = _munged(new, old)
    if munged != old:
        type_ = types.named("api.core.v1.PodSpec")
        difference = gotext.diff(gotext.shown(type_, old), gotext.shown(type_, munged))
        yield field.forbidden("spec", f"{_MUTABLE}\n{difference}")


def _without_seconds(toleration: Object) -> Object:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds" and value}


def _narrowed(new: Object, old: Object) -> Errors:
    """A gated pod may be narrowed down to nodes, not be let onto others."""
    if not old.get("schedulingGates"):
        return
    chosen = new.get("nodeSelector") or {}
    if any(chosen.get(key) != value for key, value in (old.get("nodeSelector") or {}).items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield field.invalid("spec.nodeSelector", new.get("nodeSelector"), detail)
    before, after = _required_terms(old), _required_terms(new)
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    type_ = types.named("api.core.v1.NodeSelectorTerm")
    if before and len(before) != len(after):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield field.invalid(path, [gotext.shown(type_, term) for term in after], detail)
    elif before:
        for index, (term, was) in enumerate(zip(after, before, strict=True)):
            kinds = ("matchExpressions", "matchFields")
            if any((term.get(kind) or [])[: len(was.get(kind) or ())] != (was.get(kind) or []) for kind in kinds):
                detail = "only additions are allowed (no mutations or deletions)"
                yield field.invalid(f"{path}[{index}]", gotext.shown(type_, term), detail)


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _required_terms(spec: Object) -> list[Object]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return list((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())


def _deadline_problem(before: int | None, after: int | None) -> str:
    if after is None:
        return "must not update from a positive integer to nil value" if before is not None else ""
    if not 0 <= after < 1 << 31:
        return f"must be between 0 and {(1 << 31) - 1}, inclusive"
    return "must be less than or equal to previous value" if before is not None and after > before else ""


def _put_back_node_affinity(munged: Object, old: Object) -> None:
    before = (old.get("affinity") or {}).get("nodeAffinity")
    affinity = {**(munged.get("affinity") or {}), "nodeAffinity": before}
    affinity = {name: value for name, value in affinity.items() if value is not None}
    munged.pop("affinity", None)
    if affinity or old.get("affinity") is not None:
        munged["affinity"] = affinity


def _munged(new: Object, old: Object) -> Object:
    """The new spec with everything that may change put back; what still differs from the old one may not."""
    munged = dict(new)
    loose = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if old.get("schedulingGates"):
        # A gated pod may still be narrowed down to nodes.
        loose.append("nodeSelector")
        _put_back_node_affinity(munged, old)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        loose.append("terminationGracePeriodSeconds")
    for name in loose:
        munged.pop(name, None)
        if name in old:
            munged[name] = old[name]
    for name in ("containers", "initContainers"):
        if name in munged:
            pairs = zip(munged[name], old.get(name) or (), strict=False)
            munged[name] = [{**item, "image": was.get("image", "")} for item, was in pairs]
    return munged
