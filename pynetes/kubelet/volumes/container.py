"""A container's volumeMounts and volumeDevices as the runtime takes them."""

from collections.abc import Mapping

from pynetes.kubelet import env
from pynetes.kubelet.volumes import subpath
from pynetes.kubelet.volumes.manager import Volumes
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

PROPAGATION = {
    "HostToContainer": pb.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.PROPAGATION_BIDIRECTIONAL,
}


def mounts(
    volumes: Volumes,
    pod: Object,
    container: Object,
    environment: Mapping[str, str],
    *,
    images: Mapping[str, pb.Image],
    recursive: bool = False,
) -> list[pb.Mount]:
    """The mounts. images: those that the runtime mounts itself, by the volume's name; recursive: the runtime can make
    mounts below a read-only one read-only too. Raises env.BadConfig."""
    specs, home = volumes.specs(pod["metadata"]["uid"]), volumes.home(pod["metadata"]["uid"])
    made = []
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        one = specs.get(mount["name"])
        if one is None:
            raise env.BadConfig(f"volumeMount {mount['name']} has no volume")
        inner = _sub_path(mount, environment)
        where = _absolute(mount["mountPath"])
        image = images.get(mount["name"])
        if image is not None:
            reference = pb.ImageSpec(image=image.id, user_specified_image=one.source.get("reference", ""))
            made.append(pb.Mount(container_path=where, image=reference, image_sub_path=inner, readonly=True))
            continue
        host = volumes.path(pod, one)
        if inner:
            place = home / "volume-subpaths" / mount["name"] / container["name"] / str(index)
            host = subpath.prepare(host, inner, place)
        read_only = bool(mount.get("readOnly")) or one.read_only or one.kind == "image"
        made.append(
            pb.Mount(
                container_path=where,
                host_path=str(host),
                readonly=read_only,
                recursive_read_only=_recursive(mount, recursive=recursive),
                propagation=PROPAGATION.get(mount.get("mountPropagation", ""), pb.PROPAGATION_PRIVATE),
            )
        )
    return made


def devices(volumes: Volumes, pod: Object, container: Object) -> list[pb.Device]:
    """The block volumes. Raises env.BadConfig."""
    specs = volumes.specs(pod["metadata"]["uid"])
    made = []
    for device in container.get("volumeDevices") or ():
        one = specs.get(device["name"])
        if one is None or not one.block:
            raise env.BadConfig(f"volumeDevice {device['name']} is no block volume")
        permissions = "mr" if one.read_only else "mrw"
        path = str(volumes.path(pod, one))
        made.append(pb.Device(container_path=device["devicePath"], host_path=path, permissions=permissions))
    return made


def _recursive(mount: Object, *, recursive: bool) -> bool:
    wanted = mount.get("recursiveReadOnly") or "Disabled"
    if wanted == "Disabled":
        return False
    asks = f'volume "{mount["name"]}" requested recursive read-only mode, but'
    if not mount.get("readOnly"):
        raise env.BadConfig(f"{asks} it is not read-only")
    if (mount.get("mountPropagation") or "None") != "None":
        raise env.BadConfig(f"{asks} it is not compatible with propagation {mount['mountPropagation']!r}")
    if wanted == "Enabled" and not recursive:
        raise env.BadConfig(f"{asks} it is not supported by the runtime")
    return recursive


def _sub_path(mount: Object, environment: Mapping[str, str]) -> str:
    if mount.get("subPathExpr"):
        inner = env.expand(mount["subPathExpr"], environment)
        if "$(" in inner:
            raise env.BadConfig(f"cannot expand subPathExpr {mount['subPathExpr']!r}: missing value")
        if inner.startswith("/") or ".." in inner.split("/"):
            raise env.BadConfig(f"subPathExpr {inner!r} must not be absolute or lead upwards")
        return inner
    return str(mount.get("subPath") or "")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
