"""User namespaces: a pod that asks for one gets users that nobody else has, or does not start."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pynetes.kubelet import userns
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.rig import Rig, pod


def test_no_two_pods_have_the_same_users(tmp_path: Path) -> None:
    """Nor the node's; a restarted kubelet gives a pod what it had, and what is free is given again."""
    homes = [tmp_path / name for name in "abc"]
    for home in (*homes, homes[0]):
        userns.take(home)
    firsts = [found.uids[0].host_id for home in homes if (found := userns.of(home))]
    assert firsts == [65536, 131072, 196608]
    shutil.rmtree(homes[1])
    userns.take(tmp_path / "d")
    found = userns.of(tmp_path / "d")
    assert found is not None and found.gids[0] == pb.IDMapping(host_id=131072, container_id=0, length=65536)


def test_what_cannot_be_read_is_given_to_nobody_else(tmp_path: Path) -> None:
    """Rather no pod than two with the same users."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / userns.FILE).write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        userns.take(tmp_path / "b")


def test_there_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IDs beyond 32 bits are no IDs."""
    monkeypatch.setattr(userns, "_END", 3 * userns.LENGTH)
    userns.take(tmp_path / "a")
    userns.take(tmp_path / "b")
    with pytest.raises(userns.Exhausted):
        userns.take(tmp_path / "c")


@asynccontextmanager
async def running(folder: Path, handlers: dict[str, bool]) -> AsyncIterator[tuple[Rig, FakeRuntime]]:
    async with fake_runtime.serving(folder) as (runtime, endpoint):
        runtime.handlers = handlers
        async with rigs.running(endpoint, folder / "root", cgroups=Cgroups(mount=folder / "cgroup")) as rig:
            yield rig, runtime


@pytest.mark.parametrize("handlers", [{}, {"": False, "kata": True}])
async def test_a_runtime_without_them_starts_nothing(handlers: dict[str, bool], tmp_path: Path) -> None:
    """Said in an event; never in the node's namespace instead."""
    async with running(tmp_path, handlers) as (rig, runtime):
        rig.api.put(pod("apart", hostUsers=False))
        await rig.until(lambda: "FailedCreatePodSandBox" in rig.reasons("apart"))
        assert not runtime.asked


async def test_a_runtime_that_has_them_is_told_which_users(tmp_path: Path) -> None:
    """Sandbox, container and every mount with the same mapping; a pod that does not ask gets none."""
    async with running(tmp_path, {"": True}) as (rig, runtime):
        await rig.started(pod("apart", hostUsers=False))
        await rig.started(pod("plain"))
        asked = runtime.asked["apart"].linux.security_context.namespace_options.userns_options
        assert asked.uids[0] == asked.gids[0] == pb.IDMapping(host_id=65536, container_id=0, length=65536)
        configs = {one.labels["io.kubernetes.pod.name"]: one for one in runtime.configs.values()}
        inside = configs["apart"]
        assert inside.linux.security_context.namespace_options.userns_options == asked
        assert inside.mounts and all(list(one.uidMappings) == list(asked.uids) for one in inside.mounts)
        assert not runtime.asked["plain"].linux.security_context.namespace_options.HasField("userns_options")
        assert not any(one.uidMappings for one in configs["plain"].mounts)
