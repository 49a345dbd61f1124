"""`pynetes certs rotate-ca`: a new authority for a running cluster, with nothing failing meanwhile.

The steps are those of pki/rotate.py. Between them this waits until whoever is known to trust or to show something has
the new files: components look at theirs at each handshake or request, so what takes time are ConfigMaps, the volumes of
pods, kubelets' own certificates, and etcd, which reads its authorities only when it starts.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from pynetes.apis.core import configmaps, namespaces
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.cluster import supervisor
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key
from pynetes.pki import rotate
from pynetes.pki.layout import CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, Authority, Layout

#: As the command names them.
NAMED = {"cluster": CLUSTER_CA, "front-proxy": FRONT_PROXY_CA, "etcd": ETCD_CA}
WITHIN = 180.0
STEP = 0.5
#: The ConfigMap that tells extension API servers whom to trust, and its keys.
EXTENSION = Key("kube-system", "extension-apiserver-authentication")
EXTENSION_KEYS = {CLUSTER_CA: "client-ca-file", FRONT_PROXY_CA: "requestheader-client-ca-file"}
ROOT = "kube-root-ca.crt"


async def run(cluster: Cluster, name: str, steps: Sequence[str], *, settle: float) -> AsyncIterator[str]:
    """Take these steps, if they come next; yields what was done. Raises ClusterError.

    settle: seconds to wait after each step for those who cannot be asked: programs that read files now and then."""
    authority, layout = NAMED[name], Layout(cluster.state)
    for step in steps:
        following = rotate.following(layout, authority)
        if step != following:
            raise ClusterError(f"the next step for {name} is {following!r}, not {step!r}", f"say --step {following}")
        yield f"{name}: {await asyncio.to_thread(_take, layout, authority, step)}"
        yield f"{name}: {await _taken_up(cluster, layout, authority)}"
        if step != "finish":
            await asyncio.sleep(settle)


def _take(layout: Layout, authority: Authority, step: str) -> str:
    if step == "trust":
        rotate.trust(layout, authority, now=datetime.now(UTC))
        return "a new authority was made; both are trusted"
    if step == "sign":
        issued = list(rotate.sign(layout, authority, now=datetime.now(UTC)))
        return f"the new authority signs; issued anew: {', '.join(issued)}"
    rotate.finish(layout, authority)
    return "the old authority is trusted no longer"


async def _taken_up(cluster: Cluster, layout: Layout, authority: Authority) -> str:
    """Wait until everybody who can be asked has what the files say."""
    pem = layout.pair(authority.stem).certificate.read_text()
    if authority == ETCD_CA:
        await _restart_etcd(cluster)
        return "etcd was started again with these authorities"
    done = []
    client = Client.from_kubeconfig(str(cluster.state / "super-admin.conf"), component="pynetes-certs")
    try:
        await _until(
            lambda: _published(client, authority, pem), "the ConfigMaps with the authorities are not up to date"
        )
        done.append("ConfigMaps")
    finally:
        await client.close()
    if authority == CLUSTER_CA:
        await _until(lambda: _stale_volumes(cluster, pem), "pods do not have the new authorities")
        await _until(lambda: _stale_kubelets(cluster, layout), "kubelets have not renewed their certificates")
        done += ["pods' volumes", "kubelets' certificates"]
    return f"up to date: {', '.join(done)}"


async def _restart_etcd(cluster: Cluster) -> None:
    try:
        await supervisor.request(cluster.control_socket, do="restart", name="etcd")
    except OSError:
        raise ClusterError("the cluster does not run", f"start it with `pynetes up{cluster.flags}`") from None
    await _until(lambda: _etcd_not_ready(cluster), "etcd does not come back")


async def _etcd_not_ready(cluster: Cluster) -> str:
    status = await supervisor.request(cluster.control_socket, do="status")
    return next((item["why"] for item in status["processes"] if item["name"] == "etcd" and not item["ready"]), "")


async def _published(client: Client, authority: Authority, pem: str) -> str:
    """Which ConfigMap is behind; "" when none is."""
    found = await client.get(configmaps.RESOURCE, EXTENSION)
    if (found.get("data") or {}).get(EXTENSION_KEYS[authority]) != pem:
        return str(EXTENSION)
    if authority != CLUSTER_CA:
        return ""
    listed = await client.list(configmaps.RESOURCE, field_selector=f"metadata.name={ROOT}")
    carried = {item["metadata"]["namespace"]: (item.get("data") or {}).get("ca.crt") for item in listed.items}
    alive = [item for item in (await client.list(namespaces.RESOURCE)).items if item["status"]["phase"] == "Active"]
    return next((f"{ROOT} in {n['metadata']['name']}" for n in alive if carried.get(n["metadata"]["name"]) != pem), "")


async def _stale_volumes(cluster: Cluster, pem: str) -> str:
    """A pod of this machine whose projected ca.crt is another; "" when there is none."""
    for node in cluster.node_names():
        pods = cluster.node_state(node) / "kubelet" / "pods"
        for path in pods.glob("*/volumes/kubernetes.io~projected/*/ca.crt"):
            with contextlib.suppress(OSError):
                if path.read_text() != pem:
                    return str(path)
    return ""


async def _stale_kubelets(cluster: Cluster, layout: Layout) -> str:
    for node in cluster.node_names():
        for kind in ("client", "server"):
            path: Path = layout.node(node).pki / f"kubelet-{kind}-current.pem"
            if not rotate.signs(layout, CLUSTER_CA, path):
                return str(path)
    return ""


async def _until(lacking: Callable[[], Awaitable[str]], problem: str) -> None:
    """Until nothing is lacking; what is, is in the error."""
    deadline, why = monotonic() + WITHIN, "nobody could be asked"
    while monotonic() < deadline:
        with contextlib.suppress(StatusError, Unreachable, OSError):
            why = await lacking()
            if not why:
                return
        await asyncio.sleep(STEP)
    raise ClusterError(f"{problem}: {why}", "everything still works; repeat the command once that is put right")
