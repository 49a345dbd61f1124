"""Path 16: a kubelet and a device plugin, with a device of this machine seen from inside a container."""

from pathlib import Path

from pynetes.apis.core import nodes, pods
from pynetes.component import tasks
from pynetes.component.command import CommandError
from pynetes.devices import plugin
from pynetes.devices.config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Check, Failed, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually, is_ready

RESOURCE = "verify.pynetes.io/device"
#: One of these is on nearly every machine, and none does harm to a container that only looks at it.
CANDIDATES = ("/dev/fuse", "/dev/kvm", "/dev/loop-control", "/dev/net/tun", "/dev/full")


async def _devices(scene: Scene) -> str:
    """A plugin registers, the node's status counts its device, and a pod that asks for it can see the device file."""
    device = next((path for path in map(Path, CANDIDATES) if path.is_char_device()), None)
    if device is None:
        raise Failed(f"this machine has none of {', '.join(CANDIDATES)}")
    node = sorted(scene.site.runtimes)[0]
    folder = scene.site.state / "nodes" / node / "kubelet" / "device-plugins"
    await scene.namespace()
    problem: Exception | None = None
    async with tasks.Group() as group:
        group.start(plugin.run(Config(resource=RESOURCE, device=(str(device),), folder=str(folder))))
        try:
            seconds, inside, variable = await _use(scene, node, device)
        except (Failed, StatusError, CommandError, TimeoutError) as error:
            # Out of the group before it is raised, which would wrap it.
            problem = error
    if problem is not None:
        raise problem
    number = device.stat().st_rdev
    outside = f"{number >> 8 & 0xFFF:x}:{number & 0xFF:x}"
    expect(inside == outside, f"{device} is {outside} on the machine and {inside} in the container")
    expect(variable == str(device), f"the container's variable says {variable!r}")
    return f"{node} counted {RESOURCE} after {seconds:.2f} s; a container has {device} ({inside}) and its variable"


async def _use(scene: Scene, node: str, device: Path) -> tuple[float, str, str]:
    """Seconds until the node counted the device; what a container says of its file, and of its variable."""
    seconds = await eventually(lambda: _allocatable(scene, node), f"{node} never counted {RESOURCE}")
    name = "device"
    await scene.ensure(pods.RESOURCE, _pod(scene, name, node))
    try:
        await eventually(lambda: _ready(scene, name), f"pod {name} did not become Ready", within=60)
        inside = (await scene.exec(name, "stat", "-c", "%t:%T", str(device))).strip()
        variable = (await scene.exec(name, "sh", "-c", "echo $VERIFY_PYNETES_IO_DEVICE")).strip()
    finally:
        await scene.client.delete(pods.RESOURCE, Key(NAMESPACE, name), grace=0)
    return seconds, inside, variable


async def _allocatable(scene: Scene, node: str) -> bool:
    found = await scene.client.get(nodes.RESOURCE, Key("", node))
    return bool(found["status"]["allocatable"].get(RESOURCE) == "1")


async def _ready(scene: Scene, name: str) -> bool:
    pod = await scene.client.get(pods.RESOURCE, Key(NAMESPACE, name))
    if (pod.get("status") or {}).get("phase") == "Failed":
        raise Failed(f"pod {name} failed: {pod['status'].get('message')}")
    return is_ready(pod)


def _pod(scene: Scene, name: str, node: str) -> Object:
    container = {
        "name": "c",
        "image": scene.site.shell_image,
        "command": ["sleep", "1000"],
        "resources": {"limits": {RESOURCE: "1"}, "requests": {RESOURCE: "1"}},
    }
    selector = {"kubernetes.io/hostname": node}
    spec = {"containers": [container], "nodeSelector": selector, "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": name}, "spec": spec}


CHECKS = (Check((16,), _devices),)
