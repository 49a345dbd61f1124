"""Which paths are passed on."""

import pytest

from pynetes.dashboard import security
from pynetes.machinery.errors import StatusError


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/pods?limit=5&continue=a%2Fb",
        "/apis/apps/v1/namespaces/default/deployments/web/scale",
        "/version",
        "/readyz",
        "/api/v1/namespaces/proxy/pods/web",
        "/api/v1/namespaces/default/services/proxy",
        "/apis/apps/v1/namespaces/proxy/deployments/proxy",
    ],
)
def test_the_api_is_passed_on(target: str) -> None:
    """As it was asked for, query and all; a name may be `proxy`."""
    assert security.checked_target(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/metrics",
        "/debug/pprof",
        "/apiary/v1",
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/api//v1/pods",
        "/api/v1/namespaces/a%2Fb/pods",
        "/api/v1/nodes/n1/proxy/metrics",
        "/api/v1/namespaces/default/pods/web/proxy",
        "/api/v1/namespaces/default/pods/web/proxy/evil.js",
        "/api/v1/namespaces/default/pods/web/%70roxy/evil.js",
        "/api/v1/namespaces/default/services/https:web:443/proxy/",
        "/api/v1/namespaces/proxy/pods/proxy/proxy/",
        "/api/v1/proxy/namespaces/default/services/web/",
    ],
)
def test_what_could_run_in_the_browser_is_not(target: str) -> None:
    """A pod's own pages would have the session of whoever looks at them."""
    with pytest.raises(StatusError):
        security.checked_target(target)
