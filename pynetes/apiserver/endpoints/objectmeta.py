"""metadata on create and update: what the server sets, what a client may not change, and upstream's checks of it."""

import random
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import errors, field, names, time
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

#: Consonants and digits that make no words and are not mistaken for one another; upstream's alphabet and length.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_PREFIX_LIMIT = 63 - _SUFFIX
_ANNOTATIONS_LIMIT = 256 << 10
_FIXED = ("name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds")
_NULLABLE = ("deletionTimestamp", "deletionGracePeriodSeconds")
FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
#: Where upstream's answers have what a client may send, around what the server adds.
_LAST = ("labels", "annotations", "ownerReferences", "finalizers", "managedFields")


def begin(obj: Object, now: Any) -> None:
    """What every new object gets; whatever a client has put there is replaced."""
    metadata = obj["metadata"]
    metadata["creationTimestamp"] = time.rfc3339(now)
    metadata["uid"] = str(uuid.uuid4())
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
        metadata.pop(name, None)
    order(metadata)


def order(metadata: Object) -> None:
    """Put what tells an object apart before what is said about it, as people read it in upstream's answers."""
    for name in _LAST:
        if name in metadata:
            metadata[name] = metadata.pop(name)


def generated_name(prefix: str) -> str:
    """A name for generateName."""
    return prefix[:_PREFIX_LIMIT] + "".join(random.choices(_ALPHABET, k=_SUFFIX))


_MANAGER_LIMIT = 128


def manager_problems(manager: str, path: str) -> Iterator[field.Error]:
    """A field manager is short and can be printed."""
    if len(manager.encode(errors="replace")) > _MANAGER_LIMIT:
        yield field.too_long(path, _MANAGER_LIMIT)
    position = 0
    for char in manager:
        if not char.isprintable():
            yield field.invalid(path, manager, f"invalid character U+{ord(char):04X} (at position {position})")
        position += len(char.encode(errors="replace"))


def name_problems(resource: Resource, name: str, *, prefix: bool = False, generic: bool = False) -> list[str]:
    """What is wrong with a name for this kind; of a prefix, to which a suffix comes, the last characters do not count.
    Generic is what holds for the names of all kinds."""
    rule = "path-segment" if generic else resource.name_rule
    if prefix and rule == "path-segment":
        return [text for text in names.path_segment(f"{name}x") if name]
    if prefix and len(name) > 1 and name.endswith("-"):
        name = name[:-2] + "a"
    if callable(rule):
        problem = rule(name)
        return [problem] if problem else []
    return names.RULES[rule](name)


def validate(resource: Resource, obj: Object, *, generic: bool = False) -> Iterator[field.Error]:
    """ObjectMeta on its own: on create, and again on every update. Generic leaves out what the kind adds."""
    metadata = obj["metadata"]
    if prefix := metadata.get("generateName"):
        for problem in name_problems(resource, prefix, prefix=True, generic=generic):
            yield field.invalid("metadata.generateName", prefix, problem)
    if name := metadata.get("name"):
        for problem in name_problems(resource, name, generic=generic):
            yield field.invalid("metadata.name", name, problem)
    else:
        yield field.required("metadata.name", "name or generateName is required")
    if resource.namespaced:
        for problem in names.dns_label(metadata.get("namespace") or ""):
            yield field.invalid("metadata.namespace", metadata.get("namespace") or "", problem)
    yield from label_problems(metadata.get("labels") or {}, "metadata.labels")
    yield from annotation_problems(metadata.get("annotations") or {}, "metadata.annotations")
    yield from _owner_problems(metadata.get("ownerReferences") or ())
    yield from _finalizer_problems(metadata.get("finalizers") or (), standard=not generic and resource.schema is None)


def label_problems(found: Mapping[str, str], path: str) -> Iterator[field.Error]:
    """Keys are qualified names, values label values."""
    for key, value in sorted(found.items()):
        for problem in names.qualified_name(key):
            yield field.invalid(path, key, problem)
        for problem in names.label_value(value):
            yield field.invalid(path, value, problem)


def annotation_problems(found: Mapping[str, str], path: str) -> Iterator[field.Error]:
    """Keys are qualified names in any case; all of it has a limit."""
    for key in sorted(found):
        for problem in names.qualified_name(key.lower()):
            yield field.invalid(path, key, problem)
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _ANNOTATIONS_LIMIT:
        yield field.too_long(path, _ANNOTATIONS_LIMIT)


