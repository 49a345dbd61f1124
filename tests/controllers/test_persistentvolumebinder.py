"""The binder: who gets which volume, in which order it is written, and what becomes of volumes without a claim."""

import pytest

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as pvs
from pynetes.machinery import errors
from pynetes.machinery.meta import Object
from tests.controllers.harness import World, running
from tests.controllers.volumes import DRIVER, bound, claim, node, storage_class, volume

NAME = "persistentvolume-binder"


def phase(world: World, name: str = "data") -> str:
    return str(world.get(claims.RESOURCE, name)["status"]["phase"])


def state(world: World, name: str = "pv") -> str:
    return str(world.get(pvs.RESOURCE, name)["status"]["phase"])


async def test_binds_the_smallest_that_suits() -> None:
    """Of the volumes that are large enough the smallest is taken; claim and volume then point to each other."""
    async with running(NAME) as world:
        for name, size in (("small", "500Mi"), ("right", "2Gi"), ("huge", "100Gi")):
            world.api.put(volume(name, size=size))
        await world.settle()
        assert state(world, "right") == "Available"
        world.api.put(claim())
        await world.settle()
        got = world.get(claims.RESOURCE, "data")
        assert got["spec"]["volumeName"] == "right"
        assert got["status"]["phase"] == "Bound" and got["status"]["capacity"] == {"storage": "2Gi"}
        assert got["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
        assert got["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] == "yes"
        its = world.get(pvs.RESOURCE, "right")
        assert its["spec"]["claimRef"]["uid"] == "uid-of-data" and its["status"]["phase"] == "Bound"
        assert state(world, "huge") == "Available"


@pytest.mark.parametrize(
    "other",
    [
        volume(class_="slow"),
        volume(volumeMode="Block"),
        volume(accessModes=["ReadOnlyMany"]),
        volume(size="10Mi"),
        volume(claimRef={"namespace": "default", "name": "somebody-else"}),
    ],
    ids=["class", "mode", "access", "size", "reserved"],
)
async def test_what_does_not_suit(other: Object) -> None:
    """A volume of another class, mode or access, one too small, and one kept for another are not taken."""
    async with running(NAME) as world:
        world.api.put(other)
        world.api.put(claim())
        await world.settle()
        assert phase(world) == "Pending"
        assert "ProvisioningFailed" in str(await world.events(world.get(claims.RESOURCE, "data")))


async def test_a_volume_that_comes_later() -> None:
    """A waiting claim gets the volume that becomes available."""
    async with running(NAME) as world:
        world.api.put(claim(class_=""))
        await world.settle()
        assert "FailedBinding" in str(await world.events(world.get(claims.RESOURCE, "data")))
        world.api.put(volume(class_=""))
        await world.settle()
        assert phase(world) == "Bound"


async def test_a_volume_kept_for_a_claim() -> None:
    """A volume whose claimRef names the claim is taken before a better one, and keeps its reference as its user's."""
    async with running(NAME) as world:
        world.api.put(volume("better"))
        world.api.put(volume("kept", size="5Gi", claimRef={"namespace": "default", "name": "data"}))
        world.api.put(claim())
        await world.settle()
        assert world.get(claims.RESOURCE, "data")["spec"]["volumeName"] == "kept"
        assert "bound-by-controller" not in str(world.get(pvs.RESOURCE, "kept")["metadata"].get("annotations"))


async def test_a_claim_that_names_its_volume() -> None:
    """It gets that one or none."""
    async with running(NAME) as world:
        world.api.put(volume("other"))
        world.api.put(claim(volumeName="pv"))
        await world.settle()
        assert phase(world) == "Pending"
        world.api.put(volume("pv", size="10Mi"))
        await world.settle()
        assert phase(world) == "Pending"
        assert "VolumeMismatch" in str(await world.events(world.get(claims.RESOURCE, "data")))
        world.api.put(volume("pv"))
        await world.settle()
        assert phase(world) == "Bound"


async def test_asks_the_provisioner() -> None:
    """Where no volume fits, the class's provisioner is asked by annotation; what it makes is bound."""
    async with running(NAME) as world:
        world.api.put(storage_class())
        world.api.put(claim())
        await world.settle()
        asked = world.get(claims.RESOURCE, "data")
        assert asked["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] == DRIVER
        assert "ExternalProvisioning" in str(await world.events(asked))
        ref = {"namespace": "default", "name": "data", "uid": "uid-of-data"}
        world.api.put(volume("made", claimRef=ref))
        await world.settle()
        assert phase(world) == "Bound" and state(world, "made") == "Bound"


async def test_waits_for_the_first_consumer() -> None:
    """A class that waits for the pod's node asks for nothing until the scheduler has chosen it."""
    async with running(NAME) as world:
        world.api.put(storage_class(late=True))
        world.api.put(volume("free"))
        world.api.put(claim())
        await world.settle()
        waiting = world.get(claims.RESOURCE, "data")
        assert waiting["spec"].get("volumeName") is None
        assert "storage-provisioner" not in str(waiting["metadata"].get("annotations"))
        assert "WaitForFirstConsumer" in str(await world.events(waiting))
        world.api.remove(world.get(pvs.RESOURCE, "free"))

        def select(obj: Object) -> None:
            obj["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "n1"}

        world.edit(claims.RESOURCE, "data", select)
        await world.settle()
        assert "storage-provisioner" in str(world.get(claims.RESOURCE, "data")["metadata"]["annotations"])


async def test_default_class_that_comes_later() -> None:
    """A claim that names no class gets the default one, also when that is made after it."""
    async with running(NAME) as world:
        world.api.put(claim(class_=None))
        await world.settle()
        marked = storage_class("standard")
        marked["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        world.api.put(marked)
        await world.settle()
        assert world.get(claims.RESOURCE, "data")["spec"]["storageClassName"] == "standard"


@pytest.mark.parametrize("verb", ["update persistentvolumes", "update persistentvolumeclaims"])
async def test_interrupted_binding_goes_on(verb: str) -> None:
    """A write that fails in the middle of a binding leaves nothing that is not finished later."""
    resource = pvs.RESOURCE if "volumes" in verb else claims.RESOURCE
    async with running(NAME) as world:
        world.api.put(volume())
        await world.settle()
        for _ in range(2):
            world.api.fail("update", resource, errors.failure(500, "InternalError", "no"))
        world.api.put(claim())
        await world.settle()
        for _ in range(3):
            await world.advance(10)
        assert phase(world) == "Bound" and state(world) == "Bound"


async def test_retained_and_deleted() -> None:
    """Without its claim a volume is Released; Retain keeps it, Delete leaves it to its provisioner."""
    for policy in ("Retain", "Delete"):
        async with running(NAME) as world:
            mine, its = bound()
            its["spec"]["persistentVolumeReclaimPolicy"] = policy
            world.api.put(mine)
            world.api.put(its)
            await world.settle()
            world.api.remove(mine)
            await world.settle()
            assert state(world) == "Released"
            world.api.put(claim("second"))
            await world.settle()
            assert phase(world, "second") == "Pending", "a released volume has somebody's data"


async def test_recycling_keeps_data() -> None:
    """Recycle is not done: the volume is Failed with a reason, and kept."""
    async with running(NAME) as world:
        mine, its = bound()
        its["spec"]["persistentVolumeReclaimPolicy"] = "Recycle"
        world.api.put(mine)
        world.api.put(its)
        await world.settle()
        world.api.remove(mine)
        await world.settle()
        assert state(world) == "Failed" and "deprecated" in world.get(pvs.RESOURCE, "pv")["status"]["message"]


async def test_a_claim_that_lost_its_volume() -> None:
    """A bound claim whose volume is gone is Lost, and says that its data is."""
    async with running(NAME) as world:
        mine, its = bound()
        world.api.put(mine)
        world.api.put(its)
        await world.settle()
        world.api.remove(its)
        await world.settle()
        assert phase(world) == "Lost"
        assert "ClaimLost" in str(await world.events(world.get(claims.RESOURCE, "data")))


async def test_another_claim_of_the_same_name() -> None:
    """A claim that is made anew under its old name does not get the old one's data."""
    async with running(NAME) as world:
        mine, its = bound()
        world.api.put(mine)
        world.api.put(its)
        await world.settle()
        world.api.remove(mine)
        world.api.put(claim(uid="another"))
        await world.settle()
        assert state(world) == "Released" and phase(world) == "Pending"


async def test_rests_when_bound() -> None:
    """Nothing is written about what is done."""
    async with running(NAME) as world:
        for one in (*bound(), node()):
            world.api.put(one)
        await world.settle()
        world.writes()
        world.edit(claims.RESOURCE, "data", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await world.settle()
        assert world.writes() == []
