"""API priority and fairness as a link of the chain: exempt requests pass, others enter the level of their flow."""

import weakref
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from time import perf_counter

from pynetes.apis.flowcontrol import flowschemas, prioritylevelconfigurations
from pynetes.apiserver.authn.user import MASTERS, User
from pynetes.apiserver.filters.inflight import INFLIGHT, is_long_running, kind_of
from pynetes.apiserver.flowcontrol.level import Level, Rejected
from pynetes.apiserver.flowcontrol.schemas import Flow, Schemas
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.apiserver.objects import Objects
from pynetes.apiserver.repeat import Repeat
from pynetes.apiserver.requestinfo import RequestInfo
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors
from pynetes.machinery.meta import Object

#: Remembered classifications; more are computed again.
REMEMBERED = 4096
#: Characters of a path up to which what was decided about it is remembered.
LONGEST = 2048
_REJECTED = REGISTRY.counter(
    "apiserver_flowcontrol_rejected_requests_total",
    "Number of requests rejected by API Priority and Fairness subsystem",
    "flow_schema", "priority_level", "reason",
)  # fmt: skip
_DISPATCHED = REGISTRY.counter(
    "apiserver_flowcontrol_dispatched_requests_total",
    "Number of requests executed by API Priority and Fairness subsystem",
    "flow_schema", "priority_level",
)  # fmt: skip
_EXECUTING = REGISTRY.gauge(
    "apiserver_flowcontrol_current_executing_requests",
    "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and "
    "Fairness subsystem",
    "flow_schema", "priority_level",
)  # fmt: skip
# Each request has one seat.
REGISTRY.gauge(
    "apiserver_flowcontrol_current_executing_seats",
    "Concurrency (number of seats) occupied by the currently executing requests in the API Priority and Fairness "
    "subsystem",
    "flow_schema", "priority_level", read=_EXECUTING.samples,
)  # fmt: skip
_EXECUTION_SECONDS = REGISTRY.histogram(
    "apiserver_flowcontrol_request_execution_seconds",
    "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority "
    "and Fairness subsystem",
    "flow_schema", "priority_level", "type", buckets=(0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
)  # fmt: skip
_WAIT_SECONDS = REGISTRY.histogram(
    "apiserver_flowcontrol_request_wait_duration_seconds",
    "Length of time a request spent waiting in its queue",
    "flow_schema", "priority_level", "execute", buckets=(0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
)  # fmt: skip
_LEVEL = ("priority_level",)
_NOMINAL, _CURRENT, _LOWER, _UPPER = (
    REGISTRY.gauge(f"apiserver_flowcontrol_{name}_seats", text, *_LEVEL)
    for name, text in (
        ("nominal_limit", "Nominal number of execution seats configured for each priority level"),
        ("current_limit", "current derived number of execution seats available to each priority level"),
        ("lower_limit", "Configured lower bound on number of execution seats available to each priority level"),
        ("upper_limit", "Configured upper bound on number of execution seats available to each priority level"),
    )
)
#: Every one of this process, for what is read when somebody scrapes.
_ALL: "weakref.WeakSet[Fairness]" = weakref.WeakSet()


def _waiting() -> Iterator[tuple[tuple[str, ...], float]]:
    for fairness in tuple(_ALL):
        for name, level in fairness.levels.items():
            yield (name,), level.waiting if level else 0


#: One that need not wait is never seen here: between its coming and its going nothing else runs.
_INQUEUE = REGISTRY.gauge(
    "apiserver_flowcontrol_current_inqueue_requests",
    "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
    "flow_schema", "priority_level",
)  # fmt: skip
REGISTRY.gauge(
    "apiserver_current_inqueue_requests",
    "Number of requests that wait for room now, by kind.",
    "request_kind", read=lambda: [(("waiting",), sum(count for _, count in _waiting()))],
)  # fmt: skip
HEADERS = ("X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID")
EXEMPT = Flow("exempt", "exempt", "")


class Fairness:
    """Follows FlowSchemas and PriorityLevelConfigurations; what changes counts for requests that come afterwards."""

    def __init__(self, objects: Objects, *, seats: int, patience: float) -> None:
        """seats: requests served at once by all levels together; patience: seconds that a request may wait."""
        self._objects, self._seats, self._patience = objects, seats, patience
        self._schemas = Schemas(())
        self._levels: dict[str, Level | None] = {}
        self._specs: Object = {}
        self._known: dict[object, tuple[Flow, Level | None]] = {}
        self._uids: dict[str, str] = {}
        self._exempt = EXEMPT
        self._stale = True
        _ALL.add(self)
        for resource in (flowschemas.RESOURCE, prioritylevelconfigurations.RESOURCE):
            objects.keep(resource, _Marks(self))

    @property
    def levels(self) -> Mapping[str, Level | None]:
        """By name; None for what is exempt."""
        return self._levels

    def mark(self) -> None:
        """The configuration has changed."""
        self._stale = True

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on, now or later, or 429."""
        assert request.user is not None
        flow, level = self._find(request.user, request.info)
        request.flow = flow.headers
        lasting = is_long_running(request)
        if lasting and (level is None or request.info.verb != "watch"):
            return await next(request)
        if level is not None:
            await self._enter(request, flow, level)
        named = flow.schema, flow.level
        _DISPATCHED.inc(*named)
        if lasting and level is not None:
            # A watch is work when it begins; afterwards it waits.
            level.leave()
            return await next(request)
        kind = kind_of(request)
        INFLIGHT.add(1, kind)
        _EXECUTING.add(1, *named)
        began = perf_counter()
        try:
            response = await next(request)
            if request.repeat is not None:
                self._sign(request.repeat, request, flow, level)
            return response
        finally:
            _EXECUTION_SECONDS.observe(perf_counter() - began, *named, "regular")
            _EXECUTING.add(-1, *named)
            INFLIGHT.add(-1, kind)
            if level is not None:
                level.leave()

    def _sign(self, repeat: Repeat, request: Request, flow: Flow, level: Level | None) -> None:
        assert request.user is not None
        user, info = request.user, request.info
        dispatched = _DISPATCHED.labels(flow.schema, flow.level)
        executed = _EXECUTION_SECONDS.labels(flow.schema, flow.level, "regular")

        def lasting() -> bool:
            found = self._find(user, info)
            return found[0] == flow and found[1] is level

        def count(seconds: float, size: int) -> None:
            dispatched.inc()
            executed.observe(seconds)

        repeat.sign(None if level is None else level.passes, count, lasting=lasting)

    async def _enter(self, request: Request, flow: Flow, level: Level) -> None:
        """Wait for a seat; raises 429."""
        began, entered = perf_counter(), "false"
        _INQUEUE.add(1, flow.schema, flow.level)
        try:
            await level.enter(f"{flow.schema}\0{flow.distinguisher}", self._patience)
            entered = "true"
        except Rejected as rejected:
            _REJECTED.inc(flow.schema, flow.level, str(rejected))
            raise errors.too_many_requests("Too many requests, please try again later.") from None
        finally:
            _INQUEUE.add(-1, flow.schema, flow.level)
            request.waited = perf_counter() - began
            _WAIT_SECONDS.observe(request.waited, flow.schema, flow.level, entered)

    def _find(self, user: User, info: RequestInfo) -> tuple[Flow, Level | None]:
        """The flow and its level; no level for what is exempt."""
        if self._stale:
            self._read()
        if MASTERS in user.groups:
            return self._exempt, None
        namespace = self._schemas.alike(info.namespace)
        scope = (info.resource, info.subresource, namespace) if info.is_resource_request else (info.path,)
        key = (user.name, user.groups, info.verb, info.api_group, *scope)
        found = self._known.get(key)
        if found is None:
            found = self._classified(user, info)
            # A line may have a megabyte: nobody shall have thousands of them remembered.
            if len(info.path) <= LONGEST:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        flow, level = found
        return (flow._replace(distinguisher=info.namespace) if flow.method == "ByNamespace" else flow), level

    def _classified(self, user: User, info: RequestInfo) -> tuple[Flow, Level | None]:
        flow = self._schemas.classify(user, info)
        if flow is None or flow.level not in self._levels:
            flow = Flow("catch-all", "catch-all", user.name)
        return self._told(flow), self._levels.get(flow.level)

    def _told(self, flow: Flow) -> Flow:
        """With the headers that tell a client in which flow its request was."""
        names = (f"schema {flow.schema}", f"level {flow.level}")
        uids = [self._uids.get(name, "") for name in names]
        return flow._replace(headers=tuple(zip(HEADERS, uids, strict=True)))

    def _read(self) -> None:
        self._stale = False
        self._known.clear()
        self._schemas = Schemas(self._objects.list(flowschemas.RESOURCE))
        found = list(self._objects.list(prioritylevelconfigurations.RESOURCE))
        named = [("level", one) for one in found]
        named += [("schema", one) for one in self._objects.list(flowschemas.RESOURCE)]
        self._uids = {f"{kind} {one['metadata']['name']}": one["metadata"].get("uid", "") for kind, one in named}
        self._exempt = self._told(EXEMPT)
        specs = {one["metadata"]["name"]: one["spec"] for one in found}
        if specs != self._specs:
            self._specs = specs
            self._levels = dict(self._made(specs))

    def _made(self, specs: Object) -> Iterable[tuple[str, Level | None]]:
        shares = {name: _shares(spec) for name, spec in specs.items()}
        whole = sum(shares.values()) or 1
        others: list[Level] = []
        for name, spec in specs.items():
            if spec.get("type") == "Exempt":
                yield name, None
                continue
            response = (spec.get("limited") or {}).get("limitResponse") or {}
            queuing = response.get("queuing") or {}
            asked = queuing.get("queues") or 64, queuing.get("handSize") or 8, queuing.get("queueLengthLimit") or 50
            limited, seats = spec.get("limited") or {}, ceil(self._seats * shares[name] / whole)
            most = limited.get("borrowingLimitPercent")
            level = Level(
                name,
                seats=seats,
                shares=shares[name],
                queuing=asked if response.get("type") == "Queue" else None,
                lendable=round(seats * (limited.get("lendablePercent") or 0) / 100),
                borrowing=None if most is None else round(seats * most / 100),
                others=others,
            )
            lendable = round(seats * (limited.get("lendablePercent") or 0) / 100)
            _NOMINAL.set(seats, name)
            _CURRENT.set(seats, name)
            _LOWER.set(seats - lendable, name)
            _UPPER.set(seats + (self._seats - seats if most is None else round(seats * most / 100)), name)
            others.append(level)
            yield name, level


def _shares(spec: Object) -> int:
    if spec.get("type") == "Exempt":
        return int((spec.get("exempt") or {}).get("nominalConcurrencyShares") or 0)
    shares = (spec.get("limited") or {}).get("nominalConcurrencyShares")
    return 30 if shares is None else int(shares)


class _Marks:
    def __init__(self, fairness: Fairness) -> None:
        self._fairness = fairness

    def reset(self, objs: Iterable[Object]) -> None:
        self._fairness.mark()

    def changed(self, new: Object | None, old: Object | None) -> None:
        self._fairness.mark()
