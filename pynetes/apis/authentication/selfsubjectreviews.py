"""SelfSubjectReview: who am I?"""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authentication.k8s.io",
    versions=("v1",),
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    namespaced=False,
    verbs=("create",),
    generation=False,
    stored=False,
)
