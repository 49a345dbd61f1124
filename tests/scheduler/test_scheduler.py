"""The scheduler against the fake API: placing, explaining, waiting for the right event, and failing bindings."""

from pynetes.apis.core import events, pods
from pynetes.client.fake import Write
from pynetes.machinery import errors
from pynetes.machinery.meta import Key
from pynetes.testing.clock import settle
from tests.scheduler.cluster import node, pod, scheduling

GPU = {"example.com/gpu": "1"}


async def test_a_pod_gets_a_node_and_an_event() -> None:
    """One binding, one Scheduled event, no other write."""
    async with scheduling(node("n1"), pod("web")) as world:
        await settle()
        assert world.place("web") == "n1"
        assert world.api.writes[0] == Write("create", "pods/binding", Key("default", "web"))
        (event,) = world.api.listed(events.RESOURCE)
        assert event["message"] == "Successfully assigned default/web to n1"
        assert (event["reason"], event["type"], event["source"]["component"]) == (
            "Scheduled",
            "Normal",
            "default-scheduler",
        )


async def test_the_message_counts_nodes_by_reason() -> None:
    """Reasons are sorted as texts and charged to the first plugin that rejects a node."""
    taints = [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]
    cluster = (
        node("n1", cpu="1"),
        node("n2", cpu="1"),
        node("n3", taints=taints, cpu="1"),
        node("n4", unschedulable=True),
    )
    async with scheduling(*cluster, pod("web", cpu="2", memory="64Gi")) as world:
        assert world.message("web") == (
            "0/4 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable, "
            "2 Insufficient cpu, 2 Insufficient memory. preemption: 0/4 nodes are available: "
            "4 Preemption is not helpful for scheduling."
        )
        (event,) = world.api.listed(events.RESOURCE)
        assert (event["type"], event["reason"]) == ("Warning", "FailedScheduling")


async def test_no_nodes_at_all() -> None:
    """An empty cluster says so, and the first node that comes takes the pod."""
    async with scheduling(pod("web")) as world:
        assert world.message("web") == "no nodes available to schedule pods"
        await world.put(node("n1"))
        assert world.place("web") == "n1"


async def test_room_is_taken_at_once() -> None:
    """Pods placed in one go do not overfill a node, although no binding has been confirmed yet."""
    async with scheduling(node("n1", cpu="2"), *(pod(f"p{i}", cpu="1") for i in range(3))) as world:
        assert sorted(world.place(f"p{i}") for i in range(3)) == ["", "n1", "n1"]


async def test_an_unschedulable_pod_waits_for_an_event_that_helps() -> None:
    """Nothing is tried while nothing that matters happens; a pod that leaves makes room."""
    async with scheduling(node("n1", cpu="1"), pod("first", cpu="1")) as world:
        await world.put(pod("second", cpu="1"))
        assert world.place("second") == ""
        tried = len(world.api.writes)
        await world.put(node("n2", cpu="500m"))
        await world.clock.advance(60)
        assert len(world.api.writes) == tried
        await world.remove(world.get("first"))
        assert world.place("second") == "n1"


async def test_gated_pods_wait_for_their_gates() -> None:
    """A pod with scheduling gates is not even tried; removing them is what counts."""
    async with scheduling(node("n1"), pod("web", schedulingGates=[{"name": "a"}])) as world:
        assert world.place("web") == ""
        assert not world.api.writes
        await world.put(pod("web"))
        assert world.place("web") == "n1"


async def test_a_refused_binding_comes_back_after_a_back_off() -> None:
    """The room is given back, the pod is told, and a second later it is tried again."""
    async with scheduling(node("n1", cpu="1")) as world:
        world.api.fail("create", pods.RESOURCE, errors.internal("etcd is slow"))
        await world.put(pod("web", cpu="1"))
        assert "binding rejected" in world.message("web")
        assert world.scheduler.queue.places["backoff"] == 1
        await world.clock.advance(2.5)
        assert world.place("web") == "n1"


async def test_the_important_pod_goes_first() -> None:
    """Among pods that are ready the higher priority is placed first."""
    low, high = pod("low", cpu="1"), pod("high", cpu="1", priority=1000)
    async with scheduling(node("n1", cpu="1"), low, high) as world:
        assert (world.place("low"), world.place("high")) == ("", "n1")


async def test_other_schedulers_pods_are_left_alone() -> None:
    """schedulerName decides whose pod it is."""
    async with scheduling(node("n1"), pod("web", schedulerName="mine")) as world:
        assert world.place("web") == ""
        assert not world.api.writes


async def test_finished_pods_take_no_room() -> None:
    """A pod that has succeeded frees what it requested."""
    async with scheduling(node("n1", cpu="1"), pod("job", cpu="1", nodeName="n1"), pod("web", cpu="1")) as world:
        assert world.place("web") == ""
        await world.put({**world.get("job"), "status": {"phase": "Succeeded"}})
        assert world.place("web") == "n1"


async def test_extended_resources() -> None:
    """A resource that only some nodes have decides."""
    gpu = pod("train")
    gpu["spec"]["containers"][0]["resources"]["requests"] = dict(GPU)
    async with scheduling(node("n1"), node("n2", allocatable=GPU), gpu) as world:
        assert world.place("train") == "n2"


async def test_no_cpu_left_after_restart() -> None:
    """Pods that are on nodes when the scheduler starts count, whichever list arrives first."""
    async with scheduling(pod("old", cpu="3", nodeName="n1"), node("n1"), pod("web", cpu="2")) as world:
        assert world.message("web") == (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod."
        )


async def test_a_pod_that_was_resized_makes_room() -> None:
    """Requests that shrink in place are an event that helps."""
    async with scheduling(node("n1", cpu="2"), pod("old", cpu="2", nodeName="n1"), pod("web", cpu="1")) as world:
        assert world.place("web") == ""
        await world.put(pod("old", cpu="1", nodeName="n1"))
        assert world.place("web") == "n1"
