"""ValidatingWebhookConfiguration: servers that may refuse requests."""

from collections.abc import Iterator

from pynetes.apis.admissionregistration import _matching, _validation
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def default(obj: Object) -> None:
    """Fill in each webhook."""
    _matching.default_webhooks(obj, mutating=False)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Each webhook."""
    yield from _validation.webhook_configuration(new, old, mutating=False)


RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="ValidatingWebhookConfiguration",
    plural="validatingwebhookconfigurations",
    categories=("api-extensions",),
    namespaced=False,
    default=default,
    validate=validate,
    warnings=_validation.reserved,
    columns=_matching.WEBHOOK_COLUMNS,
)
