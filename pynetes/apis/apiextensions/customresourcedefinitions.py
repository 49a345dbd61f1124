"""CustomResourceDefinition: a kind that users add."""

from pynetes.apis.apiextensions import _formats, _validation
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Singular and list kind follow from the kind; nothing is converted unless told otherwise."""
    spec = obj.get("spec")
    if spec is None:
        return
    names = spec.setdefault("names", {})
    if kind := names.get("kind"):
        if not names.get("singular"):
            names["singular"] = kind.lower()
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    webhook = spec["conversion"].get("webhook") or {}
    if (service := (webhook.get("clientConfig") or {}).get("service")) is not None:
        service.setdefault("port", 443)


def prepare(new: Object, old: Object | None) -> None:
    """A new definition has stored nothing yet but in its storage version; later ones are remembered."""
    stored = [version["name"] for version in (new.get("spec") or {}).get("versions") or () if version.get("storage")]
    if old is None:
        names = {"plural": "", "kind": ""}
        new["status"] = {"conditions": None, "acceptedNames": names, "storedVersions": stored or None}
        return
    status = dict(old.get("status") or {})
    known = list(status.get("storedVersions") or ())
    status["storedVersions"] = known + [version for version in stored if version not in known]
    new["status"] = status


def prepare_status(new: Object, old: Object | None) -> None:
    """Only the status changes."""
    if old is not None:
        new["spec"] = old["spec"]
    status = new.setdefault("status", {})
    if not status.get("storedVersions"):
        status["storedVersions"] = [each["name"] for each in new["spec"]["versions"] if each.get("storage")]


def warnings(new: Object, old: Object | None) -> list[str]:
    """Formats that are ignored; those that were ignored before have been warned of."""
    before = set(_formats.of_definition(old))
    return [f"unrecognized format {field.quote(form)}" for form in _formats.of_definition(new) if form not in before]


RESOURCE = Resource(
    group="apiextensions.k8s.io",
    versions=("v1",),
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    namespaced=False,
    storage_prefix="apiextensions.k8s.io/customresourcedefinitions",
    subresources=("status",),
    default=default,
    prepare=prepare,
    prepare_status=prepare_status,
    validate=_validation.validate,
    validate_status=_validation.validate_status,
    warnings=warnings,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
