"""The filters, in the one order in which a request passes them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from pynetes.apiserver.filters.audit import Audit
from pynetes.apiserver.filters.authentication import Authenticate
from pynetes.apiserver.filters.authorization import Authorize
from pynetes.apiserver.filters.fairness import Fairness
from pynetes.apiserver.filters.impersonation import Impersonate
from pynetes.apiserver.filters.inflight import InFlight
from pynetes.apiserver.filters.observation import observe
from pynetes.apiserver.filters.recovery import recover
from pynetes.apiserver.filters.timeout import Timeout
from pynetes.apiserver.http import Filter, Handler


def order(
    authenticate: Authenticate,
    impersonate: Impersonate,
    in_flight: InFlight | Fairness,
    authorize: Authorize,
    timeout: Timeout,
    audit: Audit | None = None,
) -> tuple[Filter, ...]:
    """Outermost first. What is not configured is not there, and costs nothing."""
    return (
        # Everything below may fail, and whatever it raises becomes a Status with the headers every answer has.
        # Reads the request line as well, because all that follows decides by it.
        recover,
        # Outside authentication, so that refused requests are counted too.
        observe,
        # Who shows bad credentials is written down too …
        *((audit.refused,) if audit else ()),
        # Who asks …
        authenticate,
        # … is written down under the name that the credentials prove, and with all that follows …
        *((audit,) if audit else ()),
        # … in whose name …
        impersonate,
        # … whether there is room: after authentication, because the cluster's own administrators are exempt …
        in_flight,
        # … and whether they may. Nothing that reads an object comes before this.
        authorize,
        timeout,
    )


def build(filters: Sequence[Filter], endpoint: Handler) -> Handler:
    """One handler of all of them."""
    handler = endpoint
    for link in reversed(filters):
        # partial and not a closure: each closure would add a frame to every request.
        handler = cast("Handler", partial(cast("Any", link), next=handler))
    return handler
