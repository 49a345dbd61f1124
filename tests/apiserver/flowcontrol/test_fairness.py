"""Priority and fairness under attack: a flood by one client, and what everybody else notices of it."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from pynetes.apis.flowcontrol import flowschemas, prioritylevelconfigurations
from pynetes.apiserver import requestinfo
from pynetes.apiserver.authn.user import AUTHENTICATED, MASTERS, NODES, SERVICE_ACCOUNTS, User
from pynetes.apiserver.bootstrap import flowcontrol
from pynetes.apiserver.filters.fairness import Fairness
from pynetes.apiserver.flowcontrol.level import Level, Rejected, dealt
from pynetes.apiserver.flowcontrol.schemas import Schemas
from pynetes.apiserver.http import Request, Response
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import FakeObjects, obj
from tests.apiserver.harness import CONFIGMAPS, api

NOISY = User("system:serviceaccount:default:noisy", groups=(SERVICE_ACCOUNTS, AUTHENTICATED))
QUIET = User("system:serviceaccount:default:quiet", groups=(SERVICE_ACCOUNTS, AUTHENTICATED))
NODE = User("system:node:n1", groups=(NODES, AUTHENTICATED))
ROOT = User("root", groups=(MASTERS, AUTHENTICATED))
SCHEDULER = User("system:kube-scheduler", groups=(AUTHENTICATED,))


def bootstrap() -> list[tuple[str, Object]]:
    return [(resource.plural, one) for resource, one in flowcontrol.objects("2026-01-01T00:00:00Z")]


def schemas() -> Schemas:
    return Schemas(one for plural, one in bootstrap() if plural == "flowschemas")


async def filled() -> FakeObjects:
    objects = FakeObjects()
    for resource, one in flowcontrol.objects("2026-01-01T00:00:00Z"):
        await objects.create(resource, one)
    return objects


def asked(user: User, path: str = "/api/v1/pods", method: str = "GET", query: str = "") -> Request:
    made = Request(method=method, path=path, query_string=query, user=user)
    made.info = requestinfo.parse(method, path, query)
    return made


@pytest.mark.parametrize(
    ("user", "method", "path", "schema"),
    [
        (ROOT, "GET", "/api/v1/pods", "exempt"),
        (NOISY, "GET", "/api/v1/pods", "service-accounts"),
        (NODE, "PATCH", "/api/v1/nodes/n1/status", "system-node-high"),
        (NODE, "GET", "/api/v1/namespaces/a/pods/x", "system-nodes"),
        (SCHEDULER, "GET", "/api/v1/pods", "kube-scheduler"),
        (SCHEDULER, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", "system-leader-election"),
        (User("alice", groups=(AUTHENTICATED,)), "GET", "/api/v1/pods", "global-default"),
        (User("alice", groups=(AUTHENTICATED,)), "GET", "/healthz", "probes"),
    ],
)
def test_who_is_in_which_flow(user: User, method: str, path: str, schema: str) -> None:
    """The bootstrap schemas, as upstream sorts requests by them."""
    flow = schemas().classify(user, requestinfo.parse(method, path))
    assert flow is not None and flow.schema == schema


async def test_a_flood_waits_and_the_systems_own_goes_on() -> None:
    """A thousand requests of one client that came first: a node's comes through after a handful of them, an
    administrator's at once, and nobody is left out in the end."""
    fairness = Fairness(await filled(), seats=600, patience=15.0)
    served: list[str] = []

    async def answer(request: Request) -> Response:
        # As from the cache: without a pause.
        assert request.user is not None
        served.append(request.user.name)
        return Response()

    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(fairness(asked(NOISY), answer))
        group.create_task(fairness(asked(NODE, "/api/v1/nodes/n1"), answer))
        group.create_task(fairness(asked(QUIET), answer))
        group.create_task(fairness(asked(ROOT), answer))
    assert served.index("root") < 60 and served.index("system:node:n1") < 60
    # In the same level, but in a queue of its own.
    assert served.index(QUIET.name) < 150
    assert Counter(served)[NOISY.name] == 1000


