"""SelfSubjectAccessReview: may I do something?"""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authorization.k8s.io",
    versions=("v1",),
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    namespaced=False,
    verbs=("create",),
    generation=False,
    stored=False,
)
