"""kubectl's annotation of what it applied last, from before servers did it, and the way over to server-side apply.

`kubectl apply` keeps the configuration in an annotation and writes by PATCH, so its fields belong to a manager
(kubectl-client-side-apply) with which its first server-side apply would conflict about everything. For the manager
"kubectl" alone, what the annotation names and nobody has changed since is no conflict; and the annotation, where there
is one, follows what is applied, so that one can go back.
"""

import orjson

from pynetes.machinery import fieldset, go_print
from pynetes.machinery.fieldset import FieldSet, Misfit
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import Type

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
#: Bytes that all annotations together may have.
_LIMIT = 256 << 10


def upgraded(live: Object, type_: Type) -> FieldSet:
    """The fields that are as kubectl applied them last: conflicts about them are none."""
    written = _annotations(live).get(ANNOTATION)
    try:
        last = orjson.loads(written or "")
        if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
            return set()
        difference = fieldset.compare(type_, last, live)
        return fieldset.of_object(type_, last) - difference.written - difference.removed
    except (ValueError, TypeError, AttributeError, Misfit):
        return set()


def follow(obj: Object, config: Object) -> None:
    """Put what was applied into the annotation, in place, if the object has one."""
    annotations = _annotations(obj)
    if not annotations.get(ANNOTATION):
        return
    bare = {**config, "metadata": dict(config.get("metadata") or {})}
    if "annotations" in bare["metadata"]:
        given = bare["metadata"]["annotations"] or {}
        bare["metadata"]["annotations"] = {name: value for name, value in given.items() if name != ANNOTATION}
    changed = {**annotations, ANNOTATION: go_print.json(bare) + "\n"}
    if sum(len(name.encode()) + len(str(value).encode()) for name, value in changed.items()) > _LIMIT:
        del changed[ANNOTATION]
    obj["metadata"]["annotations"] = changed


def _annotations(obj: Object) -> Object:
    return (obj.get("metadata") or {}).get("annotations") or {}
