"""LocalSubjectAccessReview: may somebody do something in this namespace?"""

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
