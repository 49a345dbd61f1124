"""The kubelet's root under its usual name."""

from pathlib import Path

import pytest

from pynetes.kubelet import rootdir

ROOT = Path("/srv/node/kubelet")


@pytest.mark.parametrize(
    ("given", "real"),
    [
        ("/var/lib/kubelet", "/srv/node/kubelet"),
        ("/var/lib/kubelet/plugins/x", "/srv/node/kubelet/plugins/x"),
        ("/var/lib/kubelets", "/var/lib/kubelets"),
        ("/var/lib/kubelet/../secret", "/var/lib/kubelet/../secret"),
        ("/data", "/data"),
    ],
)
def test_usual_name_stands_for_the_root(given: str, real: str) -> None:
    """Below it and nowhere else; nothing where the root has its usual name anyway."""
    assert rootdir.real(given, ROOT) == Path(real)
    assert rootdir.real(given, rootdir.USUAL) == Path(given)


def test_plugins_hear_the_name_that_they_know() -> None:
    """A plugin that serves under the usual name is told paths under it; another one the real ones."""
    path = ROOT / "pods/u/volumes"
    usual = "/var/lib/kubelet/plugins/d/csi.sock"
    assert rootdir.seen_by(usual, path, ROOT) == "/var/lib/kubelet/pods/u/volumes"
    assert rootdir.seen_by("/srv/d.sock", path, ROOT) == str(path)
