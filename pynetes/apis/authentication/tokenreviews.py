"""TokenReview: whose token is this?"""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authentication.k8s.io",
    versions=("v1",),
    kind="TokenReview",
    plural="tokenreviews",
    namespaced=False,
    verbs=("create",),
    generation=False,
    stored=False,
)
