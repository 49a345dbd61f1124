"""Counts every request, in metrics under upstream's names and on the paths that `pynetes paths` shows."""

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache

from pynetes.apiserver.authn.user import MASTERS, SERVICE_ACCOUNT_PREFIX, User, node_name
from pynetes.apiserver.deprecated import DEPRECATED
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.component.metrics import REGISTRY, Count, Spread, exponential
from pynetes.component.peer import described
from pynetes.component.spans import TRACER, Begun
from pynetes.component.tracing import RECORDER, Identity, Interaction, now
from pynetes.machinery.errors import StatusError

_REQUESTS = REGISTRY.counter(
    "apiserver_request_total",
    "Requests by verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
    "verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code",
)  # fmt: skip
_SECONDS = REGISTRY.histogram(
    "apiserver_request_duration_seconds",
    "Response latency in seconds by verb, dry run value, group, version, resource, subresource, scope and component.",
    "verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component",
    buckets=(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)  # fmt: skip
_SIZES = REGISTRY.histogram(
    "apiserver_response_sizes",
    "Response size in bytes by verb, group, version, resource, subresource, scope and component.",
    "verb", "group", "version", "resource", "subresource", "scope", "component",
    buckets=exponential(1000, 10, 7),
)  # fmt: skip
_SLI = REGISTRY.histogram(
    "apiserver_request_sli_duration_seconds",
    "Response latency in seconds without the time that a request waited for room, by verb, group, version, resource, "
    "subresource, scope and component.",
    "verb", "group", "version", "resource", "subresource", "scope", "component",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)  # fmt: skip
_BODIES = REGISTRY.histogram(
    "apiserver_request_body_size_bytes",
    "Apiserver request body size in bytes broken out by group, resource and verb.",
    "group", "resource", "verb",
    buckets=tuple(float(50_000 + 100_000 * step) for step in range(31)),
)  # fmt: skip
_TERMINATED = REGISTRY.counter(
    "apiserver_request_terminations_total",
    "Number of requests which the server terminated in self-defense.",
    "verb", "group", "version", "resource", "subresource", "scope", "component", "code",
)  # fmt: skip
_ABORTED = REGISTRY.counter(
    "apiserver_request_aborts_total",
    "Number of requests which the server gave up, as their clients had gone.",
    "verb", "group", "version", "subresource", "resource", "scope",
)  # fmt: skip
_DEPRECATED = REGISTRY.gauge(
    "apiserver_requested_deprecated_apis",
    "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource and subresource.",
    "group", "version", "resource", "subresource", "removed_release",
)  # fmt: skip
#: Of those filters whose own work is measured; not the time of what comes behind them.
FILTER_SECONDS = REGISTRY.histogram(
    "apiserver_request_filter_duration_seconds",
    "Request filter latency distribution in seconds, for each filter type",
    "filter",
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0),
)
_VALIDATED = REGISTRY.histogram(
    "field_validation_request_duration_seconds",
    "Response latency distribution in seconds for each field validation value",
    "field_validation",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60),
)
_DIRECTIVES = frozenset({"Ignore", "Warn", "Strict"})
#: Distinct label values that requests make, and how long one may be; all others are counted together.
MOST_LABELS, LONGEST = 8192, 253
_OTHER = ("OTHER", "", "", "", "other", "")
_SEEN: set[tuple[str, ...]] = set()
#: Of a path or an object's name, so much is kept for `pynetes paths`.
SHOWN = 512
#: What the server answers when it protects itself. Evictions get the first of them for a budget's sake.
_DEFENCE = frozenset({"TooManyRequests", "Timeout"})
_VERBS = {"create": "POST", "update": "PUT", "deletecollection": "DELETECOLLECTION"}
_WRITES = frozenset({"create", "update", "patch", "delete"})
_VALIDATING = frozenset({"create", "update", "patch"})
_GONE = "the client has gone"
#: Answers that are part of the protocol's normal course, and no error of the path they came by.
_ORDINARY = frozenset({"NotFound", "AlreadyExists", "Conflict", _GONE})
#: User → (path for a watch, path for anything else) of paths.md, and what the component is called.
_COMPONENTS = {
    "system:kube-controller-manager": (6, 7, "kube-controller-manager"),
    "system:kube-scheduler": (8, 9, "kube-scheduler"),
    "system:kube-proxy": (12, 13, "kube-proxy"),
    f"{SERVICE_ACCOUNT_PREFIX}kube-system:kube-proxy": (12, 13, "kube-proxy"),
    f"{SERVICE_ACCOUNT_PREFIX}kube-system:coredns": (24, 24, "dns"),
    f"{SERVICE_ACCOUNT_PREFIX}kube-system:dns": (24, 24, "dns"),
    f"{SERVICE_ACCOUNT_PREFIX}kube-system:prometheus": (28, 28, "prometheus"),
}


