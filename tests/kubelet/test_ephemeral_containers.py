"""Containers that are added to a running pod for debugging."""

from pathlib import Path

from pynetes.apis.core import pods
from pynetes.client.fake import FakeAPI
from pynetes.machinery.meta import Key, Object
from tests.kubelet import fake_runtime
from tests.kubelet.rig import IMAGE, Rig, pod
from tests.kubelet.test_csi_node import kubelet


def shown(rig: Rig) -> dict[str, Object]:
    """States of the ephemeral containers by their names."""
    return {one["name"]: one["state"] for one in rig.status("web").get("ephemeralContainerStatuses") or ()}


async def test_added_while_the_pod_runs(tmp_path: Path) -> None:
    """One after another they start in the pod's sandbox, beside what runs; one that ends is not started again."""
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        await rig.started(pod("web"))
        before = rig.container("web")["containerID"]
        added: list[Object] = []
        for name in ("first", "second"):
            added.append({"name": name, "image": IMAGE, "imagePullPolicy": "Never", "targetContainerName": "c"})
            found = rig.api.get(pods.RESOURCE, Key("default", "web")) or {}
            rig.api.put({**found, "spec": {**found["spec"], "ephemeralContainers": list(added)}})
            await rig.until(lambda name=name: "running" in shown(rig).get(name, {}))
            target = runtime.configs[runtime.named(name).id].linux.security_context.namespace_options.target_id
            assert f"fake://{target}" == before
        runtime.exits("first", 3)
        rig.kubelet.ctx.pleg.pods.clear()
        await rig.kubelet.ctx.pleg.relist()
        rig.kubelet.workers["uid-web"].wake()
        await rig.until(lambda: "terminated" in shown(rig)["first"])
        assert shown(rig)["first"]["terminated"]["exitCode"] == 3
        assert "running" in shown(rig)["second"]
        assert [call for call in runtime.calls if call.startswith("StartContainer")] == [
            "StartContainer c",
            "StartContainer first",
            "StartContainer second",
        ]
        assert rig.container("web")["containerID"] == before and rig.ready("web")
