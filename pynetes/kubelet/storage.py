"""Puts the storage parts of a kubelet together: drivers, attachments, volumes, and the plugins' registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pynetes.apis.storage import csidrivers
from pynetes.client.informer import Informer
from pynetes.client.rest import Client
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group
from pynetes.kubelet import downward
from pynetes.kubelet.csi import requests
from pynetes.kubelet.csi.attachments import Attachments, InUse
from pynetes.kubelet.csi.drivers import Drivers
from pynetes.kubelet.csi.nodeinfo import NodeInfo
from pynetes.kubelet.csi.stats import Ill, VolumeStats
from pynetes.kubelet.csi.volumes import CsiVolumes, Source
from pynetes.kubelet.references import References
from pynetes.kubelet.volumes.images import ImageViews
from pynetes.kubelet.volumes.manager import Volumes
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.kubelet.volumes.tokens import Tokens
from pynetes.machinery.meta import Key, Object


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The parts."""

    volumes: Volumes
    attachments: Attachments
    in_use: InUse
    drivers: Drivers
    node_info: NodeInfo
    csi_drivers: Informer
    stats: VolumeStats


def build(
    root: Path,
    *,
    client: Client,
    clock: Clock,
    group: Group,
    node: str,
    references: References,
    tokens: Tokens,
    wake: Callable[[], None],
    ill: Ill,
    timeout: float,
    endpoint: str,
) -> Storage:
    """Make them. wake asks for the node's status to be written, ill hears of volumes that a driver finds abnormal;
    timeout is a driver's, in seconds; endpoint is the runtime's."""
    node_info = NodeInfo(client, node)
    drivers = Drivers(node_info, root, timeout=timeout)
    in_use = InUse(wake)
    attachments = Attachments(client, clock, node)
    informer = Informer(client, csidrivers.RESOURCE, clock=clock)

    async def secret(namespace: str, name: str) -> Mapping[str, str]:
        found = await references.get("secrets", namespace, name)
        if found is None:
            raise VolumeFailure(f'secret "{namespace}/{name}" not found')
        return {key: value.decode() for key, value in downward.secret_data(found).items()}

    async def token(pod: Object, request: Object) -> Object:
        return await tokens.issued(pod, request.get("audience") or "", int(request.get("expirationSeconds") or 3600))

    source = Source(secret=secret, token=token, policy=lambda name: requests.policy(informer.get(Key("", name))))
    csi = CsiVolumes(
        root,
        node=node,
        drivers=drivers,
        source=source,
        attachments=attachments,
        in_use=in_use,
        clock=clock,
        group=group,
    )
    return Storage(
        volumes=Volumes(root, client, clock, csi, ImageViews(endpoint)),
        attachments=attachments,
        in_use=in_use,
        drivers=drivers,
        node_info=node_info,
        csi_drivers=informer,
        stats=VolumeStats(csi, clock, ill),
    )
