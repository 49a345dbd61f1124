"""Keeps account of tokens that lie in Secrets: when each was used last, so that somebody can tell which may go.

The day stands in a label of the Secret, written once a day at most. A ConfigMap says since when that is done:
of a Secret without the label nothing is known before that day. Labels, names and metrics are upstream's.
"""

import logging
from datetime import datetime

from pynetes.apis.core import configmaps, secrets
from pynetes.apiserver.objects import Objects
from pynetes.component import logs
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object, key_of
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Unavailable

log = logging.getLogger(__name__)
LAST_USED = "kubernetes.io/legacy-token-last-used"
#: On a Secret whose token nobody has used for long: it is refused, and can be made good again.
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
#: ConfigMap in kube-system.
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_TOKENS = REGISTRY.counter("serviceaccount_legacy_tokens_total", "Cumulative legacy service account tokens used")
_MANUAL = REGISTRY.counter(
    "serviceaccount_legacy_manual_token_uses_total", "Cumulative manually created legacy tokens used"
)
_MADE = REGISTRY.counter("serviceaccount_legacy_auto_token_uses_total", "Cumulative auto-generated legacy tokens used")
_REFUSED = REGISTRY.counter(
    "serviceaccount_invalid_legacy_auto_token_uses_total",
    "Cumulative invalid auto-generated legacy tokens used",
)


def refused() -> None:
    """Somebody came with a token that was made invalid."""
    _REFUSED.inc()


async def used(objects: Objects, secret: Object, account: Object | None, now: datetime) -> None:
    """A token got somebody in. What cannot be written down now is not: it is good all the same."""
    _TOKENS.inc()
    listed = {each.get("name") for each in (account or {}).get("secrets") or ()}
    (_MADE if secret["metadata"]["name"] in listed else _MANUAL).inc()
    day = f"{now:%Y-%m-%d}"
    if (secret["metadata"].get("labels") or {}).get(LAST_USED) == day:
        return

    def mutate(found: Object) -> Object:
        labels = found["metadata"].get("labels") or {}
        return found | {"metadata": found["metadata"] | {"labels": labels | {LAST_USED: day}}}

    try:
        await objects.update(secrets.RESOURCE, key_of(secret), mutate)
    except (StatusError, Unavailable) as error:
        log.warning(logs.fact("the use of a token is not on its secret", secret=key_of(secret), error=error))


def tracking(now: datetime) -> tuple[Resource, Object]:
    """What says since when."""
    metadata = {"name": TRACKING, "namespace": "kube-system"}
    return configmaps.RESOURCE, {"metadata": metadata, "data": {"since": f"{now:%Y-%m-%d}"}}
