"""LocalSubjectAccessReview."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authorization.k8s.io",
    versions=("v1",),
    kind="LocalSubjectAccessReview",
    plural="localsubjectaccessreviews",
    verbs=("create",),
    generation=False,
    stored=False,
)
