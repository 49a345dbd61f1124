"""The small controllers of storage: ephemeral volumes, expansion, and classes of attributes that are in use."""

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import pods
from pynetes.apis.storage import volumeattributesclasses as classes
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import running
from tests.controllers.volumes import bound, claim, pod


def ephemeral() -> Object:
    """A pod with a claim template."""
    made = pod("web")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim()["spec"]}
    made["spec"]["volumes"] = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    return made


async def test_ephemeral_volume() -> None:
    """A pod's ephemeral volume is a claim that the pod owns."""
    async with running("ephemeral-volume") as world:
        world.api.put(ephemeral())
        await world.settle()
        made = world.get(claims.RESOURCE, "web-scratch")
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", "uid-of-web", True)
        assert made["metadata"]["labels"] == {"a": "b"} and made["spec"]["storageClassName"] == "fast"


async def test_ephemeral_volume_conflict() -> None:
    """A claim of that name that is somebody's stays, and the pod is told."""
    async with running("ephemeral-volume") as world:
        world.api.put(claim("web-scratch"))
        world.api.put(ephemeral())
        await world.settle()
        assert "was not created for the pod" in str(await world.events(world.get(pods.RESOURCE, "web")))
        assert "ownerReferences" not in world.get(claims.RESOURCE, "web-scratch")["metadata"]


async def test_expander_tells_who_works() -> None:
    """A claim that grows is told that its driver's resizer does it."""
    async with running("persistentvolume-expander") as world:
        mine, its = bound()
        mine["spec"]["resources"]["requests"]["storage"] = "2Gi"
        world.api.put(its)
        world.api.put(mine)
        await world.settle()
        assert "ExternalExpanding" in str(await world.events(world.get(claims.RESOURCE, "data")))


async def test_attributes_class_in_use() -> None:
    """A class of attributes that is deleted stays as long as a claim names it."""
    async with running("volumeattributesclass-protection") as world:
        class_ = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttributesClass",
            "metadata": {"name": "gold"},
            "driverName": "d",
        }
        world.api.put(class_)
        world.api.put(claim(volumeAttributesClassName="gold"))
        await world.settle()
        assert world.get(classes.RESOURCE, "gold")["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
        world.edit(
            classes.RESOURCE, "gold", lambda obj: obj["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z")
        )
        await world.settle()
        assert world.get(classes.RESOURCE, "gold")["metadata"]["finalizers"]
        world.api.remove(world.get(claims.RESOURCE, "data"))
        await world.settle()
        assert world.api.get(classes.RESOURCE, Key("", "gold")) is None
