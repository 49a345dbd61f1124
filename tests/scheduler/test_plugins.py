"""What each plugin rejects and prefers, through a whole scheduling cycle."""

from typing import Any

import pytest

from pynetes.machinery.meta import Object
from pynetes.scheduler.plugins.taint_toleration import tolerates
from pynetes.scheduler.pods import PodInfo
from tests.scheduler.cluster import node, pod, scheduling


def required(*expressions: Object, fields: tuple[Object, ...] = ()) -> Object:
    term = {"matchExpressions": list(expressions), "matchFields": list(fields)}
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"nodeAffinity": rule}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ({"key": "zone", "operator": "In", "values": ["a"]}, "n1"),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, "n2"),
        ({"key": "disk", "operator": "Exists"}, "n2"),
        ({"key": "disk", "operator": "DoesNotExist"}, "n1"),
        ({"key": "cores", "operator": "Gt", "values": ["8"]}, "n2"),
        ({"key": "cores", "operator": "Lt", "values": ["8"]}, "n1"),
    ],
)
async def test_node_affinity_operators(expression: Object, wanted: str) -> None:
    """Each operator picks the one node that it means."""
    one = node("n1", labels={"zone": "a", "cores": "4"})
    two = node("n2", labels={"zone": "b", "cores": "16", "disk": "ssd"})
    async with scheduling(one, two, pod("web", affinity=required(expression))) as world:
        assert world.place("web") == wanted


async def test_match_fields_pick_a_node_by_name() -> None:
    """DaemonSet pods name their node in matchFields."""
    fields = ({"key": "metadata.name", "operator": "In", "values": ["n2"]},)
    async with scheduling(node("n1"), node("n2"), pod("d", affinity=required(fields=fields))) as world:
        assert world.place("d") == "n2"


async def test_node_selector_without_a_match_waits_for_the_label() -> None:
    """The reason names the selector, and labelling a node is the event that helps."""
    async with scheduling(node("n1"), pod("web", nodeSelector={"disk": "ssd"})) as world:
        assert world.message("web").startswith(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        )
        await world.put(node("n1", labels={"disk": "ssd"}))
        assert world.place("web") == "n1"


async def test_preferred_affinity_decides_between_nodes() -> None:
    """A preferred term outweighs the small differences of the other scores."""
    preferred = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]},
                }
            ]
        }
    }
    cluster = (node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "b"}))
    async with scheduling(*cluster, pod("web", affinity=preferred)) as world:
        assert world.place("web") == "n2"


async def test_the_emptier_node_is_preferred() -> None:
    """LeastAllocated spreads pods over nodes."""
    async with scheduling(node("n1"), node("n2"), pod("a", cpu="2", memory="1Gi", nodeName="n1")) as world:
        await world.put(pod("b", cpu="1", memory="1Gi"))
        assert world.place("b") == "n2"


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80, "protocol": "UDP"}, {"hostPort": 80}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80, "hostIP": "10.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "10.0.0.1"}, {"hostPort": 80}, False),
    ],
)
async def test_host_ports(first: Object, second: Object, fits: bool) -> None:
    """The same port and protocol clash on the same address, and 0.0.0.0 is every address."""
    cluster = (node("n1"), pod("a", ports=[{**first, "containerPort": 80}]))
    async with scheduling(*cluster) as world:
        await world.put(pod("b", ports=[{**second, "containerPort": 80}]))
        assert (world.place("b") == "n1") is fits
        if not fits:
            assert "1 node(s) didn't have free ports for the requested pod ports" in world.message("b")
            await world.remove(world.get("a"))
            assert world.place("b") == "n1"


async def test_soft_taints_make_a_node_the_worse_choice() -> None:
    """PreferNoSchedule keeps nobody away, but others are better."""
    taints = [{"key": "old", "effect": "PreferNoSchedule"}]
    async with scheduling(node("n1", taints=taints), node("n2", cpu="2"), pod("web")) as world:
        assert world.place("web") == "n2"


async def test_a_removed_taint_wakes_the_pod() -> None:
    """The node becoming ready (its not-ready taint going) is what new pods wait for."""
    taints = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    async with scheduling(node("n1", taints=taints), pod("web")) as world:
        expected = "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
        assert world.message("web").startswith(expected)
        await world.put(node("n1"))
        assert world.place("web") == "n1"


@pytest.mark.parametrize(
    ("toleration", "result"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, Any], result: bool) -> None:
    """Empty keys and effects match all; Equal compares values."""
    assert tolerates([toleration], {"key": "k", "value": "v", "effect": "NoSchedule"}) is result


def test_requests_of_a_pod() -> None:
    """Containers add up, init containers count their maximum on top of sidecars, overhead comes on top."""

    def container(cpu: str, **more: str) -> Object:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("100m"), container("200m")],
        "initContainers": [container("50m", restartPolicy="Always"), container("1")],
        "overhead": {"cpu": "10m"},
    }
    info = PodInfo({"metadata": {"name": "p"}, "spec": spec})
    assert info.requests == {"cpu": 1060, "pods": 1}
