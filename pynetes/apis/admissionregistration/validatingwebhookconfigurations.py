"""ValidatingWebhookConfiguration: servers that may refuse requests."""

from pynetes.apis.admissionregistration import _matching
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def default(obj: Object) -> None:
    """Fill in each webhook."""
    _matching.default_webhooks(obj, mutating=False)


RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    categories=("api-extensions",),
    namespaced=False,
    default=default,
    columns=_matching.WEBHOOK_COLUMNS,
)
