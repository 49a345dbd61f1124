"""Whose /etc/hosts a container has."""

from pathlib import Path

import pytest

from pynetes.client.fake import FakeAPI
from pynetes.machinery.meta import Object
from tests.kubelet import fake_runtime
from tests.kubelet.rig import pod
from tests.kubelet.test_csi_node import kubelet

OWN = {"volumes": [{"name": "v", "hostPath": {"path": "/etc/hosts"}}]}
MOUNTS = {"volumeMounts": [{"name": "v", "mountPath": "/etc/hosts"}]}


@pytest.mark.parametrize(
    ("spec", "managed"),
    [
        ({}, True),
        ({"hostNetwork": True}, False),
        ({**OWN, "container": MOUNTS}, False),
        ({"hostNetwork": True, "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a"]}]}, True),
    ],
)
async def test_managed_hosts(tmp_path: Path, spec: Object, managed: bool) -> None:
    """The kubelet's, but for pods in the node's network without aliases, and containers that mount their own."""
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        await rig.started(pod("web", **spec))
        (config,) = runtime.configs.values()
        found = [one.host_path for one in config.mounts if one.container_path == "/etc/hosts"]
        own = str(rig.kubelet.ctx.volumes.home("uid-web") / "etc-hosts")
        assert (own in found) is managed
        assert len(found) <= 1
