"""Attach and detach: volumes go where their pods are, one writer at a time, and leave only when that is safe."""

from pynetes.apis.core import nodes, pods
from pynetes.apis.storage import volumeattachments as attachments
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import World, running
from tests.controllers.volumes import DRIVER, bound, node, pod

NAME = "persistentvolume-attach-detach"


def listed(world: World) -> list[str]:
    """The nodes of the attachments, with + where attached and - where going."""
    found = []
    for one in world.api.listed(attachments.RESOURCE):
        going = "-" if one["metadata"].get("deletionTimestamp") else ""
        attached = "+" if (one.get("status") or {}).get("attached") else ""
        found.append(one["spec"]["nodeName"] + attached + going)
    return sorted(found)


def attach_all(world: World) -> None:
    """What an attacher does: a finalizer, then attached."""
    for one in world.api.listed(attachments.RESOURCE):
        world.api.put(one | {"metadata": one["metadata"] | {"finalizers": ["attacher"]}, "status": {"attached": True}})


def detach_all(world: World) -> None:
    """What an attacher does with those that are going."""
    for one in world.api.listed(attachments.RESOURCE):
        if one["metadata"].get("deletionTimestamp"):
            world.api.remove(one)


async def started(world: World, **of_node: object) -> Object:
    """A pod on n1 that has its volume attached."""
    for one in (*bound(), node("n1", **of_node), node("n2"), pod("web", "data", node="n1")):  # type: ignore[arg-type]
        world.api.put(one)
    await world.settle()
    attach_all(world)
    await world.settle()
    return world.get(pods.RESOURCE, "web")


async def test_attaches_and_reports() -> None:
    """A scheduled pod's volume is attached; the node says so once the attacher does, which lets its kubelet mount."""
    async with running(NAME) as world:
        for one in (*bound(), node("n1"), pod("web", "data", node="n1")):
            world.api.put(one)
        await world.settle()
        (made,) = world.api.listed(attachments.RESOURCE)
        assert made["spec"] == {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}}
        assert not world.get(nodes.RESOURCE, "n1")["status"].get("volumesAttached")
        attach_all(world)
        await world.settle()
        wanted = [{"name": f"kubernetes.io/csi/{DRIVER}^handle-of-pv", "devicePath": ""}]
        assert world.get(nodes.RESOURCE, "n1")["status"]["volumesAttached"] == wanted


async def test_no_attach_where_the_driver_needs_none() -> None:
    """attachRequired: false means no VolumeAttachment."""
    async with running(NAME) as world:
        driver = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": DRIVER},
            "spec": {"attachRequired": False},
        }
        for one in (driver, *bound(), node("n1"), pod("web", "data", node="n1")):
            world.api.put(one)
        await world.settle()
        assert listed(world) == []


async def test_waits_for_unmount() -> None:
    """A healthy node that still has the volume mounted keeps it; once it says that it has not, the volume goes."""
    async with running(NAME) as world:
        web = await started(world, in_use=("pv",))
        world.api.remove(web)
        await world.settle()
        await world.advance(3600)
        assert listed(world) == ["n1+"]
        world.edit(nodes.RESOURCE, "n1", lambda obj: obj["status"].update(volumesInUse=[]))
        await world.settle()
        assert listed(world) == ["n1+-"]
        assert not world.get(nodes.RESOURCE, "n1")["status"].get("volumesAttached")


async def test_one_writer_at_a_time() -> None:
    """A pod on another node waits, with an event, until the first has let go; then it gets the volume at once."""
    async with running(NAME) as world:
        web = await started(world, in_use=("pv",))
        world.api.remove(web)
        world.api.put(pod("next", "data", node="n2"))
        await world.settle()
        assert listed(world) == ["n1+"]
        assert "Multi-Attach error" in str(await world.events(world.get(pods.RESOURCE, "next")))
        world.edit(nodes.RESOURCE, "n1", lambda obj: obj["status"].update(volumesInUse=[]))
        await world.settle()
        assert listed(world) == ["n1+-"], "not before the first is really detached"
        detach_all(world)
        await world.settle()
        assert listed(world) == ["n2"]


async def test_dead_node_after_six_minutes() -> None:
    """A node that is not ready keeps its volumes for six minutes, in which it may come back."""
    async with running(NAME) as world:
        web = await started(world, ready=False, in_use=("pv",))
        world.api.remove(web)
        await world.settle()
        await world.advance(300)
        assert listed(world) == ["n1+"]
        await world.advance(61)
        assert listed(world) == ["n1+-"]


async def test_out_of_service() -> None:
    """The out-of-service taint is a person's word that the node is down: its volumes go at once."""
    async with running(NAME) as world:
        web = await started(world, ready=False, in_use=("pv",))
        world.api.remove(web)
        await world.settle()
        taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        world.edit(nodes.RESOURCE, "n1", lambda obj: obj["spec"].update(taints=[taint]))
        await world.settle()
        assert listed(world) == ["n1+-"]


async def test_node_that_is_gone() -> None:
    """A node that was deleted has nothing mounted any more."""
    async with running(NAME) as world:
        web = await started(world, in_use=("pv",))
        world.api.remove(world.get(nodes.RESOURCE, "n1"))
        world.api.remove(web)
        await world.settle()
        assert listed(world) == ["n1+-"]


async def test_finished_pods_let_go() -> None:
    """A pod that has run to its end needs its volume no more."""
    async with running(NAME) as world:
        await started(world)
        world.edit(pods.RESOURCE, "web", lambda obj: obj["status"].update(phase="Succeeded"))
        await world.settle()
        assert listed(world) == ["n1+-"]


async def test_pod_that_comes_back_while_detaching() -> None:
    """A volume that is on its way out is attached anew only when it is out."""
    async with running(NAME) as world:
        web = await started(world)
        world.api.remove(web)
        await world.settle()
        world.api.put(pod("again", "data", node="n1"))
        await world.settle()
        assert listed(world) == ["n1+-"]
        detach_all(world)
        await world.settle()
        assert listed(world) == ["n1"]
        assert world.api.get(attachments.RESOURCE, Key("", "nothing")) is None
