"""What of a pod's past is removed."""

from dataclasses import replace

from pynetes.kubelet import garbage
from pynetes.kubelet.cri.state import PodRuntime, State
from pynetes.kubelet.eviction import setup
from tests.kubelet.rig import IMAGE, pod
from tests.kubelet.test_lifecycle import SANDBOX, made


def test_two_attempts_stay() -> None:
    """Older ones go, and old sandboxes once nothing inside them is kept."""
    old = replace(SANDBOX, id="old", ready=False)
    older = replace(SANDBOX, id="older", ready=False)
    runtime = PodRuntime(
        uid="u",
        sandboxes=(SANDBOX, old, older),
        containers=(
            made("c", id="3", attempt=3),
            made("c", State.EXITED, id="2", attempt=2, sandbox="old"),
            made("c", State.EXITED, id="1", attempt=1, sandbox="older"),
            made("other", id="0"),
        ),
    )
    containers, sandboxes = garbage.outdated(runtime)
    assert [one.id for one in containers] == ["1"]
    assert [one.id for one in sandboxes] == ["older"]


def test_images_in_use() -> None:
    """Those of containers that are there, and those that pods name, for containers and as volumes."""
    obj = pod("web", volumes=[{"name": "files", "image": {"reference": "files:1"}}, {"name": "e", "emptyDir": {}}])
    containers = [made("c", image="old:1", image_id="sha256:x")]
    assert setup.images_in_use(containers, [obj]) == {"old:1", "sha256:x", IMAGE, "files:1"}