def _owner_problems(owners: Any) -> Iterator[field.Error]:
    controllers = []
    path = "metadata.ownerReferences"
    for owner in owners:
        group, _, version = (owner.get("apiVersion") or "").rpartition("/")
        if not version:
            yield field.invalid(f"{path}.apiVersion", owner.get("apiVersion") or "", "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield field.invalid(f"{path}.{name}", "", "must not be empty")
        if not group and version == "v1" and owner.get("kind") == "Event":
            yield field.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind', '')}/{owner.get('name', '')}")
            if len(controllers) > 1:
                detail = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controllers[0]} and {controllers[-1]}"
                )
                yield field.invalid(path, owners, detail)


def _finalizer_problems(finalizers: Any, *, standard: bool) -> Iterator[field.Error]:
    for finalizer in finalizers:
        for problem in names.qualified_name(finalizer):
            yield field.invalid("metadata.finalizers", finalizer, problem)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        yield field.invalid("metadata.finalizers", list(finalizers), detail)
    for index, finalizer in enumerate(finalizers):
        if standard and "/" not in finalizer and finalizer not in FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield field.invalid(f"metadata.finalizers[{index}]", finalizer, detail)


def carry_over(new: Object, old: Object) -> None:
    """On update the server's own fields stay as they were, whatever the client sent or left out."""
    after, before = new["metadata"], old["metadata"]
    for name in ("creationTimestamp", "generation", "selfLink"):
        if name in before:
            after[name] = before[name]
        else:
            after.pop(name, None)
    if before.get("deletionTimestamp"):
        after["deletionTimestamp"] = before["deletionTimestamp"]
    if after.get("deletionGracePeriodSeconds") is None and before.get("deletionGracePeriodSeconds") is not None:
        after["deletionGracePeriodSeconds"] = before["deletionGracePeriodSeconds"]
    after.setdefault("uid", before["uid"])
    if not after.get("generateName") and before.get("generateName"):
        after["generateName"] = before["generateName"]
    order(after)


def validate_update(new: Object, old: Object) -> Iterator[field.Error]:
    """What an update may not change, and once more what it may. Runs after carry_over."""
    after, before = new["metadata"], old["metadata"]
    if before.get("deletionTimestamp"):
        added = sorted(set(after.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if added:
            detail = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {go_list(added)}"
            )
            yield field.forbidden("metadata.finalizers", detail)
    for name in _FIXED:
        if after.get(name) != before.get(name):
            # A number prints as one; absent text as empty text.
            value = after.get(name) if name in _NULLABLE else after.get(name) or ""
            yield field.invalid(f"metadata.{name}", value, "field is immutable")
    yield from label_problems(after.get("labels") or {}, "metadata.labels")
    yield from annotation_problems(after.get("annotations") or {}, "metadata.annotations")
    yield from _owner_problems(after.get("ownerReferences") or ())


def go_list(texts: list[str]) -> str:
    """Strings as Go's %#v prints them in upstream's message."""
    inner = ", ".join(field.quote(text) for text in texts)
    return f"[]string{{{inner}}}"


def check_identity(resource: Resource, obj: Object, *, namespace: str, name: str) -> None:
    """The object must be the one the path names; of its namespace it may say nothing, which is then set. Raises
    StatusError 400."""
    metadata = obj.setdefault("metadata", {})
    if resource.namespaced:
        given = metadata.get("namespace") or namespace
        if given != namespace:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise errors.bad_request(text)
        metadata["namespace"] = namespace
    elif metadata.get("namespace"):
        metadata.pop("namespace")
    if name:
        given = metadata.get("name")
        if not given:
            text = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
            raise errors.bad_request(text)
        if given != name:
            text = f"the name of the object ({given}) does not match the name on the URL ({name})"
            raise errors.bad_request(text)


def single_owners(obj: Object, warnings: list[str], *, admitted: bool) -> None:
    """Take owners that are named twice out, in place, and warn: of what the client sent or of what admission made."""
    owners = obj["metadata"].get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    kept: list[Object] = []
    twice = []
    for owner in owners:
        if owner in kept:
            twice.append(owner.get("uid") or "")
        else:
            kept.append(owner)
    if twice:
        after = " after mutating admission happens" if admitted else ""
        warnings.append(
            f".metadata.ownerReferences contains duplicate entries{after}; API server dedups owner references in 1.20+,"
            " and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed:"
            f" {', '.join(twice)}"
        )
        obj["metadata"]["ownerReferences"] = kept


def is_version(text: str | None) -> bool:
    """Whether it names a version: 0 is none, and neither is what is no number."""
    return text is not None and text.isascii() and text.isdigit() and int(text) != 0


def check_version(text: str | None) -> None:
    """A resourceVersion in the body of an update must be a number. Raises StatusError, upstream's 500."""
    if text and not (text.isascii() and text.isdigit()):
        raise errors.failure(500, "", f'strconv.ParseUint: parsing "{text}": invalid syntax')