async def observe(request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
    """Let the request pass and note what became of it."""
    began = time.perf_counter()
    code, size = 500, -1
    error = ""
    revision = 0
    traced = None
    if TRACER.on:
        headers = request.headers
        traced = TRACER.begin(headers.get("traceparent", ""), headers.get("baggage", ""))
    try:
        response = await next(request)
        code = response.status
        revision = response.revision
        if isinstance(response.body, bytes):
            size = len(response.body)
        if traced and revision and request.info.verb in _WRITES:
            TRACER.belongs(revision, traced.context)
        elif request.repeat is not None and not TRACER.on:
            request.repeat.sign(_untraced, _counting(request))
        return response
    except StatusError as failure:
        code, error = failure.code, failure.reason
        raise
    except asyncio.CancelledError:
        error = _GONE
        raise
    finally:
        seconds = time.perf_counter() - began
        _note(request, code, error, seconds, revision, size)
        if traced and request.user is not None:
            _trace(traced, request, code, seconds, revision)


def _trace(traced: Begun, request: Request, code: int, seconds: float, revision: int) -> None:
    """The span of a request, named and described as upstream names its own; health and watches are none."""
    info, ended = request.info, now()
    if info.verb == "watch" or request.path.startswith(("/healthz", "/livez", "/readyz")):
        return
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": code,
        "user_agent.original": request.headers.get("user-agent", ""),
        "k8s.user": request.user.name if request.user else "",
    }
    if info.is_resource_request:
        attributes |= {"k8s.resource": info.resource, "k8s.namespace": info.namespace, "k8s.name": info.name}
    if revision and info.verb in _WRITES:
        attributes["pynetes.revision"] = revision
    name = f"{request.method} {info.resource or request.path}" + f"/{info.subresource}" * bool(info.subresource)
    TRACER.end(traced, name, ended - seconds, ended, attributes, f"{code}" if code >= 500 else "")


@lru_cache(maxsize=MOST_LABELS)
def _requests(labels: tuple[str, ...], scope: str, code: int) -> Count:
    return _REQUESTS.labels(*labels, scope, "apiserver", str(code))


@lru_cache(maxsize=MOST_LABELS)
def _durations(labels: tuple[str, ...], scope: str) -> tuple[Spread, Spread]:
    verb, _, *rest = labels
    return _SECONDS.labels(*labels, scope, "apiserver"), _SLI.labels(verb, *rest, scope, "apiserver")


@lru_cache(maxsize=MOST_LABELS)
def _sizes(labels: tuple[str, ...], scope: str) -> Spread:
    verb, _, *rest = labels
    return _SIZES.labels(verb, *rest, scope, "apiserver")


def _labels(request: Request) -> tuple[tuple[str, ...], str]:
    """What a request is counted under, and its scope."""
    info = request.info
    verb = _VERBS.get(info.verb) or info.verb.upper()
    scope = (
        ("resource" if info.name else "namespace" if info.namespace else "cluster") if info.is_resource_request else ""
    )
    dry = ("dryRun=" in request.query_string and request.param("dryRun")) or ""
    labels = (verb, dry, info.api_group, info.api_version, info.resource, info.subresource)
    if labels not in _SEEN:
        # Strangers too are counted, and could make up resources for ever.
        if len(_SEEN) >= MOST_LABELS or max(map(len, labels)) > LONGEST:
            labels = _OTHER
        _SEEN.add(labels)
    return labels, scope


