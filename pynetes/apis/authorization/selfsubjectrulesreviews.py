"""SelfSubjectRulesReview: what may I do in a namespace?"""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="authorization.k8s.io",
    versions=("v1",),
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
    verbs=("create",),
    generation=False,
    stored=False,
)
