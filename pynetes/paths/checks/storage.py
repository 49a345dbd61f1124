"""Path 15: a claim gets a volume of the CSI driver, and what a pod writes on it the next pod reads.

The evidence is the calls that the kubelet itself has recorded for that volume, and the size that the pod sees.
"""

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.core import pods
from pynetes.apis.storage import csinodes, storageclasses
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths import observed
from pynetes.paths.check import Absent, Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually, is_ready

WITHIN = 60.0
SIZE = "32Mi"
#: What a kubelet must have asked for a volume that a pod has written on.
CALLS = ("NodeStageVolume", "NodePublishVolume")


async def _volume(scene: Scene) -> str:
    """Write in one pod, read in the next, and look up what the kubelet asked the driver for."""
    class_, driver = await _class(scene)
    await scene.namespace()
    claim: Object = {
        "metadata": {"name": "volume"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_,
            "resources": {"requests": {"storage": SIZE}},
        },
    }
    await scene.ensure(claims.RESOURCE, claim)
    try:
        written = "written by the first"
        await _run(scene, f"echo {written} > /data/file && sync")
        said = (await _run(scene, "cat /data/file")).strip()
        expect(said == written, f"the second pod read {said!r} where the first wrote {written!r}")
        bound = await scene.client.get(claims.RESOURCE, Key(NAMESPACE, "volume"))
        volume = await scene.client.get(volumes.RESOURCE, Key("", bound["spec"]["volumeName"]))
        handle = volume["spec"]["csi"]["volumeHandle"]
        calls = await _calls(scene, handle)
        missing = [call for call in CALLS if call not in calls]
        expect(not missing, f"no kubelet has recorded {' and '.join(missing)} for volume {handle}")
        seen = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in calls.items())
        return f"{driver}: a pod read what another wrote on a volume of {SIZE}; the kubelet's calls: {seen}"
    finally:
        await scene.client.delete(claims.RESOURCE, Key(NAMESPACE, "volume"))


async def _class(scene: Scene) -> tuple[str, str]:
    """A StorageClass whose driver is on a node. Raises Absent."""
    listed = await scene.client.list(csinodes.RESOURCE)
    drivers = {one["name"] for item in listed.items for one in item["spec"].get("drivers") or ()}
    for class_ in (await scene.client.list(storageclasses.RESOURCE)).items:
        if class_["provisioner"] in drivers:
            return class_["metadata"]["name"], class_["provisioner"]
    raise Absent("no StorageClass has its CSI driver on a node; `pynetes up --with storage` brings one")


async def _run(scene: Scene, script: str) -> str:
    """A pod that mounts the claim, runs a script and goes; what it said."""
    container = {
        "name": "c",
        "image": scene.site.shell_image,
        "command": ["sh", "-c", "sleep 1000000"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod: Object = {
        "metadata": {"name": "volume"},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "volume"}}],
        },
    }
    key = Key(NAMESPACE, "volume")
    await scene.ensure(pods.RESOURCE, pod)

    async def ready() -> bool:
        return is_ready(await scene.client.get(pods.RESOURCE, key))

    async def gone() -> bool:
        try:
            await scene.client.get(pods.RESOURCE, key)
        except StatusError:
            return True
        return False

    try:
        await eventually(ready, "a pod with a volume does not become Ready", within=WITHIN)
        return await scene.exec("volume", "sh", "-c", script)
    finally:
        await scene.client.delete(pods.RESOURCE, key, grace=0)
        await eventually(gone, "a pod with a volume does not go", within=WITHIN)


async def _calls(scene: Scene, handle: str) -> dict[str, float]:
    """The RPCs that kubelets have recorded for a volume, with the seconds that the last of each took."""
    found: dict[str, float] = {}
    for one in observed.interactions(await observed.snapshots(scene.site.paths_dir)):
        if one.path == 15 and one.source == "kubelet" and one.object == f"volumes {handle}" and not one.error:
            found[one.action] = one.seconds
    return found


CHECKS = (Check((15,), _volume),)
