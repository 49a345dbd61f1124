"""PodTemplate: a template on its own."""

from collections.abc import Iterator

from pynetes.apis.core import _pod_defaults, _pod_validation, _pod_warnings
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in the template."""
    _pod_defaults.default_template(obj.get("template"))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """What no template may be."""
    return _pod_validation.validate_template(new.get("template"), "template")


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PodTemplate",
    plural="podtemplates",
    default=default,
    validate=validate,
    columns=(
        Column("Containers", cells.containers(".template.spec")),
        Column("Images", cells.images(".template.spec")),
        Column("Pod Labels", cells.label_map(".template.metadata.labels")),
    ),
    warnings=_pod_warnings.of_template("template"),
)