async def test_what_finds_no_room_is_told_to_come_back() -> None:
    """429 with Retry-After once the client's own queues are full; another client still gets in."""
    fairness = Fairness(await filled(), seats=10, patience=15.0)
    hold = asyncio.Event()

    async def slow(request: Request) -> Response:
        await hold.wait()
        return Response()

    async with asyncio.TaskGroup() as group:
        noisy = [group.create_task(_outcome(fairness, NOISY, slow)) for _ in range(600)]
        quiet = group.create_task(_outcome(fairness, QUIET, slow))
        for _ in range(100):
            await asyncio.sleep(0)
        refused = [task.result() for task in noisy if task.done()]
        assert refused and set(refused) == {(429, 1)}
        assert not quiet.done()
        hold.set()
    assert quiet.result() == (200, None)
    assert {task.result() for task in noisy} == {(200, None), (429, 1)}


async def _outcome(fairness: Fairness, user: User, handler: object) -> tuple[int, int | None]:
    try:
        response: Response = await fairness(asked(user), handler)  # type: ignore[arg-type]
    except StatusError as error:
        return error.code, error.retry_after
    return response.status, None


async def test_watches_hold_no_seat() -> None:
    """A thousand watches that stay are no load."""
    fairness = Fairness(await filled(), seats=10, patience=15.0)
    hold = asyncio.Event()

    async def stays(request: Request) -> Response:
        await hold.wait()
        return Response()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(fairness(asked(NOISY, query="watch=1"), stays))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (await _outcome(fairness, NOISY, _ok)) == (200, None)
        hold.set()


async def _ok(request: Request) -> Response:
    return Response()


