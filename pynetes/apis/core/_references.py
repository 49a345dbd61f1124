"""References of environment variables and volumes to what the pod or its container has: the downward API."""

import re
from collections.abc import Iterator

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_IDENTITY = ("metadata.name", "metadata.namespace", "metadata.uid")
ENVIRONMENT_FIELDS = (
    *_IDENTITY, "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
    "status.podIPs",
)  # fmt: skip
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", *_IDENTITY)
_KNOWN = {*ENVIRONMENT_FIELDS, *VOLUME_FIELDS}
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]$")
_AMOUNTS = ("cpu", "ephemeral-storage", "memory")
RESOURCES = tuple(f"{kind}.{name}" for kind in ("limits", "requests") for name in _AMOUNTS)
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SCALES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
#: Resource → what its divisor may be, and how the resource is called.
_DIVISORS = {
    "cpu": (("1m", "1"), "the cpu resource"),
    "memory": (_SCALES, "the memory resource"),
    "ephemeral-storage": (_SCALES, "the local ephemeral storage resource"),
}


def field_ref(ref: Object, path: str, allowed: tuple[str, ...]) -> Errors:
    """A field of the pod, perhaps one label or annotation of it."""
    text = ref.get("fieldPath") or ""
    if not text:
        yield field.required(f"{path}.fieldPath")
        return
    found = _SUBSCRIPT.match(text)
    plain = found[1] if found else text
    if plain not in _KNOWN:
        detail = f"error converting fieldPath: field label not supported: {text}"
        yield field.invalid(f"{path}.fieldPath", text, detail)
    elif found is None:
        if plain not in allowed:
            yield field.not_supported(f"{path}.fieldPath", plain, allowed)
    elif plain == "metadata.annotations":
        yield from (field.invalid(path, found[2], why) for why in names.qualified_name(found[2].lower()))
    elif plain == "metadata.labels":
        yield from validation.checked(found[2], path, names.qualified_name)
    else:
        yield field.invalid(path, plain, "does not support subscript")


def resource_ref(ref: Object, path: str, *, volume: bool) -> Errors:
    """A request or limit of a container, named where it is not the one around."""
    resource = ref.get("resource") or ""
    if volume and not ref.get("containerName"):
        yield field.required(f"{path}.containerName")
    elif not resource:
        yield field.required(f"{path}.resource")
    elif resource not in RESOURCES and not resource.startswith(_HUGE):
        yield field.not_supported(f"{path}.resource", resource, RESOURCES)
    divisor = ref.get("divisor")
    allowed, called = _DIVISORS.get(resource.partition(".")[2], ((), ""))
    if allowed and divisor not in (None, "0", "", *allowed):
        detail = f"only divisor's values {', '.join(allowed[:-1])} and {allowed[-1]} are supported with {called}"
        if len(allowed) > 2:
            detail = f"only divisor's values {', '.join(allowed)} are supported with {called}"
        yield field.invalid(f"{path}.divisor", resource, detail)
