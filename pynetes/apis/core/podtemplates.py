"""PodTemplate: a template on its own."""

from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in the template."""
    _pod_defaults.default_template(obj.get("template"))


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PodTemplate",
    plural="podtemplates",
    default=default,
    columns=(
        Column("Containers", cells.containers(".template.spec")),
        Column("Images", cells.images(".template.spec")),
        Column("Pod Labels", cells.label_map(".template.metadata.labels")),
    ),
    warnings=_pod_warnings.of_template("template"),
)
