"""The health checks of the API server, under upstream's names and in upstream's order, which monitoring knows.

Upstream starts one loop after another and has a check for each. Here few parts stand behind all of them: the watch
cache (informers of every kind), the definitions of custom resources, and the start-up objects (`bootstrap`). A name
whose work is done by a part here tells that part's state; one whose loop is not needed here (leases of API servers,
repairs of what is allocated with a compare-and-swap) tells whether the start has come to its end.
"""

from collections.abc import Awaitable, Callable

from pynetes.apiserver.bootstrap import HOOKS, Bootstrap
from pynetes.component.health import Check, Checks

_CACHE, _STORE, _CUSTOM, _STARTED = "cache", "store", "custom", "started"
#: Hook → the part that it tells of; names of `bootstrap` tell of themselves.
_POST_START = {
    "start-apiserver-admission-initializer": _CACHE,
    "generic-apiserver-start-informers": _CACHE,
    "priority-and-fairness-config-consumer": _CACHE,
    "priority-and-fairness-filter": _CACHE,
    "storage-object-count-tracker-hook": _CACHE,
    "start-apiextensions-informers": _CUSTOM,
    "start-apiextensions-controllers": _CUSTOM,
    "crd-informer-synced": _CUSTOM,
    "start-system-namespaces-controller": "",
    "peer-endpoint-reconciler-controller": _STARTED,
    "start-cluster-authentication-info-controller": "",
    "start-kube-apiserver-identity-lease-controller": _STARTED,
    "start-kube-apiserver-identity-lease-garbage-collector": _STARTED,
    "storage-readiness": _STORE,
    "start-legacy-token-tracking-controller": "",
    "start-service-ip-repair-controllers": "",
    "rbac/bootstrap-roles": "",
    "scheduling/bootstrap-system-priority-classes": "",
    "priority-and-fairness-config-producer": "",
    "bootstrap-controller": "",
    "start-kubernetes-service-cidr-controller": "start-service-ip-repair-controllers",
    "start-kube-aggregator-informers": _CACHE,
    "apiservice-status-local-available-controller": "apiservice-registration-controller",
    "apiservice-status-remote-available-controller": _CACHE,
    "apiservice-registration-controller": "",
    "apiservice-wait-for-first-sync": "apiservice-registration-controller",
    "apiservice-discovery-controller": _CUSTOM,
    "kube-apiserver-autoregistration": "apiservice-registration-controller",
}
_OPENAPI = ("apiservice-openapi-controller", "apiservice-openapiv3-controller")


def build(
    bootstrap: Bootstrap,
    *,
    cached: Callable[[], bool],
    answers: Callable[[], Awaitable[bool]],
    loaded: Callable[[], bool],
    stopping: Callable[[], bool],
) -> Checks:
    """The checks; each callable tells whether that part is there, answers whether the store does at this moment."""
    answered = True

    async def ask() -> None:
        nonlocal answered
        answered = await answers()

    checks = Checks(before=ask)

    def state(told_by: str) -> Check:
        match told_by:
            case "cache":
                return lambda: None if cached() else "not listed yet"
            case "store":
                return lambda: None if answered else "the store does not answer"
            case "custom":
                return lambda: None if loaded() else "not loaded yet"
            case "started":
                return bootstrap.pending
            case hook:
                assert hook in HOOKS
                return lambda: bootstrap.pending(hook)

    checks.live("log", lambda: None)
    checks.ready("informer-sync", state(_CACHE))
    checks.live("loopback-serving-certificate", lambda: None, ready=False)
    checks.live("etcd", state(_STORE), ready=False)
    for name, told_by in _POST_START.items():
        checks.live(f"poststarthook/{name}", state(told_by or name))
    checks.live("autoregister-completion", state("apiservice-registration-controller"))
    for name in _OPENAPI:
        checks.live(f"poststarthook/{name}", state(_CUSTOM))
    checks.ready("shutdown", lambda: "the server is shutting down" if stopping() else None)
    return checks
