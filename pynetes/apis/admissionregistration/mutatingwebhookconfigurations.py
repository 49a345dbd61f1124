"""MutatingWebhookConfiguration: servers that may change requests."""

from pynetes.apis.admissionregistration import _matching
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def default(obj: Object) -> None:
    """Fill in each webhook."""
    _matching.default_webhooks(obj, mutating=True)


RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="MutatingWebhookConfiguration",
    plural="mutatingwebhookconfigurations",
    categories=("api-extensions",),
    namespaced=False,
    default=default,
    columns=_matching.WEBHOOK_COLUMNS,
)
