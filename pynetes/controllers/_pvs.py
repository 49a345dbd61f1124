"""From a pod's volumes to the PersistentVolumes behind them, and what those are called on a node."""

from collections.abc import Iterator

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context
from pynetes.machinery.meta import Key, Object


def claims_of(pod: Object) -> Iterator[str]:
    """The names of the claims that a pod mounts, those of its ephemeral volumes included."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"]
        elif volume.get("ephemeral"):
            yield f"{pod['metadata']['name']}-{volume['name']}"


def by_claim(pod: Object) -> tuple[str, ...]:
    """Indexes pods by ns/claim."""
    return tuple(f"{pod['metadata']['namespace']}/{name}" for name in claims_of(pod))


async def volumes_of(ctx: Context, pod: Object) -> list[Object]:
    """The PersistentVolumes behind a pod's bound claims."""
    found = []
    for name in claims_of(pod):
        claim = await ctx.cached(claims.RESOURCE, Key(pod["metadata"]["namespace"], name))
        if claim is None or not claim["spec"].get("volumeName"):
            continue
        volume = await ctx.cached(volumes.RESOURCE, Key("", claim["spec"]["volumeName"]))
        if volume is not None and (volume["spec"].get("claimRef") or {}).get("uid") == claim["metadata"]["uid"]:
            found.append(volume)
    return found


def unique_name(volume: Object) -> str:
    """What a CSI volume is called in node.status.volumesInUse and volumesAttached; "" for others."""
    csi = volume["spec"].get("csi")
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}" if csi else ""
