"""SubjectAccessReview: may somebody do something?"""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authorization.k8s.io",
    versions=("v1",),
    kind="SubjectAccessReview",
    plural="subjectaccessreviews",
    namespaced=False,
    verbs=("create",),
    generation=False,
    stored=False,
)