async def test_those_who_leave_the_queue_take_no_seat_with_them() -> None:
    """Clients that hang up while they wait, or whose patience ends, free their place."""
    level = Level("x", seats=1, shares=100, queuing=(4, 2, 50))
    await level.enter("a", 1)
    waiting = [asyncio.ensure_future(level.enter("b", 60)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting[:4]:
        task.cancel()
    with pytest.raises(Rejected, match="time-out"):
        await level.enter("c", 0.001)
    level.leave()
    await waiting[4]
    assert level.executing == 1
    level.leave()
    assert (level.executing, level.waiting) == (0, 0)


async def test_a_level_without_queues_rejects() -> None:
    """limitResponse Reject."""
    level = Level("x", seats=1, shares=100, queuing=None)
    await level.enter("a", 1)
    with pytest.raises(Rejected, match="concurrency-limit"):
        await level.enter("a", 1)


async def test_seats_are_lent_and_given_back() -> None:
    """A busy level uses what a quiet one lends, never more than that, and never what the quiet one wants itself."""
    everybody: list[Level] = []
    quiet = Level("quiet", seats=10, shares=4000, queuing=None, lendable=4, others=everybody)
    busy = Level("busy", seats=2, shares=4000, queuing=None, borrowing=3, others=everybody)
    greedy = Level("greedy", seats=1, shares=4000, queuing=(4, 2, 50), borrowing=None, others=everybody)
    everybody += [quiet, busy, greedy]
    for _ in range(5):
        await busy.enter("a", 1)
    with pytest.raises(Rejected):  # its limit of borrowing
        await busy.enter("a", 1)
    for _ in range(2):
        await greedy.enter("g", 1)
    late = asyncio.ensure_future(greedy.enter("g", 5))  # all four are lent
    await asyncio.sleep(0)
    assert not late.done()
    for _ in range(10):
        await quiet.enter("q", 1)
    with pytest.raises(Rejected):
        await quiet.enter("q", 1)
    assert (quiet.executing, busy.executing, greedy.executing) == (10, 5, 2)
    for _ in range(10):
        quiet.leave()
    for _ in range(3):
        busy.leave()
    quiet.executing += 1
    quiet.leave()
    await late
    assert greedy.executing == 3


async def test_namespaces_are_told_apart_where_rules_do() -> None:
    """What was found for one namespace holds for others only where no rule names either, with a queue of each."""
    objects = await filled()
    everybody = {"kind": "Group", "group": {"name": AUTHENTICATED}}
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["special"]}
    spec = {
        "matchingPrecedence": 50,
        "priorityLevelConfiguration": {"name": "exempt"},
        "rules": [{"subjects": [everybody], "resourceRules": [rule]}],
    }
    await objects.create(flowschemas.RESOURCE, obj(flowschemas.RESOURCE, "mine", spec=spec))
    fairness, seen = Fairness(objects, seats=10, patience=1), []
    for namespace in ("shop", "special", "other", "special", "shop"):
        request = asked(SCHEDULER, f"/api/v1/namespaces/{namespace}/pods")
        await fairness(request, _ok)
        seen.append(request.flow)
    assert seen[0] == seen[2] == seen[4]
    assert seen[1] == seen[3] != seen[0]


@pytest.mark.parametrize("namespace", ["a", "b"])
def test_a_queue_for_each_namespace(namespace: str) -> None:
    """The controller manager's own requests are told apart by namespace."""
    manager = User("system:kube-controller-manager", groups=(AUTHENTICATED,))
    flow = schemas().classify(manager, asked(manager, f"/api/v1/namespaces/{namespace}/pods").info)
    assert flow is not None and (flow.distinguisher, flow.method) == (namespace, "ByNamespace")


async def test_answers_tell_their_flow() -> None:
    """Which schema and level a request was in, for administrators too, and for those who are refused."""
    async with api() as server:
        levels = (await server.get("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations")).body["items"]
        uids = {one["metadata"]["uid"] for one in levels}
        for path in (CONFIGMAPS, "/api/v1/nothing", "/healthz"):
            told = dict((await server.get(path)).headers)
            assert told["X-Kubernetes-PF-PriorityLevel-UID"] in uids and told["X-Kubernetes-PF-FlowSchema-UID"]


def test_hands_differ() -> None:
    """Distinct queues, the same for a flow every time, and hardly ever a whole hand in common."""
    hands = {flow: frozenset(dealt(flow, 128, 6)) for flow in (f"user-{number}" for number in range(500))}
    assert all(len(hand) == 6 for hand in hands.values())
    assert dealt("user-1", 128, 6) == dealt("user-1", 128, 6)
    assert len(set(hands.values())) == 500


async def test_a_change_of_the_levels_counts_at_once() -> None:
    """An administrator who throttles a client need not restart anything."""
    objects = await filled()
    fairness = Fairness(objects, seats=100, patience=0.01)
    assert fairness._find(asked(NOISY).user, asked(NOISY).info)[1] is not None
    exempting: Object = {
        "metadata": {"name": "let-in"},
        "spec": {
            "matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "exempt"},
            "rules": [
                {
                    "subjects": [
                        {"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "noisy"}}
                    ],
                    "resourceRules": [
                        {
                            "verbs": ["*"],
                            "apiGroups": ["*"],
                            "resources": ["*"],
                            "clusterScope": True,
                            "namespaces": ["*"],
                        }
                    ],
                }
            ],
        },
    }
    await objects.create(flowschemas.RESOURCE, exempting)
    assert fairness._find(asked(NOISY).user, asked(NOISY).info)[1] is None
    assert fairness._find(asked(QUIET).user, asked(QUIET).info) is not None
    assert _names(objects.list(prioritylevelconfigurations.RESOURCE)) >= {"exempt", "catch-all", "workload-low"}


def _names(objs: Iterable[Object]) -> set[str]:
    return {one["metadata"]["name"] for one in objs}


async def test_the_server_uses_it() -> None:
    """In the chain by default; --enable-priority-and-fairness=false takes it out."""
    async with api() as server:
        assert (await server.get(CONFIGMAPS)).status == 200
    async with api(enable_priority_and_fairness=False) as server:
        assert (await server.get(CONFIGMAPS)).status == 200