def _count(request: Request, code: int, error: str, seconds: float, size: int) -> None:
    """The metrics of one request."""
    info = request.info
    labels, scope = _labels(request)
    _requests(labels, scope, code).inc()
    if info.verb != "watch":
        whole, served = _durations(labels, scope)
        whole.observe(seconds)
        served.observe(seconds - request.waited)
    if size >= 0:
        _sizes(labels, scope).observe(size)
    verb, _, group, version, resource, subresource = labels
    what = (group, version, resource, subresource, scope, "apiserver")
    if request.body:
        _BODIES.observe(len(request.body), group, resource, info.verb)
        if info.verb in _VALIDATING:
            directive = ("fieldValidation=" in request.query_string and request.param("fieldValidation")) or ""
            _VALIDATED.observe(seconds, directive if directive in _DIRECTIVES else "")
    if error in _DEFENCE and info.subresource != "eviction":
        _TERMINATED.inc(verb, *what, str(code))
    elif error == _GONE:
        _ABORTED.inc(verb, group, version, subresource, resource, scope)
    if (info.api_group, info.resource) in DEPRECATED:
        _DEPRECATED.set(1, info.api_group, info.api_version, info.resource, info.subresource, "")


def _untraced() -> bool:
    return not TRACER.on


def _counting(request: Request) -> Callable[[float, int], None]:
    """`_note` for the same read again, with everything found that is found from the request."""
    assert request.user is not None
    labels, scope = _labels(request)
    requests, sizes = _requests(labels, scope, 200), _sizes(labels, scope)
    whole, served = _durations(labels, scope)
    path, _, source, target, action, shown, *_ = _interaction(request, request.user)
    identity = _identified(request, request.user)

    def count(seconds: float, size: int) -> None:
        requests.inc()
        whole.observe(seconds)
        served.observe(seconds)
        sizes.observe(size)
        RECORDER.record(Interaction(path, now(), source, target, action, shown, seconds), identity)

    return count


def _note(request: Request, code: int, error: str, seconds: float, revision: int, size: int) -> None:
    info = request.info
    _count(request, code, error, seconds, size)
    user = request.user
    if user is None or request.path.startswith(("/healthz", "/livez", "/readyz")):
        return
    error, revision = "" if error in _ORDINARY else error, revision if info.verb in _WRITES else 0
    RECORDER.record(_interaction(request, user, seconds, error, revision), _identified(request, user))


def _interaction(request: Request, user: User, seconds: float = 0.0, error: str = "", revision: int = 0) -> Interaction:
    info = request.info
    path, source = path_of(request, user)
    shown = f"{info.resource} {info.namespace}/{info.name}" if info.namespace else f"{info.resource} {info.name}"
    return Interaction(
        path=path,
        at=now(),
        source=source,
        target="kube-apiserver",
        action=info.verb if info.is_resource_request else f"{info.verb} {info.path[:SHOWN]}",
        object=shown[:SHOWN] if info.is_resource_request else "",
        seconds=seconds,
        error=error,
        revision=revision,
    )


def _identified(request: Request, user: User) -> Identity | None:
    if not request.credential:
        return None
    return _identity(user.name, request.credential, _rule(request, user), request.peer_certificate or b"")


def _rule(request: Request, user: User) -> str:
    return request.rule or ("group system:masters may do everything" if MASTERS in user.groups else "")


@lru_cache(maxsize=1024)
def _identity(subject: str, issuer: str, rule: str, certificate: bytes) -> Identity:
    client = described(certificate) if certificate else None
    return Identity(subject, issuer, client.expires if client else "", rule, client=client)


def path_of(request: Request, user: User) -> tuple[int, str]:
    """The number of the interaction path a request belongs to, and who is at its other end.

    Controllers have a ServiceAccount each; the agent only tells the manager's and the dashboard's from others, it
    decides nothing else."""
    verb = request.info.verb
    if request.headers.get("user-agent", "").startswith("pynetes-dashboard/"):
        return 2, user.name
    found = _COMPONENTS.get(user.name)
    if found is not None:
        watching, other, name = found
        return (watching if verb == "watch" else other), name
    if node := node_name(user):
        return (10 if verb == "watch" else 11), f"kubelet {node}"
    if user.name.startswith(SERVICE_ACCOUNT_PREFIX):
        manager = request.headers.get("user-agent", "").startswith("kube-controller-manager/")
        if manager and user.name.startswith(f"{SERVICE_ACCOUNT_PREFIX}kube-system:"):
            return (6 if verb == "watch" else 7), "kube-controller-manager"
        return 22, user.name.removeprefix("system:")
    return 1, user.name
