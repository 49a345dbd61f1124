"""MutatingWebhookConfiguration."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    categories=("api-extensions",),
    namespaced=False,
)
